"""Columns of a file as those of the schema: matched by their names, converted to their types, rows that fail refused.

Every reader hands on blocks of rows by column (`Block`): text where its format has no types, typed arrays where it has.
`typed_column` is the vectorised form of `microflow.records.convert`, and `typed_array` makes types of other formats
meet the schema's.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.errors import InputError
from microflow.formats import format_of, plain_time
from microflow.records import UnconvertibleError, convert
from microflow.schema import ISO_DATE, WHOLE_DATE, Column, DatasetSchema, Dtype, SourceFormat, Value

__all__ = [
    "BLOCK_ROWS", "Block", "Failure", "Refusal", "Refusals", "cleaned", "is_text", "known_as", "missing_values",
    "numbered", "require_columns", "typed_column",
]  # fmt: skip

#: Rows converted at a time: enough for vectorised casts, little enough for memory.
BLOCK_ROWS = 20_000
_MOST_RAW = 2_000  # characters of a refused row that are kept


@dataclass(frozen=True, slots=True)
class Block:
    """``lines`` (int64) are line numbers in text, row numbers in Parquet, from 1; ``columns`` by name, equally long.

    A column is text (null is missing) where the format has no types, and anything that casts where it has.
    """

    lines: npt.NDArray[np.int64]
    columns: dict[str, pa.Array]


class Refusal(NamedTuple):
    """A row that cannot be used. ``line`` counts from 1; ``column`` is empty where the whole row is at fault."""

    line: int
    column: str
    reason: str
    raw: str


@dataclass(slots=True)
class Refusals:
    """Collection of refused rows; with their raw text only if ``keep_raw`` asks for it."""

    keep_raw: bool = False
    rows: list[Refusal] = field(default_factory=list)

    def add(self, line: int, column: str, reason: str, raw: str = "") -> None:
        """Refuse one row."""
        self.rows.append(Refusal(line, column[:80], reason, raw[:_MOST_RAW] if self.keep_raw else ""))

    def take(self) -> list[Refusal]:
        """Refusals collected since the last call, in the order of lines."""
        taken, self.rows = self.rows, []
        return sorted(taken, key=lambda refusal: refusal.line)


def require_columns(
    found: Sequence[str], schema: DatasetSchema, place: Path | str, *, header: bool = False
) -> list[str]:
    """The columns of a file by the names that the schema gives them, in the file's order.

    A name counts as written, else without blanks around it. The second column of a name is ``name#2`` and so on. A
    column that the schema does not describe keeps a name of its own; whether there may be any is ``schema.others``.

    Args:
        found: The names in the file.
        schema: What is described.
        place: The file, for messages.
        header: Whether the names stand in the first line of delimited text.

    Raises:
        InputError: columns are missing, or there are some without a description; all of them are named. A name
            from a file may be a person's value: it is shown only where all that is described is there.
    """
    names = known_as(numbered(found), schema.names)
    message = hint = ""
    if absent := [name for name in schema.names if name not in names]:
        message, hint = f"lacks {_listed(absent)}", _why_absent(found, absent, schema, header=header)
    elif schema.others == "refuse" and (unknown := [at for at, name in enumerate(names) if name not in schema.names]):
        shown = [_shown(names[at], at + 1) for at in unknown]
        message = f"has columns that the schema does not describe: {', '.join(shown[:_MOST_SHOWN])}{_more(shown)}"
        hint = "describe them, or set others: drop, or others: pass"
        if any(not found[at].strip() for at in unknown):
            hint = f'a column without a name (pandas writes its index so) is described as "", or dropped: {hint}'
    if message:
        what, line = ("the header", 1) if header else ("the file", None)
        raise InputError(f"{what} {message}", path=place, line=line, hint=_about_doubled(found, schema) + hint)
    return names


def numbered(found: Sequence[str]) -> list[str]:
    """Names of which none occurs twice: the second ``zip`` is ``zip#2``.

    >>> numbered(["zip", "age", "zip", ""])
    ['zip', 'age', 'zip#2', '']
    """
    counts: Counter[str] = Counter()
    own, names = set(found), list[str]()
    for name in found:
        counts[name] += 1
        numbered_name = name
        while counts[name] > 1 and (numbered_name := f"{name}#{counts[name]}") in own:
            counts[name] += 1  # the file itself has such a name
        names.append(numbered_name)
    return names


def known_as(found: list[str], names: Sequence[str]) -> list[str]:
    """Names of the file as the schema writes them, where the two differ in blanks around them alone."""
    described, taken = set(names), set(found)
    bare: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name not in taken:
            bare[name.strip()].append(name)
    renamed = []
    for name in found:
        candidates = [] if name in described else bare.get(name.strip(), [])
        renamed.append(candidates.pop(0) if candidates else name)
    return renamed


_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks", ":": "colons", "^": "carets"}
_MOST_SHOWN, _LONGEST_NAME = 50, 60


def _why_absent(found: Sequence[str], absent: list[str], schema: DatasetSchema, *, header: bool) -> str:
    """Remedy for columns that are not there: often the header, the delimiter or the encoding is another."""
    described = f"the schema describes: {_listed(schema.names)}"
    wanted = {_bare(name) for name in absent}
    nested = [name for name in found for prefix in absent if name.startswith(f"{prefix}.")]
    if header and any("\0" in name for name in found):
        order = "be" if found[0].startswith("\0") else "le"
        return f"the file seems to be UTF-16: source: {{encoding: utf-16-{order}}}"
    if header and (delimiter := _other_delimiter(found, schema)):
        return delimiter
    if other := [name for name in found if _bare(name) in wanted]:
        return f"the file spells them {_listed(other)}: write the names in the schema as the file does"
    if nested:
        return f"nested fields are described one by one: {_listed(nested)}"
    if header and len(absent) == len(schema.names):
        return f"if the file has no header, say so with source: {{header: false}}; {described}"
    return described


def _other_delimiter(found: Sequence[str], schema: DatasetSchema) -> str | None:
    """Remedy for a header that was read as one field or too few: what seems to separate its names."""
    own = schema.source.delimiter
    text = own.join(found)
    wanted = set(map(str.strip, schema.names))
    for sign in dict.fromkeys([*_DELIMITERS, *text]):
        for delimiter in (sign * 2, sign):
            fields = {field.strip(" \"'") for field in text.split(delimiter)}
            if sign.isalnum() or sign in "_\"'" or delimiter == own or len(fields) == 1 or not fields & wanted:
                continue
            named = f"the fields seem to be separated by {_DELIMITERS.get(delimiter, repr(delimiter))}"
            if len(delimiter) > 1:
                return f"{named}: a delimiter is one character, replace it before"
            written = f"'{delimiter}'" if delimiter.isprintable() else json.dumps(delimiter)
            return f"{named}: source: {{delimiter: {written}}}"
    return None


def _about_doubled(found: Sequence[str], schema: DatasetSchema) -> str:
    names = {name.strip() for name in schema.names}
    again = {name for name, count in Counter(found).items() if count > 1}
    doubled = [name for name in dict.fromkeys(found) if name in again and name.strip() in names]
    doubled = [name for name in doubled if f"{name.strip()}#2" not in names]
    if not doubled:
        return ""
    return f"{_listed(doubled)} stands there twice: the second is described as {doubled[0] + '#2'!r}; "


def _bare(name: str) -> str:
    """A name without what is easily spelled another way: case, blanks, the way accents are encoded."""
    return "".join(unicodedata.normalize("NFKC", name).casefold().split())


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_MOST_SHOWN])) + _more(names)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""


def _shown(name: str, number: int) -> str:
    short = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
    return repr(short) if name.strip() else f"the column {number}, which has no name"


#: Position in the batch, and the reason.
Failure = tuple[int, str]

# Text that a cast and `convert` read alike; whatever else there is goes through `convert`, each distinct text once.
_PLAIN = {
    Dtype.INTEGER: r"^[+-]?[0-9]{1,18}$",
    Dtype.NUMBER: r"^[+-]?[0-9]{1,15}(\.[0-9]{1,17})?$",
    Dtype.DATE: f"^(?:{ISO_DATE.pattern})$",
}
_MOST_DIGITS = 18
_DIGITS = np.zeros(256, np.bool_)
_DIGITS[np.frombuffer(b"0123456789", np.uint8)] = True
_DECIMALS = _DIGITS.copy()
_DECIMALS[np.frombuffer(b".-", np.uint8)] = True
_NOUGHTS = r"^([+-]?[0-9]{1,18})\.0*$"


def is_text(decoded: str) -> bool:
    """True if the text can be written as UTF-8: half of a surrogate pair cannot, nor an invalid byte."""
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
        return text, _with_nul(text) + missing_values(text, column)
    if text.null_count == len(text):
        typed = pa.nulls(len(text), column.dtype.arrow)
        return typed, missing_values(typed, column)
    form = format_of(column)
    typed = _cast(text if form is None else form.column(text), column.dtype)
    failures: list[Failure] = []
    if typed.null_count > text.null_count:
        left = pc.and_(pc.is_valid(text), pc.is_null(typed))
        rest, failures = _converted(text.filter(left), np.flatnonzero(left), column)
        typed = pc.replace_with_mask(typed, left, rest)
    failed = {position for position, _ in failures}
    return typed, failures + [miss for miss in missing_values(typed, column) if miss[0] not in failed]


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
    if dtype is Dtype.DATE:
        return _dates(text, pattern)
    if _are_made_of(text, _DIGITS if dtype is Dtype.INTEGER else _DECIMALS, _MOST_DIGITS):
        try:
            return pc.add(pc.cast(text, dtype.arrow), 0)  # there is one zero: -0.0 + 0 is 0.0
        except pa.ArrowInvalid:
            pass  # two points, or a minus in the middle
    fits = pc.match_substring_regex(text, pattern)
    if not pc.all(fits, skip_nulls=True).as_py():
        if dtype is Dtype.INTEGER:
            text = pc.replace_substring_regex(text, _NOUGHTS, r"\1")
            fits = pc.match_substring_regex(text, pattern)
        text = pc.if_else(fits, text, pa.scalar(None, pa.string()))
    if dtype is Dtype.INTEGER:
        return pc.cast(pc.utf8_ltrim(text, "+"), pa.int64())
    return pc.add(pc.cast(text, pa.float64()), 0)


def _bytes_of(text: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The bytes of all texts, and where each begins and ends in the buffer that they are cut from."""
    if not len(text):
        return np.empty(0, np.uint8), np.zeros(1, np.int32)
    _, offsets, data = text.buffers()
    ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
    return np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]], ends


