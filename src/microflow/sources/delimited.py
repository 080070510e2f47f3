"""Delimited text: every row read as text, its fields counted, whatever is wrong with it named by line.

A chunk without any irregularity goes through Arrow's parser as a whole: valid UTF-8 without NUL, lines that end with LF
or CRLF, quotes only where they open, close or double, and the right number of fields in every row; Arrow and Python's
``csv`` module read such a chunk alike. Any other chunk is read line by line (`microflow.sources.lines`).

Text that a spreadsheet would run as a formula has a leading apostrophe, and loses it here. A spreadsheet runs a cell
that begins with ``=``, ``@``, a tab or a line end, and one that begins with ``+`` or ``-`` and goes on with more than a
number, a telephone number or a range of numbers (OWASP, "CSV Injection"); some run the same signs in full width, too,
and some drop blanks before them. The escape is exact: what begins with apostrophes and would be risky without them gets
one more, so that taking one away gives the text back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from microflow.schema import DatasetSchema, SourceFormat
from microflow.sources.columns import Block, Refusals, cleaned, require_columns
from microflow.sources.lines import Feed, LineReader, RowReader
from microflow.sources.tables import is_database, is_table

__all__ = [
    "are_regular", "harmless", "harmless_column", "header_names", "header_of", "parse_plain", "read_delimited",
    "unescaped", "unescaped_column",
]  # fmt: skip

_NEWLINE, _RETURN = b"\n"[0], b"\r"[0]
_Positions = npt.NDArray[np.int64]


def header_of(feed: Feed, place: str, schema: DatasetSchema) -> tuple[tuple[str, ...], int]:
    """The columns of a file in its order, and how many lines they took: none where it has no header line.

    Raises:
        InputError: the file is empty or its header is not the one described.
    """
    source = _source_of(place, schema.source)
    if not source.header:
        return schema.names, 0
    found, taken = _header(feed, place, source)
    return tuple(require_columns(found, replace(schema, source=source), place, header=True)), taken


def header_names(file: IO[bytes], place: str, source: SourceFormat) -> list[str]:
    """The names in the first row.

    Raises:
        InputError: there is none.
    """
    source = _source_of(place, source)
    return _header(Feed(file, source.encoding), place, source)[0]


def _header(feed: Feed, place: str, source: SourceFormat) -> tuple[list[str], int]:
    found, taken = LineReader(feed, source).header(place)
    return found if is_table(place) else [unescaped(name) for name in found], taken


def _source_of(place: str, source: SourceFormat) -> SourceFormat:
    """Format of one file; a spreadsheet or database is plain CSV by now, whatever else is described."""
    if not is_table(place):
        return source.of(place)
    return SourceFormat(",", header=source.header or is_database(place), trim=source.trim, missing=source.missing)


def read_delimited(
    file: IO[bytes],
    place: str,
    schema: DatasetSchema,
    refusals: Refusals,
    *,
    header: Sequence[str] | None = None,
    first_line: int = 1,
) -> Iterator[Block]:
    """Blocks of well-formed rows; rows with the wrong number of fields, a NUL or bad text are refused.

    ``header`` are the columns where the file is read from its middle, at line ``first_line``.

    Raises:
        InputError: the file is empty or its header is not the one described.
    """
    names, source = schema.names, _source_of(place, schema.source)
    feed = Feed(file, source.encoding, is_start=header is None)
    if header is None:
        header, lines = header_of(feed, place, schema)
        first_line += lines
    order, missing = {name: at for at, name in enumerate(header)}, source.missing | {""}
    rows = RowReader(LineReader(feed, source), len(header), source, refusals, first_line)
    while (chunk := feed.peek()) or rows.holds_lines:
        plain = None if rows.holds_lines else parse_plain(chunk, list(header), source, is_last=feed.is_last())
        if plain is not None:
            block, size, line_count = plain
            feed.skip(size)
            columns, numbers = list(block.columns.values()), rows.pass_over(line_count) + block.lines
        else:
            read = rows.until(feed.taken + len(chunk))
            numbers = np.array([line for line, _ in read], np.int64)
            fields = list(zip(*(row for _, row in read), strict=True)) or [()] * len(header)
            columns = [pa.array([None if text in missing else text for text in field], pa.string()) for field in fields]
        picked = {name: columns[order[name]] for name in names}
        # Apostrophes against formulas stand in files of text alone.
        if not is_table(place) and (plain is None or b"'" in chunk):
            picked = {name: unescaped_column(column) for name, column in picked.items()}
        yield Block(numbers, picked)


def parse_plain(
    chunk: bytes, names: list[str], source: SourceFormat, *, is_last: bool
) -> tuple[Block, int, int] | None:
    """The whole rows at the start of a chunk, or ``None`` if it is not plain. ``is_last``: no more bytes follow.

    Returns:
        The rows, in the order of ``names`` and with lines counted from 0; the bytes and the lines that they took.
    """
    has_lone_return = b"\r" in chunk and chunk.count(b"\r") != chunk.count(b"\r\n")
    if b"\0" in chunk or has_lone_return or not (source.delimiter + source.quote).isascii():
        return None
    if source.trim and not chunk.isascii():
        return None  # what counts as a blank is only certain in ASCII
    text = np.frombuffer(chunk, np.uint8)
    quotes = np.flatnonzero(text == ord(source.quote)) if source.quote else np.empty(0, np.int64)
    size = len(chunk) if is_last else chunk.rfind(b"\n") + 1
    if size < len(chunk) and np.searchsorted(quotes, size) % 2:  # the last line end stands inside quotes
        ends = _row_ends(text, quotes)
        size = int(ends[-1]) + 1 if len(ends) else 0
    if not size or not are_regular(text[:size], quotes[quotes < size], ord(source.delimiter)):
        return None
    columns = _parse(chunk[:size], names, source)
    if columns is None:
        return None
    line_count = chunk.count(b"\n", 0, size)
    if len(columns[0]) == line_count + (text[size - 1] != _NEWLINE):  # no blank line, and none inside a cell
        lines = np.arange(len(columns[0]))
    else:
        ends = _row_ends(text, quotes)
        starts = np.concatenate([[0], ends[ends < size - 1] + 1])
        first, second = text[np.minimum(starts, size - 1)], text[np.minimum(starts + 1, size - 1)]
        starts = starts[~((first == _NEWLINE) | ((first == _RETURN) & (second == _NEWLINE)))]
        if len(columns[0]) != len(starts):
            return None
        lines = np.searchsorted(np.flatnonzero(text[:size] == _NEWLINE), starts)
    return Block(lines, dict(zip(names, columns, strict=True))), size, line_count


def _row_ends(text: npt.NDArray[np.uint8], quotes: _Positions) -> _Positions:
    """The line ends before which an even number of quotes stands: no quote is open there."""
    newlines = np.flatnonzero(text == _NEWLINE)
    outside: _Positions = newlines[np.searchsorted(quotes, newlines) % 2 == 0]
    return outside


def are_regular(text: npt.NDArray[np.uint8], quotes: _Positions, delimiter: int) -> bool:
    """True if every quote opens a field, closes one, or is half of a doubled one.

    Quotes alternate: one that opens may follow the delimiter, a line end, or the quote that has just closed.
    """
    if not len(quotes):
        return True
    if len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    quote = text[quotes[0]]
    before, after = text[np.maximum(opening - 1, 0)], text[np.minimum(closing + 1, len(text) - 1)]
    opens = (before == delimiter) | (before == _NEWLINE) | (before == _RETURN) | (before == quote)
    closes = (after == delimiter) | (after == _NEWLINE) | (after == _RETURN) | (after == quote)
    return bool((opens & closes).all())


def _parse(chunk: bytes, names: list[str], source: SourceFormat) -> list[pa.Array] | None:
    try:
        table = pa.csv.read_csv(
            pa.BufferReader(chunk),
            pa.csv.ReadOptions(use_threads=False, block_size=len(chunk) + 1, column_names=names),
            pa.csv.ParseOptions(
                delimiter=source.delimiter, quote_char=source.quote or False, newlines_in_values=bool(source.quote)
            ),
            pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=["", *source.missing],
                strings_can_be_null=not source.trim,
                quoted_strings_can_be_null=True,
            ),
        )
    except pa.ArrowInvalid:
        return None
    columns = [column.combine_chunks() for column in table.columns]
    return [cleaned(column, source) for column in columns] if source.trim else columns


# Apostrophes against formulas

#: Nothing but digits and what stands between them: there is no name in it to call.
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_NUMBERS = rf"[+-](?:[0-9(][0-9 ().,:/-]*{_EXPONENT}(?:\.\.[+-]?[0-9.,]+{_EXPONENT})?%?)?"
_RISKY = re.compile(rf"'*[ \u00a0\u3000\ufeff]*(?:[=@\t\r\n\uff1d\uff20]|(?!{_NUMBERS}\Z)[+\uff0b\uff0d-])")
#: First bytes (of UTF-8) of text that may need an escape, and of text that may have one.
_SIGNS = np.zeros(256, np.bool_)
_SIGNS[np.frombuffer(b"=@\t\r\n+-' \xc2\xe3\xef", np.uint8)] = True
_APOSTROPHE = np.zeros(256, np.bool_)
_APOSTROPHE[ord("'")] = True


def harmless(text: str) -> str:
    """One text, escaped where it must be.

    >>> harmless("=1+1"), harmless("-70"), harmless("-1..3"), harmless("+353 1 555 0100"), harmless("-1+cmd()")
    ("'=1+1", '-70', '-1..3', '+353 1 555 0100', "'-1+cmd()")
    """
    return f"'{text}" if _RISKY.match(text) else text


def unescaped(text: str) -> str:
    """The text that `harmless` was given.

    >>> unescaped("'=1+1"), unescaped("'quoted'")
    ('=1+1', "'quoted'")
    """
    return text[1:] if text.startswith("'") and _RISKY.match(text) else text


def harmless_column(column: pa.Array) -> pa.Array:
    """Every text of a column, escaped where it must be; numbers are no formulas."""
    if not pa.types.is_string(column.type):
        return column
    return _changed(column, _SIGNS, harmless)


def unescaped_column(column: pa.Array) -> pa.Array:
    """The column that `harmless_column` was given."""
    data = column.buffers()[2]
    if data is None or not (np.frombuffer(data, np.uint8) == ord("'")).any():
        return column
    return _changed(column, _APOSTROPHE, unescaped)


def _changed(column: pa.Array, first_bytes: npt.NDArray[np.bool_], change: Callable[[str], str]) -> pa.Array:
    """The column with the texts changed that begin with one of these bytes: nearly always there are none."""
    _, offsets, data = column.buffers()
    if data is None or not data.size:
        return column
    content = np.frombuffer(data, np.uint8)
    begins = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    found = np.flatnonzero(first_bytes.take(content.take(begins[:-1], mode="clip")))
    found = found[begins[found] < begins[found + 1]]  # an empty text begins where the next one does
    if not len(found):
        return column
    picked = column.take(pa.array(found)).to_pylist()
    changed = [None if text is None else change(text) for text in picked]
    if changed == picked:
        return column
    is_found = np.zeros(len(column), np.bool_)
    is_found[found] = True
    return pc.replace_with_mask(column, pa.array(is_found), pa.array(changed, pa.string()))
