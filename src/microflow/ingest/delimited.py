"""Delimited text: every row read as text, its fields counted, whatever is wrong with it named by line.

Python's ``csv`` module does the parsing (RFC 4180: quotes doubled, line ends inside quotes; LF, CRLF and CR end a
line). A quote that is never closed would swallow the rest of a file: then its first line alone is quarantined, and reading
goes on behind it.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import IO

import numpy as np
import pyarrow as pa

from microflow.errors import InputError
from microflow.ingest.block import BLOCK_ROWS, Block
from microflow.ingest.quarantine import Quarantine
from microflow.schema import SourceFormat

__all__ = ["read_delimited"]

#: No honest cell is longer (in characters); a missing quote makes one that is.
LONGEST_CELL = 2**22

Row = tuple[int, list[str]]


def read_delimited(
    file: IO[bytes], place: str, names: tuple[str, ...], source: SourceFormat, quarantine: Quarantine
) -> Iterator[Block]:
    """Blocks of well-formed rows; rows with the wrong number of fields, a NUL or bad text go to the quarantine.

    Raises:
        InputError: the file is empty or its header is not the one described.
    """
    csv.field_size_limit(LONGEST_CELL)
    rows = _Rows(file, source, quarantine)
    header = [name.strip() for name in rows.header(place)] if source.header else list(names)
    _check_header(header, names, place)
    order = [header.index(name) for name in names]
    missing = source.missing | {""}
    accepted = rows.of_width(len(header))
    while block := list(islice(accepted, BLOCK_ROWS)):
        fields = list(zip(*(row for _, row in block), strict=True))
        texts = ([None if value in missing else value for value in fields[position]] for position in order)
        yield Block(
            np.array([line for line, _ in block], np.int64),
            {name: pa.array(text, pa.string()) for name, text in zip(names, texts, strict=True)},
        )


def _check_header(header: list[str], names: tuple[str, ...], place: str) -> None:
    doubled = {name for name in header if header.count(name) > 1}
    if doubled:
        raise InputError("the header names it twice", path=place, line=1, column=min(doubled))
    expected = f"the schema describes: {', '.join(names)}"
    if absent := [name for name in names if name not in header]:
        raise InputError("the header lacks it", path=place, line=1, column=absent[0], hint=expected)
    if unknown := [name for name in header if name not in names]:
        shown = unknown[0] if unknown[0].isprintable() else repr(unknown[0])
        raise InputError("the schema does not describe it", path=place, line=1, column=shown[:80], hint=expected)


class _Rows:
    """Rows with their first line, and a way back to the second line of one that went wrong."""

    def __init__(self, file: IO[bytes], source: SourceFormat, quarantine: Quarantine) -> None:
        self._source = source
        self._quarantine = quarantine
        self._text = io.TextIOWrapper(file, _encoding(file), errors="surrogateescape", newline="")
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self._line = 0

    def header(self, place: str) -> list[str]:
        """The first row that is not blank."""
        try:
            _, fields = next(self._parsed())
        except (StopIteration, csv.Error):
            raise InputError("the file is empty or does not begin with a header", path=place) from None
        if not all(_is_text(name) for name in fields):
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
        for fields in csv.reader(self, strict=True, delimiter=source.delimiter, skipinitialspace=source.trim):
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
        line = self._again.popleft() if self._again else next(self._text)
        self._line += 1
        self._taken.append(line)
        return line


def _fault(fields: list[str], width: int) -> str:
    if len(fields) != width:
        return f"{width} fields expected, not {len(fields)}"
    joined = "".join(fields)
    if "\0" in joined:
        return "a NUL character"
    if not (joined.isascii() or _is_text(joined)):
        return "not UTF-8 text"
    return ""


def _is_text(text: str) -> bool:
    """Whether decoding met only valid bytes: others were smuggled in as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoding(file: IO[bytes]) -> str:
    """By the byte order mark: UTF-16, or UTF-8 with or without one."""
    start = file.peek(2)[:2] if isinstance(file, io.BufferedReader) else b""
    return "utf-16" if start in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
