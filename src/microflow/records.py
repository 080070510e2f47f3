"""Single records and batches of them: the conversions both ways, by one rule.

A value that is not of its column's type is converted as text is when a file is read; what cannot be converted counts as
missing. Readers use the same functions and quarantine such a row instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pyarrow as pa

from microflow.formats import format_of, plain_time
from microflow.schema import ISO_DATE, WHOLE_DATE, Column, DatasetSchema, Dtype, Record, Value

__all__ = ["UnconvertibleError", "coerce", "convert", "copied", "to_batch"]

TRUE = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE = frozenset({"false", "f", "no", "n", "0", "0.0"})
_INT64 = range(-(2**63), 2**63)
_NOUGHTS = re.compile(r"(?<=[0-9])\.0*(?=\s*$)")


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
    if isinstance(value, str) and (form := format_of(column)) is not None:
        value = form.one(value)
        if value is None:
            raise UnconvertibleError(f"not written as {column.format!r}")
    return _CONVERT[column.dtype](value)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        # A number has no text of its own: a whole one is written as one, as a typed file may hold an account so.
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, str | int):
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
            # pandas writes 41.0 wherever the column has a gap.
            number = int(_NOUGHTS.sub("", value)) if "_" not in value else None
        except ValueError:
            number = None
    if number is None:
        raise UnconvertibleError("not a whole number")
    if number not in _INT64:
        raise UnconvertibleError("not a whole number of at most 64 bits")
    return number


def _number(value: object) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # a whole number of 400 digits
            number = math.inf
    elif isinstance(value, str) and value.isascii() and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
    if not math.isfinite(number):
        raise UnconvertibleError("not a finite number")
    return number + 0.0  # there is one zero: -0.0 + 0.0 is 0.0


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
    if isinstance(value, str) and (ISO_DATE.fullmatch(value) or len(value) > WHOLE_DATE):
        found = plain_time(value, Dtype.DATE)
        if found is not None:
            return found
    raise UnconvertibleError("not an ISO 8601 date (YYYY, YYYY-MM or YYYY-MM-DD)")


def _time(value: object) -> str:
    found = plain_time(value, Dtype.TIME) if isinstance(value, str) else None
    if found is None:
        raise UnconvertibleError("not an ISO 8601 time (HH:MM or HH:MM:SS)")
    return found


def _timestamp(value: object) -> str:
    found = plain_time(value, Dtype.TIMESTAMP) if isinstance(value, str) else None
    if found is None:
        raise UnconvertibleError("not an ISO 8601 time stamp (YYYY-MM-DDTHH:MM:SS, with or without a zone)")
    return found


_CONVERT: dict[Dtype, Callable[[object], Value]] = {
    Dtype.STRING: _text,
    Dtype.INTEGER: _integer,
    Dtype.NUMBER: _number,
    Dtype.BOOLEAN: _boolean,
    Dtype.DATE: _date,
    Dtype.TIME: _time,
    Dtype.TIMESTAMP: _timestamp,
}
