"""Delimited text: every row read as text, its fields counted, whatever is wrong with it named by line.

Regular chunks take the fast way (`microflow.sources.plain`). The others are read line by line as Python's ``csv``
module reads them (RFC 4180: quotes doubled, line ends inside quotes; LF, CRLF and CR end a line). A quote that is never
closed would swallow the rest of a file: then the first line of its row alone is refused, and reading goes on behind it.
So that this stays linear, each line is looked at once as the begin of a row and once as its middle.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from microflow.errors import InputError
from microflow.schema import DatasetSchema, SourceFormat
from microflow.sources.block import BLOCK_ROWS, Block, Refusals, require_columns
from microflow.sources.feed import LONGEST_LINE, Feed
from microflow.sources.formulas import unescaped, unescaped_column
from microflow.sources.plain import parse_plain
from microflow.sources.tables import is_database, is_table
from microflow.sources.typed import is_text

__all__ = ["MOST_LINES", "header_names", "header_of", "read_delimited"]

#: No honest row has more lines, or more bytes than `LONGEST_LINE`; a missing quote makes one that has.
MOST_LINES = 2**16
_UNCLOSED = "not delimited text: a quote is not closed"

Row = tuple[int, list[str]]


def header_of(feed: Feed, place: str, schema: DatasetSchema) -> tuple[tuple[str, ...], int]:
    """The columns of a file in its order, and how many lines they took: none where it has no header line.

    Raises:
        InputError: the file is empty or its header is not the one described.
    """
    schema = replace(schema, source=_source_of(place, schema.source))
    if not schema.source.header:
        return schema.names, 0
    found, taken = _Lines(feed, schema.source).header(place)
    return tuple(require_columns(_names(found, place), schema, place, header=True)), taken


def header_names(file: IO[bytes], place: str, source: SourceFormat) -> list[str]:
    """The names in the first row.

    Raises:
        InputError: there is none.
    """
    source = _source_of(place, source)
    found, _ = _Lines(Feed(file, source.encoding), source).header(place)
    return _names(found, place)


def _source_of(place: str, source: SourceFormat) -> SourceFormat:
    """How one file is written; a spreadsheet or database is plain CSV by now, whatever else is described."""
    if not is_table(place):
        return source.of(place)
    return SourceFormat(",", header=source.header or is_database(place), trim=source.trim, missing=source.missing)


def _names(found: list[str], place: str) -> list[str]:
    return found if is_table(place) else [unescaped(name) for name in found]


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
    # Apostrophes against formulas stand in files of text alone.
    read = _as_it_is if is_table(place) else unescaped_column
    feed = Feed(file, source.encoding, is_start=header is None)
    line = first_line
    if header is None:
        header, lines = header_of(feed, place, schema)
        line += lines
    order = {name: place for place, name in enumerate(header)}
    rows = _Rows(_Lines(feed, source), len(header), source, refusals, line)
    while (chunk := feed.peek()) or rows.holds_lines:
        plain = None if rows.holds_lines else parse_plain(chunk, list(header), source, is_last=feed.is_last())
        if plain is not None:
            feed.skip(plain.size)
            columns = {name: read(plain.columns[order[name]]) for name in names}
            yield Block(rows.pass_over(plain.line_count) + plain.lines, columns)
        else:
            yield _block(rows.until(feed.taken + len(chunk)), order, names, source.missing | {""}, read)


def _as_it_is(column: pa.Array) -> pa.Array:
    return column


def _block(
    rows: list[Row],
    order: dict[str, int],
    names: tuple[str, ...],
    missing: frozenset[str],
    read: Callable[[pa.Array], pa.Array],
) -> Block:
    fields = list(zip(*(row for _, row in rows), strict=True)) or [()] * len(order)
    texts = ([None if value in missing else value for value in fields[order[name]]] for name in names)
    return Block(
        np.array([line for line, _ in rows], np.int64),
        {name: read(pa.array(text, pa.string())) for name, text in zip(names, texts, strict=True)},
    )


class _Seen(NamedTuple):
    """What a line does to a row: ``end`` if the row ends with it, ``fields`` it adds, ``error`` if it breaks it."""

    end: bool
    fields: int
    error: str = ""


class _Lines:
    """Lines of a feed, and what each does to a row that begins with it or goes through it."""

    def __init__(self, feed: Feed, source: SourceFormat) -> None:
        self.feed = feed
        self._delimiter = source.delimiter
        self._quote = source.quote
        self._options: dict[str, Any] = {
            "strict": True,
            "delimiter": source.delimiter,
            "quotechar": source.quote or None,
            "quoting": csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
            "skipinitialspace": source.trim,
        }
        csv.field_size_limit(4 * LONGEST_LINE)

    def next(self) -> tuple[str, int]:
        """The next line and its bytes; empty at the end of the file."""
        raw = self.feed.line()
        return raw.decode("utf-8", "surrogateescape"), len(raw)

    def parsed(self, lines: Sequence[str]) -> list[str]:
        """The fields of a whole row.

        Raises:
            csv.Error: it is none.
        """
        return next(csv.reader(lines, **self._options), [])

    def seen(self, line: str, *, inside: bool) -> _Seen:
        """What a line does where a row begins, or ``inside`` of a quoted field."""
        quote = self._quote
        if not quote or quote not in line:
            return _Seen(end=False, fields=0) if inside else _Seen(end=True, fields=line.count(self._delimiter) + 1)
        text = f"{quote}{line}" if inside else line
        try:
            return _Seen(end=True, fields=len(self.parsed([text])) - inside)
        except csv.Error as error:
            reason = f"not delimited text: {error}"
        try:
            # Whatever was wrong is mended by closing the quote: it is still open.
            return _Seen(end=False, fields=len(self.parsed([f"{text}{quote}"])) - inside)
        except csv.Error:
            return _Seen(end=True, fields=0, error=reason)

    def header(self, place: str) -> tuple[list[str], int]:
        """The first row that is not blank, and the lines up to its end."""
        taken: list[str] = []
        blank = 0
        while line := self.next()[0]:
            if not taken and not line.strip("\r\n"):
                blank += 1
                continue
            seen = self.seen(line, inside=bool(taken))
            taken.append(line)
            if seen.error or len(taken) > MOST_LINES or len(line) > LONGEST_LINE:
                break
            if seen.end:
                fields = self.parsed(taken)
                if not all(is_text(name) for name in fields):
                    hint = "say how it is written, source: {encoding: cp1252} for instance, or convert it with iconv"
                    raise InputError("the header is not UTF-8 text", path=place, line=1, hint=hint)
                return fields, blank + len(taken)
        raise InputError("the file is empty or does not begin with a header", path=place)


class _Rows:
    """Rows of the expected width with their first lines; whatever is none is refused by its first line.

    Lines are held from the first one of the row to the furthest that was looked at for its end. ``_inside`` says what
    each does inside of a quoted field, and covers a stretch without gaps up to ``_stop``, where an open row ends.
    """

    def __init__(self, lines: _Lines, width: int, source: SourceFormat, refusals: Refusals, line: int) -> None:
        self._lines, self._width, self._source, self._refusals = lines, width, source, refusals
        self._refused = 0
        self._held: list[str] = []
        self._first = 0  # index of the current row's first line in ``_held``
        self._line = line  # its number in the file
        self._looked = 0  # lines of ``_held`` before this one were looked at as the middle of a row, from the begin on
        self._stop: _Seen | None = None  # what ends the stretch, at ``_looked - 1``
        self._fields: list[int] = []  # of ``_held``: fields added inside, summed up
        self._bytes: list[int] = []  # of ``_held``: lengths, summed up

    @property
    def holds_lines(self) -> bool:
        """Whether lines were looked at that are still to be read as rows."""
        return self._first < len(self._held)

    def pass_over(self, lines: int) -> int:
        """Count lines that were read another way; returns the number of the first."""
        first = self._line
        self._line += lines
        return first

    def until(self, taken: int) -> list[Row]:
        """Rows up to this many bytes of the feed, or a block of them."""
        rows: list[Row] = []
        most = self._refused + BLOCK_ROWS
        while len(rows) < BLOCK_ROWS and self._refused < most and (self.holds_lines or self._lines.feed.taken < taken):
            if not self._have(self._first):
                break
            self._one(rows)
            if self._first > MOST_LINES:
                self._forget()
        return rows

    def _one(self, rows: list[Row]) -> None:
        """The row that begins with the current line, or the refusal of that line."""
        line = self._held[self._first]
        if not line.strip("\r\n"):
            self._advance(1)
            return
        if self._size(self._first, self._first) > LONGEST_LINE:
            self._refuse(f"not delimited text: a line of more than {LONGEST_LINE:,} bytes")
            return
        begin = self._lines.seen(line, inside=False)
        count, fields, error = 1, begin.fields, begin.error
        if not begin.end:
            count, more, error = self._end_of_open_row()
            fields += more
        if error:
            self._refuse(error)
        elif fields != self._width:
            self._refuse(f"{self._width} fields expected, not {fields}")
        else:
            self._accept(count, rows)

    def _accept(self, count: int, rows: list[Row]) -> None:
        fields = self._lines.parsed(self._held[self._first : self._first + count])
        joined = "".join(fields)
        if "\0" in joined:
            self._refuse("a NUL character", count)
        elif not (joined.isascii() or is_text(joined)):
            self._refuse("not UTF-8 text", count)
        else:
            rows.append((self._line, [field.strip() for field in fields] if self._source.trim else fields))
            self._advance(count)

    def _refuse(self, fault: str, count: int = 1) -> None:
        self._refused += 1
        self._refusals.add(self._line, "", fault, self._held[self._first].rstrip("\r\n"))
        self._advance(count)

    def _end_of_open_row(self) -> tuple[int, int, str]:
        """Lines of a row whose quote is open behind the current line, fields they add, and what is wrong with it."""
        first = self._first
        if self._looked <= first + 1:  # nothing behind the current line was looked at yet
            self._looked, self._stop = first + 1, None
        while self._stop is None:
            at = self._looked
            if at - first > MOST_LINES or self._size(first, at) > LONGEST_LINE or not self._have(at):
                return 1, 0, _UNCLOSED
            seen = self._lines.seen(self._held[at], inside=True)
            self._fields[at] = seen.fields + (self._fields[at - 1] if at else 0)
            self._looked += 1
            if seen.end:
                self._stop = seen
        last = self._looked - 1
        if last - first > MOST_LINES or self._size(first, last) > LONGEST_LINE:
            return 1, 0, _UNCLOSED
        return last - first + 1, self._fields[last] - self._fields[first], self._stop.error

    def _size(self, first: int, last: int) -> int:
        return self._bytes[min(last, len(self._bytes) - 1)] - (self._bytes[first - 1] if first else 0)

    def _have(self, index: int) -> bool:
        """Hold the line of this index, unless the file ends before it."""
        if index < len(self._held):
            return True
        line, size = self._lines.next()
        if line:
            self._held.append(line)
            self._bytes.append(size + (self._bytes[-1] if self._bytes else 0))
            self._fields.append(self._fields[-1] if self._fields else 0)
        return bool(line)

    def _advance(self, lines: int) -> None:
        self._first += lines
        self._line += lines
        if not self.holds_lines:
            self._forget()

    def _forget(self) -> None:
        """Drop the lines that are done with."""
        first = self._first
        base_bytes = self._bytes[first - 1] if first else 0
        base_fields = self._fields[first - 1] if first else 0
        self._held = self._held[first:]
        self._bytes = [size - base_bytes for size in self._bytes[first:]]
        self._fields = [fields - base_fields for fields in self._fields[first:]]
        self._looked = max(self._looked - first, 0)
        self._stop = self._stop if self._looked else None
        self._first = 0