def _are_made_of(text: pa.Array, signs: npt.NDArray[np.bool_], most: int) -> bool:
    """True if all texts are at most so many of these signs and nothing else: then no pattern has to look at them."""
    content, ends = _bytes_of(text)
    if not signs[content].all():
        return False
    lengths = np.diff(ends)
    if text.null_count:
        lengths = lengths[text.is_valid().to_numpy(zero_copy_only=False)]
    return bool(lengths.all() and lengths.max(initial=0) <= most)


def _dates(text: pa.Array, pattern: str) -> pa.Array:
    """Dates that exist, null for others; they repeat, so that each distinct one is looked at once."""
    encoded = text.dictionary_encode()
    distinct = encoded.dictionary
    exists = pc.match_substring_regex(distinct, pattern)
    known = distinct.filter(exists)
    try:  # the pattern lets 30 February pass
        pc.cast(known.filter(pc.equal(pc.utf8_length(known), WHOLE_DATE)), pa.date32())
    except pa.ArrowInvalid:
        pairs = zip(exists.to_pylist(), distinct.to_pylist(), strict=True)
        exists = pa.array([fits and plain_time(value, Dtype.DATE) is not None for fits, value in pairs], pa.bool_())
    if pc.all(exists).as_py():
        return text
    return pc.if_else(exists, distinct, pa.scalar(None, pa.string())).take(encoded.indices)


def _with_nul(text: pa.Array) -> list[Failure]:
    """PostgreSQL holds no NUL, and no honest text does."""
    if b"\0" not in _bytes_of(text)[0].tobytes():
        return []
    found = np.flatnonzero(pc.fill_null(pc.match_substring(text, "\0"), fill_value=False))
    return [(position, "a NUL character") for position in found.tolist()]


def missing_values(typed: pa.Array, column: Column) -> list[Failure]:
    """The rows without a value, where the column requires one."""
    if not column.required or typed.null_count == 0:
        return []
    missing: npt.NDArray[np.int64] = np.flatnonzero(typed.is_null().to_numpy(zero_copy_only=False))
    return [(position, "a required value is missing") for position in missing.tolist()]
