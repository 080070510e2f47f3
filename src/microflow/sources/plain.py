"""The fast way through delimited text: a chunk without any irregularity goes through Arrow's parser as a whole.

A chunk is *plain* if Arrow and Python's ``csv`` module read it alike: valid UTF-8 without NUL, lines that end with LF
or CRLF, quotes only where they open, close or double, and the right number of fields in every row. Any other chunk is
left to `microflow.sources.delimited`, which says what is wrong and where.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from microflow.schema import SourceFormat

__all__ = ["PlainChunk", "parse_plain"]

_Positions = npt.NDArray[np.int64]
_NEWLINE, _RETURN = b"\n"[0], b"\r"[0]


@dataclass(frozen=True, slots=True)
class PlainChunk:
    """``columns`` in the file's order, text with null for missing; ``lines`` (int64) each row's first line, from 0.

    ``size`` bytes and ``line_count`` lines were read: whole rows only.
    """

    columns: list[pa.Array]
    lines: _Positions
    size: int
    line_count: int


def parse_plain(chunk: bytes, names: list[str], source: SourceFormat, *, is_last: bool) -> PlainChunk | None:
    """The whole rows at the start of a chunk, or ``None`` if it is not plain. ``is_last``: no more bytes follow."""
    if b"\0" in chunk or _has_lone_return(chunk) or not (source.delimiter + source.quote).isascii():
        return None
    if source.trim and not chunk.isascii():
        return None  # what counts as a blank is only certain in ASCII
    text = np.frombuffer(chunk, np.uint8)
    quote = ord(source.quote) if source.quote else None
    quotes = np.flatnonzero(text == quote) if quote is not None else np.empty(0, np.int64)
    newlines = np.flatnonzero(text == _NEWLINE)
    # An even number of quotes before a line end: no quote is open there.
    ends = newlines[np.searchsorted(quotes, newlines) % 2 == 0] if len(quotes) else newlines
    size = len(chunk) if is_last else int(ends[-1]) + 1 if len(ends) else 0
    quotes = quotes[quotes < size]
    if not size or not _are_regular(text[:size], quotes, ord(source.delimiter)):
        return None
    starts = np.concatenate([[0], ends[ends < size - 1] + 1])
    starts = starts[~_is_blank(text, starts, size)]
    columns = _parse(chunk[:size], names, source)
    if columns is None or len(columns[0]) != len(starts):
        return None
    newlines = newlines[newlines < size]
    return PlainChunk(columns, np.searchsorted(newlines, starts), size, len(newlines))


def _has_lone_return(chunk: bytes) -> bool:
    return b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n")


def _are_regular(text: npt.NDArray[np.uint8], quotes: _Positions, delimiter: int) -> bool:
    """Whether every quote opens a field, closes one, or is half of a doubled one.

    Quotes alternate: one that opens may follow the delimiter, a line end, or the quote that has just closed.
    """
    if not len(quotes):
        return True
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    last = len(text) - 1
    quote = text[quotes[0]]
    opens = np.isin(text[np.maximum(opening - 1, 0)], (delimiter, _NEWLINE, quote))
    closes = np.isin(text[np.minimum(closing + 1, last)], (delimiter, _NEWLINE, _RETURN, quote))
    return bool((opens & closes).all())


def _is_blank(text: npt.NDArray[np.uint8], starts: _Positions, size: int) -> npt.NDArray[np.bool_]:
    first = text[np.minimum(starts, size - 1)]
    second = text[np.minimum(starts + 1, size - 1)]
    blank: npt.NDArray[np.bool_] = (first == _NEWLINE) | ((first == _RETURN) & (second == _NEWLINE))
    return blank


def _parse(chunk: bytes, names: list[str], source: SourceFormat) -> list[pa.Array] | None:
    missing = ["", *source.missing]
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(chunk),
            pa.csv.ReadOptions(use_threads=False, block_size=len(chunk) + 1, column_names=names),
            pa.csv.ParseOptions(
                delimiter=source.delimiter, quote_char=source.quote or False, newlines_in_values=bool(source.quote)
            ),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=missing,
                strings_can_be_null=not source.trim,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    columns = [column.combine_chunks() for column in table.columns]
    return [_trimmed(column, missing) for column in columns] if source.trim else columns


def _trimmed(column: pa.Array, missing: list[str]) -> pa.Array:
    bare = pc.utf8_trim_whitespace(column)
    return pc.if_else(pc.is_in(bare, pa.array(missing)), pa.scalar(None, pa.string()), bare)
