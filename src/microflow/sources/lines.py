"""Lines of text, and rows made of them one by one: the way of delimited text that is irregular.

Rows are those of Python's ``csv`` module (RFC 4180: quotes doubled, line ends inside quotes; LF, CRLF and CR end a
line). A quote that is never closed would swallow the rest of a file: then the first line of its row alone is refused,
and reading goes on behind it. So that this stays linear, each line is looked at once as the begin of a row and once as
its middle.
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Sequence
from typing import IO, Any, NamedTuple

from microflow.errors import InputError
from microflow.schema import SourceFormat
from microflow.sources.columns import BLOCK_ROWS, Refusals, is_text

__all__ = ["CHUNK_BYTES", "LONGEST_LINE", "MOST_LINES", "Feed", "LineReader", "RowReader"]

#: Looked at in one go: a few thousand rows, so that one bad row slows down few others.
CHUNK_BYTES = 2**20
#: No honest line is longer; of one that is, no more is held than this.
LONGEST_LINE = 2**22
#: No honest row has more lines, or more bytes than `LONGEST_LINE`; a missing quote makes one that has.
MOST_LINES = 2**16
_UNCLOSED = "not delimited text: a quote is not closed"
#: Of what is no UTF-8; that of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
#: No valid UTF-8 contains this byte: whatever holds it is refused as text later.
_INVALID = b"\xff"


class Feed:
    """Reader of a file's bytes with look-ahead. A byte order mark selects UTF-8, 16 or 32, else ``encoding``.

    Bytes that are no valid text pass through, for the reader to refuse the rows they are in. ``is_start=False``: the
    file is read from its middle, where no mark can be.
    """

    def __init__(self, file: IO[bytes], encoding: str = "utf-8", *, is_start: bool = True) -> None:
        self._file = file
        self._kept = b""
        self._at = 0  # what was taken of it: a line must not cost a copy of the rest
        self._decoder: codecs.IncrementalDecoder | None = None
        self._ended = False
        self._encoding = encoding
        #: Bytes of UTF-8 handed out so far, and bytes of a mark before them.
        self.taken = self.mark = 0
        if is_start:
            self._start()

    @property
    def is_converted(self) -> bool:
        """True if the file is not UTF-8: then the bytes handed out are not the bytes of the file."""
        return self._decoder is not None

    def peek(self) -> bytes:
        """A chunk or whatever is left, without taking it; empty at the end."""
        self._fill(CHUNK_BYTES)
        return self._kept[self._at :] if self._at else self._kept

    def is_last(self) -> bool:
        """True if nothing follows what `peek` shows."""
        return self._ended

    def skip(self, count: int) -> None:
        """Take so many of the bytes that `peek` showed."""
        self._at += count
        self.taken += count

    def line(self) -> bytes:
        """Take the next line with its end (LF, CR or CRLF); empty at the end of the file.

        Of a line longer than `LONGEST_LINE` the first part is returned, which is longer too, and the rest is skipped.
        """
        looked = 0
        while not (end := self._line_end(self._at + looked)) and not self._ended:
            looked = max(len(self._kept) - self._at - 1, 0)
            if looked > LONGEST_LINE:
                return self._overlong(looked)
            self._fill(looked + 1 + CHUNK_BYTES)
        line = self._kept[self._at : end or len(self._kept)]
        self.skip(len(line))
        return line

    def _overlong(self, looked: int) -> bytes:
        """The first part of a line without an end so far; what follows is dropped up to where it ends."""
        first = self._kept[self._at : self._at + looked]
        self.skip(looked)
        while not (end := self._line_end(self._at)) and not self._ended:
            self.skip(max(len(self._kept) - self._at - 1, 0))
            self._fill(1 + CHUNK_BYTES)
        self.skip((end or len(self._kept)) - self._at)
        return first

    def _line_end(self, look: int) -> int:
        """End of the line at hand, its end included; 0 if that is not known yet. Nothing ends before ``look``."""
        feed = self._kept.find(b"\n", look)
        carriage = self._kept.find(b"\r", look, len(self._kept) if feed < 0 else feed)
        end = feed + 1 if carriage < 0 else carriage + (2 if feed == carriage + 1 else 1)
        # A CR that ends what was read may be the first half of a CRLF.
        return end if self._ended or end < len(self._kept) or end == feed + 1 else 0

    def _start(self) -> None:
        self._fill(len(codecs.BOM_UTF32_LE))
        marked = next((encoding for mark, encoding in _MARKS.items() if self._kept.startswith(mark)), None)
        if marked is not None:
            self._decoder = codecs.getincrementaldecoder(marked)("surrogatepass")
        elif self._encoding != "utf-8" and not self._kept.startswith(codecs.BOM_UTF8):
            self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogateescape")
        if self._decoder is not None:
            self._kept = self._decoded(self._kept, final=self._ended)
        if self._kept.startswith(codecs.BOM_UTF8):
            self._kept = self._kept[len(codecs.BOM_UTF8) :]
            self.mark = len(codecs.BOM_UTF8)

    def _fill(self, size: int) -> None:
        """Have so many bytes at hand, or all that are left."""
        if self._ended or len(self._kept) - self._at >= size:
            return
        pieces = [self._kept[self._at :]]
        held, self._at = len(pieces[0]), 0
        while held < size and not self._ended:
            raw = self._file.read(size - held)
            self._ended = not raw
            pieces.append(self._decoded(raw, final=self._ended))
            held += len(pieces[-1])
        self._kept = b"".join(pieces)

    def _decoded(self, raw: bytes, *, final: bool) -> bytes:
        if self._decoder is None:
            return raw
        try:
            return self._decoder.decode(raw, final).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self._decoder.reset()
            return _INVALID


class _Seen(NamedTuple):
    """Effect of a line on a row: ``end`` if the row ends with it, ``fields`` it adds, ``error`` if it breaks it."""

    end: bool
    fields: int
    error: str = ""


class LineReader:
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
        """Effect of a line on a row, where a row begins or ``inside`` of a quoted field."""
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


class RowReader:
    """Rows of the expected width with their first lines; whatever is none is refused by its first line.

    Lines are held from the first one of the row to the furthest that was looked at for its end, all by their numbers in
    the file. Those behind the first up to ``_looked`` were looked at as the middle of a row, which ends with ``_stop``.
    """

    def __init__(self, lines: LineReader, width: int, source: SourceFormat, refusals: Refusals, line: int) -> None:
        self._lines, self._width, self._source, self._refusals = lines, width, source, refusals
        self._refused = 0
        self._line = self._next = line  # the current row's first line, and the next one to hold
        self._held: dict[int, str] = {}
        self._bytes = {line: 0}  # before a line
        self._fields: dict[int, int] = {}  # that lines before it add inside of a row
        self._looked = line
        self._stop: _Seen | None = None

    @property
    def holds_lines(self) -> bool:
        """True if lines were looked at that must still be read as rows."""
        return self._line < self._next

    def pass_over(self, lines: int) -> int:
        """Count lines that were read another way; returns the number of the first."""
        first, self._line = self._line, self._line + lines
        self._next, self._bytes = self._line, {self._line: 0}
        return first

    def until(self, taken: int) -> list[tuple[int, list[str]]]:
        """Rows up to this many bytes of the feed, or a block of them."""
        rows: list[tuple[int, list[str]]] = []
        most = self._refused + BLOCK_ROWS
        while len(rows) < BLOCK_ROWS and self._refused < most and (self.holds_lines or self._lines.feed.taken < taken):
            if not self._have(self._line):
                break
            self._one(rows)
        return rows

    def _one(self, rows: list[tuple[int, list[str]]]) -> None:
        """The row that begins with the current line, or the refusal of that line."""
        line = self._held[self._line]
        if not line.strip("\r\n"):
            self._advance(1)
            return
        if self._size(self._line, self._line) > LONGEST_LINE:
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

    def _accept(self, count: int, rows: list[tuple[int, list[str]]]) -> None:
        fields = self._lines.parsed([self._held[number] for number in range(self._line, self._line + count)])
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
        self._refusals.add(self._line, "", fault, self._held[self._line].rstrip("\r\n"))
        self._advance(count)

    def _end_of_open_row(self) -> tuple[int, int, str]:
        """Lines of a row whose quote is open behind the current line, fields they add, and what is wrong with it."""
        first = self._line
        if self._looked <= first + 1:  # nothing behind the current line was looked at yet
            self._looked, self._stop = first + 1, None
        while self._stop is None:
            at = self._looked
            if at - first > MOST_LINES or self._size(first, at) > LONGEST_LINE or not self._have(at):
                return 1, 0, _UNCLOSED
            seen = self._lines.seen(self._held[at], inside=True)
            self._looked = at + 1
            self._fields[at + 1] = self._fields.get(at, 0) + seen.fields
            if seen.end:
                self._stop = seen
        last = self._looked - 1
        if last - first > MOST_LINES or self._size(first, last) > LONGEST_LINE:
            return 1, 0, _UNCLOSED
        return last - first + 1, self._fields[last + 1] - self._fields.get(first + 1, 0), self._stop.error

    def _size(self, first: int, last: int) -> int:
        return self._bytes[min(last + 1, self._next)] - self._bytes[first]

    def _have(self, number: int) -> bool:
        """Hold the line of this number, unless the file ends before it."""
        if number < self._next:
            return True
        line, size = self._lines.next()
        if line:
            self._held[number] = line
            self._next = number + 1
            self._bytes[self._next] = self._bytes[number] + size
        return bool(line)

    def _advance(self, lines: int) -> None:
        for number in range(self._line, self._line + lines):
            del self._held[number], self._bytes[number]
            self._fields.pop(number, None)
        self._line += lines
