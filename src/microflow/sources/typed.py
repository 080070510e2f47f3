"""From text columns to typed columns: the vectorised form of `microflow.records.convert`, with the rows that fail."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.formats import format_of, plain_time
from microflow.records import UnconvertibleError, convert
from microflow.schema import ISO_DATE, WHOLE_DATE, Column, Dtype, SourceFormat, Value

__all__ = ["Failure", "cleaned", "is_text", "typed_column"]

#: Position in the batch, and the reason.
Failure = tuple[int, str]

# Text that a cast and `convert` read alike; whatever else there is goes through `convert`, each distinct text once.
_PLAIN = {
    Dtype.INTEGER: r"^[+-]?[0-9]{1,18}$",
    Dtype.NUMBER: r"^[+-]?[0-9]{1,15}(\.[0-9]{1,17})?$",
    Dtype.DATE: f"^(?:{ISO_DATE.pattern})$",
}
_MOST_DIGITS = 18
_NOUGHT, _NINE = np.frombuffer(b"09", np.uint8)
_NOUGHTS = r"^([+-]?[0-9]{1,18})\.0*$"


def is_text(decoded: str) -> bool:
    """Whether it can be written as UTF-8: half of a surrogate pair cannot, nor can invalid bytes that became one."""
    try:
        decoded.encode()
    except UnicodeEncodeError:
        return False
    return True


def cleaned(text: pa.Array, source: SourceFormat) -> pa.Array:
    """Text with null for what the source spells as missing, of a format that does not do so itself."""
    if source.trim:
        text = pc.utf8_trim_whitespace(text)
    missing = pa.array(["", *sorted(source.missing)], pa.string())
    is_missing = pc.is_in(text, value_set=missing)
    return pc.if_else(is_missing, pa.scalar(None, pa.string()), text) if pc.any(is_missing).as_py() else text


def typed_column(text: pa.Array, column: Column) -> tuple[pa.Array, list[Failure]]:
    """A text column (null is missing) as the column's type, and the rows whose value is not of it (null there)."""
    if column.dtype is Dtype.STRING:
        return text, _with_nul(text) + _required(text, column)
    if text.null_count == len(text):
        typed = pa.nulls(len(text), column.dtype.arrow)
        return typed, _required(typed, column)
    form = format_of(column)
    typed = _cast(text if form is None else form.column(text), column.dtype)
    failures: list[Failure] = []
    if typed.null_count > text.null_count:
        left = pc.and_(pc.is_valid(text), pc.is_null(typed))
        rest, failures = _converted(text.filter(left), np.flatnonzero(left), column)
        typed = pc.replace_with_mask(typed, left, rest)
    failed = {position for position, _ in failures}
    return typed, failures + [miss for miss in _required(typed, column) if miss[0] not in failed]


def _converted(text: pa.Array, positions: npt.NDArray[np.int64], column: Column) -> tuple[pa.Array, list[Failure]]:
    """Values that a cast cannot read, each distinct one converted once; positions are theirs in the batch."""
    encoded = text.dictionary_encode()
    values: list[Value] = []
    reasons: dict[int, str] = {}
    for code, value in enumerate(encoded.dictionary.to_pylist()):
        try:
            values.append(convert(value, column))
        except UnconvertibleError as error:
            values.append(None)
            reasons[code] = str(error)
    codes = encoded.indices.to_numpy()
    failures = [
        (position, reasons[code])
        for position, code in zip(positions.tolist(), codes.tolist(), strict=True)
        if code in reasons
    ]
    return pa.array(values, column.dtype.arrow).take(encoded.indices), failures


def _cast(text: pa.Array, dtype: Dtype) -> pa.Array:
    """The plain values as the type, null where a text is not plain."""
    pattern = _PLAIN.get(dtype)
    if pattern is None:
        return pa.nulls(len(text), dtype.arrow)
    if dtype is Dtype.INTEGER and _are_digits(text):
        return pc.cast(text, pa.int64())
    fits = pc.match_substring_regex(text, pattern)
    if not pc.all(fits, skip_nulls=True).as_py():
        if dtype is Dtype.INTEGER:
            text = pc.replace_substring_regex(text, _NOUGHTS, r"\1")
            fits = pc.match_substring_regex(text, pattern)
        text = pc.if_else(fits, text, pa.scalar(None, pa.string()))
    if dtype is Dtype.DATE:
        return _in_calendar(text)
    if dtype is Dtype.INTEGER:
        return pc.cast(pc.utf8_ltrim(text, "+"), pa.int64())
    return pc.add(pc.cast(text, pa.float64()), 0.0)  # there is one zero: -0.0 + 0.0 is 0.0


def _are_digits(text: pa.Array) -> bool:
    """Whether all texts are a few digits and nothing else: then they need not be looked at one by one."""
    _, offsets, data = text.buffers()
    if data is None:
        return False
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    if (np.frombuffer(data, np.uint8)[ends[0] : ends[-1]] - _NOUGHT > _NINE - _NOUGHT).any():
        return False
    lengths = np.diff(ends)
    if text.null_count:
        lengths = lengths[text.is_valid().to_numpy(zero_copy_only=False)]
    return bool(lengths.all() and lengths.max(initial=0) <= _MOST_DIGITS)


def _in_calendar(text: pa.Array) -> pa.Array:
    """Dates that exist, null for others: the pattern lets 30 February pass."""
    if _are_in_calendar(text):
        return text
    encoded = text.dictionary_encode()
    known = [value if plain_time(value, Dtype.DATE) else None for value in encoded.dictionary.to_pylist()]
    return pa.array(known, pa.string()).take(encoded.indices)


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
