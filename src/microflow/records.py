"""Records and batches: conversion of values by one rule, and the microflow, the unit of all work.

A value that is not of its column's type is converted as text is when a file is read; what cannot be converted counts as
missing. Readers use the same functions and quarantine such a row instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.formats import format_of, plain_time
from microflow.schema import ISO_DATE, WHOLE_DATE, Column, DatasetSchema, Dtype, Record, Value
from microflow.settings import MICROFLOW_BYTES, MICROFLOW_ROWS

__all__ = ["Microflow", "UnconvertibleError", "coerce", "convert", "copied", "microflows", "to_batch"]

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


def _moment(dtype: Dtype, expected: str) -> Callable[[object], str]:
    def converted(value: object) -> str:
        found = plain_time(value, dtype) if isinstance(value, str) else None
        if found is None:
            raise UnconvertibleError(f"not an ISO 8601 {expected}")
        return found

    return converted


_CONVERT: dict[Dtype, Callable[[object], Value]] = {
    Dtype.STRING: _text,
    Dtype.INTEGER: _integer,
    Dtype.NUMBER: _number,
    Dtype.BOOLEAN: _boolean,
    Dtype.DATE: _date,
    Dtype.TIME: _moment(Dtype.TIME, "time (HH:MM or HH:MM:SS)"),
    Dtype.TIMESTAMP: _moment(Dtype.TIMESTAMP, "time stamp (YYYY-MM-DDTHH:MM:SS, with or without a zone)"),
}


@dataclass(frozen=True, slots=True)
class Microflow:
    """Rows that are checked, anonymized and committed together.

    ``number`` counts microflows of a job from 0; ``first_row`` is the ordinal of the first row among the rows the
    reader accepted, so that ``first_row + i`` names row ``i`` in every engine.
    """

    number: int
    first_row: int
    rows: pa.RecordBatch
    text_bytes: int = 0
    """Of text in the rows, where it was so much that it had to be counted."""

    def __len__(self) -> int:
        return int(self.rows.num_rows)


def microflows(batches: Iterable[pa.RecordBatch], size: int = MICROFLOW_ROWS) -> Iterator[Microflow]:
    """Cut batches of any size into microflows of exactly ``size`` rows, in order; the last may be shorter.

    So may those be that hold more than `MICROFLOW_BYTES` of text; where they end depends on the rows alone, not on the
    batches. Slices share memory with their batch; rows are copied only where a microflow spans two batches.

    Raises:
        ValueError: ``size`` is not between 1 and `MICROFLOW_ROWS`.

    >>> batch = pa.record_batch({"n": list(range(5))})
    >>> [(flow.number, flow.first_row, len(flow)) for flow in microflows([batch, batch], size=4)]
    [(0, 0, 4), (1, 4, 4), (2, 8, 2)]
    """
    if not 1 <= size <= MICROFLOW_ROWS:
        raise ValueError(f"a microflow holds 1 to {MICROFLOW_ROWS} rows, not {size}")
    number = first_row = carried = 0
    pending: list[pa.RecordBatch] = []
    missing, room = size, MICROFLOW_BYTES
    for batch in batches:
        carried = batch.nbytes + (carried if pending else 0)
        ends = None
        if is_heavy := carried > MICROFLOW_BYTES:  # else no row needs to be looked at
            ends = np.cumsum(_text_bytes(batch))
            room = MICROFLOW_BYTES - sum(int(_text_bytes(piece).sum()) for piece in pending)
        start = 0
        while start < batch.num_rows:
            count = min(missing, batch.num_rows - start)
            if ends is not None:
                before = int(ends[start - 1]) if start else 0
                fitting = int(np.searchsorted(ends, before + room, side="right")) - start
                count = min(count, max(fitting, 0 if pending else 1))
                room -= int(ends[start + count - 1]) - before if count else 0
            if count:
                pending.append(batch.slice(start, count))
                start, missing = start + count, missing - count
            if not (count and missing):
                yield Microflow(number, first_row, _join(pending), MICROFLOW_BYTES - room if is_heavy else 0)
                number, first_row = number + 1, first_row + size - missing
                pending, missing, room = [], size, MICROFLOW_BYTES
    if pending:
        yield Microflow(number, first_row, _join(pending))


def _text_bytes(rows: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """The bytes of text in each row."""
    total = np.zeros(rows.num_rows, np.int64)
    for column in rows.columns:
        if pa.types.is_string(column.type):
            total += pc.fill_null(pc.binary_length(column), 0).to_numpy(zero_copy_only=False)
    return total


def _join(pieces: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pieces[0] if len(pieces) == 1 else pa.concat_batches(pieces)
