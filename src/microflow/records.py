"""Single records and batches of them: the conversions both ways, by one rule.

A value that is not of its column's type is converted as text is when a file is read; what cannot be converted counts as
missing. Readers use the same functions and quarantine such a row instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

import pyarrow as pa

from microflow.schema import ISO_DATE, WHOLE_DATE, Column, DatasetSchema, Dtype, Record, Value

__all__ = ["UnconvertibleError", "coerce", "convert", "copied", "to_batch"]

TRUE = frozenset({"true", "t", "yes", "1"})
FALSE = frozenset({"false", "f", "no", "0"})
_INT64 = range(-(2**63), 2**63)


class UnconvertibleError(ValueError):
    """The value is not of the column's type; the message says what was expected and never the value."""


def coerce(record: Mapping[str, object], schema: DatasetSchema) -> Record:
    """A record with the schema's columns in order, each of its type or ``None``; other fields are dropped.

    >>> from microflow.descriptors import load_schema
    >>> coerce({"age": " 41 ", "sex": "F"}, load_schema("healthcare"))["age"]
    41
    """
    result: Record = {}
    for column in schema.columns:
        try:
            result[column.name] = convert(record.get(column.name), column)
        except UnconvertibleError:
            result[column.name] = None
    return result


def copied(record: Record, names: tuple[str, ...]) -> Record:
    """A new record of these fields in this order; other fields are dropped, a missing one is a `KeyError`.

    >>> copied({"age": 41, "sex": "F", "shoe": 38}, ("sex", "age"))
    {'sex': 'F', 'age': 41}
    """
    # Nearly always they are what the record holds, and copying it whole is many times faster.
    return record.copy() if (*record,) == names else {name: record[name] for name in names}


def to_batch(records: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Records of the right types as one Arrow batch."""
    rows = list(records)
    return pa.RecordBatch.from_pydict({name: [row.get(name) for row in rows] for name in schema.names}, schema=schema)


def convert(value: object, column: Column) -> Value:
    """One value as its column's type; null and the empty text are missing.

    Raises:
        UnconvertibleError: it is not of that type.
    """
    if value is None or value == "":
        return None
    return _CONVERT[column.dtype](value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise UnconvertibleError("not text")


def _integer(value: object) -> int:
    number: int | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and value.isascii():
        try:
            number = int(value) if "_" not in value else None
        except ValueError:
            number = None
    if number is None or number not in _INT64:
        raise UnconvertibleError("not a whole number")
    return number


def _number(value: object) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
    elif isinstance(value, str) and value.isascii() and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
    if not math.isfinite(number):
        raise UnconvertibleError("not a finite number")
    return number


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise UnconvertibleError("neither true nor false")


def _date(value: object) -> str:
    if isinstance(value, str) and ISO_DATE.fullmatch(value) and _exists(value):
        return value
    raise UnconvertibleError("not an ISO 8601 date (YYYY, YYYY-MM or YYYY-MM-DD)")


def _exists(iso: str) -> bool:
    if len(iso) < WHOLE_DATE:
        return True
    try:
        date.fromisoformat(iso)
    except ValueError:
        return False
    return True


_CONVERT: dict[Dtype, Callable[[object], Value]] = {
    Dtype.STRING: _text,
    Dtype.INTEGER: _integer,
    Dtype.NUMBER: _number,
    Dtype.BOOLEAN: _boolean,
    Dtype.DATE: _date,
}
