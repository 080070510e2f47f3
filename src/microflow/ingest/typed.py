"""From text columns to typed columns: the vectorised form of `microflow.records.convert`, with the rows that fail."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.records import UnconvertibleError, convert
from microflow.schema import ISO_DATE, WHOLE_DATE, Column, Dtype

__all__ = ["Failure", "is_text", "typed_column"]

#: Position in the batch, and the reason.
Failure = tuple[int, str]

# Text that a cast and `convert` read alike; whatever else there is goes through `convert` value by value.
_PLAIN = {
    Dtype.INTEGER: r"^[+-]?[0-9]{1,18}$",
    Dtype.NUMBER: r"^[+-]?[0-9]{1,15}(\.[0-9]{1,17})?$",
    Dtype.DATE: f"^(?:{ISO_DATE.pattern})$",
}


def is_text(decoded: str) -> bool:
    """Whether it can be written as UTF-8: half of a surrogate pair cannot, nor can invalid bytes that became one."""
    try:
        decoded.encode()
    except UnicodeEncodeError:
        return False
    return True


def typed_column(text: pa.Array, column: Column) -> tuple[pa.Array, list[Failure]]:
    """A text column (null is missing) as the column's type, and the rows whose value is not of it (null there)."""
    if column.dtype is Dtype.STRING:
        return text, _with_nul(text) + _required(text, column)
    plain = _plain(text, column)
    if plain is not None:
        return plain, _required(plain, column)
    values, failures = [], []
    for position, value in enumerate(text.to_pylist()):
        try:
            values.append(convert(value, column))
        except UnconvertibleError as error:
            values.append(None)
            failures.append((position, str(error)))
    typed = pa.array(values, column.dtype.arrow)
    failed = {position for position, _ in failures}
    return typed, failures + [miss for miss in _required(typed, column) if miss[0] not in failed]


def _plain(text: pa.Array, column: Column) -> pa.Array | None:
    pattern = _PLAIN.get(column.dtype)
    if text.null_count == len(text):
        return pa.nulls(len(text), column.dtype.arrow)
    if pattern is None or not pc.all(pc.match_substring_regex(text, pattern), skip_nulls=True).as_py():
        return None
    if column.dtype is Dtype.DATE:
        return text if _are_in_calendar(text) else None
    bare = pc.utf8_ltrim(text, "+") if column.dtype is Dtype.INTEGER else text
    return pc.cast(bare, column.dtype.arrow)


def _are_in_calendar(text: pa.Array) -> bool:
    """Whether all whole dates exist: the pattern lets 30 February pass."""
    try:
        pc.cast(text.filter(pc.equal(pc.utf8_length(text), WHOLE_DATE)), pa.date32())
    except pa.ArrowInvalid:
        return False
    return True


def _with_nul(text: pa.Array) -> list[Failure]:
    """PostgreSQL holds no NUL, and no honest text does."""
    _, offsets, data = text.buffers()
    if data is None:
        return []
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    if (np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] != 0).all():
        return []
    found = np.flatnonzero(pc.fill_null(pc.match_substring(text, "\0"), fill_value=False))
    return [(position, "a NUL character") for position in found.tolist()]


def _required(typed: pa.Array, column: Column) -> list[Failure]:
    if not column.required or typed.null_count == 0:
        return []
    missing: npt.NDArray[np.int64] = np.flatnonzero(typed.is_null().to_numpy(zero_copy_only=False))
    return [(position, "a required value is missing") for position in missing.tolist()]
