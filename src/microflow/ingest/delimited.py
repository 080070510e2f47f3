"""Delimited text: every row read as text, its fields counted, whatever is wrong with it named by line.

Regular chunks take the fast way (`microflow.ingest.plain`). The others are parsed by Python's ``csv`` module (RFC 4180:
quotes doubled, line ends inside quotes; LF, CRLF and CR end a line), row by row. A quote that is never closed would
swallow the rest of a file: then its first line alone is quarantined, and reading goes on behind it.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa

from microflow.errors import InputError
from microflow.ingest.block import BLOCK_ROWS, Block, require_columns
from microflow.ingest.feed import Feed
from microflow.ingest.plain import parse_plain
from microflow.ingest.quarantine import Quarantine
from microflow.ingest.typed import is_text
from microflow.schema import DatasetSchema, SourceFormat

__all__ = ["header_names", "read_delimited"]

#: No honest cell is longer (in characters); a missing quote makes one that is.
LONGEST_CELL = 2**22

Row = tuple[int, list[str]]


def read_delimited(file: IO[bytes], place: str, schema: DatasetSchema, quarantine: Quarantine) -> Iterator[Block]:
    """Blocks of well-formed rows; rows with the wrong number of fields, a NUL or bad text go to the quarantine.

    Raises:
        InputError: the file is empty or its header is not the one described.
    """
    csv.field_size_limit(LONGEST_CELL)
    names, source = schema.names, schema.source
    feed = Feed(file, source.encoding)
    rows = _Rows(feed, source, quarantine)
    header = require_columns(rows.header(place), schema, place, header=True) if source.header else list(names)
    accepted = rows.of_width(len(header))
    while (chunk := feed.peek()) or rows.is_reading_again:
        plain = None if rows.is_reading_again else parse_plain(chunk, header, source, is_last=feed.is_last())
        if plain is not None:
            feed.skip(plain.size)
            columns = dict(zip(header, plain.columns, strict=True))
            yield Block(rows.pass_over(plain.line_count) + plain.lines, {name: columns[name] for name in names})
        else:
            yield _block(rows.until(accepted, feed.taken + len(chunk)), header, names, source)


def header_names(file: IO[bytes], place: str, source: SourceFormat) -> list[str]:
    """The names in the first row.

    Raises:
        InputError: there is none.
    """
    csv.field_size_limit(LONGEST_CELL)
    return _Rows(Feed(file, source.encoding), source, Quarantine()).header(place)


def _block(rows: list[Row], header: list[str], names: tuple[str, ...], source: SourceFormat) -> Block:
    missing = source.missing | {""}
    fields = list(zip(*(row for _, row in rows), strict=True)) or [()] * len(header)
    texts = ([None if value in missing else value for value in fields[header.index(name)]] for name in names)
    return Block(
        np.array([line for line, _ in rows], np.int64),
        {name: pa.array(text, pa.string()) for name, text in zip(names, texts, strict=True)},
    )


class _Rows:
    """Rows with their first line, and a way back to the second line of one that went wrong."""

    def __init__(self, feed: Feed, source: SourceFormat, quarantine: Quarantine) -> None:
        self._feed = feed
        self._source = source
        self._quarantine = quarantine
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._line = 0

    @property
    def is_reading_again(self) -> bool:
        """Whether lines of a row that went wrong are still to be read as rows of their own."""
        return bool(self._again)

    def pass_over(self, lines: int) -> int:
        """Count lines that were read another way; returns the number of the first."""
        first = self._line + 1
        self._line += lines
        return first

    def until(self, accepted: Iterator[Row], taken: int) -> list[Row]:
        """Rows up to this many bytes of the feed, or a block of them."""
        rows: list[Row] = []
        while (self._feed.taken < taken or self._again) and len(rows) < BLOCK_ROWS:
            row = next(accepted, None)
            if row is None:
                break
            rows.append(row)
        return rows

    def header(self, place: str) -> list[str]:
        """The first row that is not blank."""
        try:
            _, fields = next(self._parsed())
        except (StopIteration, csv.Error):
            raise InputError("the file is empty or does not begin with a header", path=place) from None
        self._taken.clear()
        if not all(is_text(name) for name in fields):
            raise InputError("the header is not UTF-8 text", path=place, line=1, hint="convert the file with iconv")
        return fields

    def of_width(self, width: int) -> Iterator[Row]:
        """Rows with this many fields that are text; all others are quarantined."""
        trim = self._source.trim
        while True:
            try:
                for line, fields in self._parsed():
                    if fault := _fault(fields, width):
                        self._refuse(line, fault)
                    else:
                        yield line, [field.strip() for field in fields] if trim else fields
            except csv.Error as error:
                self._refuse(self._line - len(self._taken) + 1, f"not delimited text: {error}")
                continue
            return

    def _parsed(self) -> Iterator[Row]:
        source = self._source
        for fields in csv.reader(
            self,
            strict=True,
            delimiter=source.delimiter,
            quotechar=source.quote or None,
            quoting=csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
            skipinitialspace=source.trim,
        ):
            line = self._line - len(self._taken) + 1
            if fields:
                yield line, fields
            self._taken.clear()

    def _refuse(self, line: int, fault: str) -> None:
        """Quarantine the row's first line and read its other lines again: they may be rows of their own."""
        first, *others = self._taken
        self._quarantine.add(line, "", fault, first.rstrip("\r\n"))
        self._again.extendleft(reversed(others))
        self._line -= len(others)
        self._taken.clear()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._feed.line().decode("utf-8", "surrogateescape")
        if not line:
            raise StopIteration
        self._line += 1
        self._taken.append(line)
        return line


def _fault(fields: list[str], width: int) -> str:
    if len(fields) != width:
        return f"{width} fields expected, not {len(fields)}"
    joined = "".join(fields)
    if "\0" in joined:
        return "a NUL character"
    if not (joined.isascii() or is_text(joined)):
        return "not UTF-8 text"
    return ""
