"""The bytes of a text file as UTF-8, by chunk or by line, whichever the reader asks for next."""

from __future__ import annotations

import codecs
from typing import IO

__all__ = ["CHUNK_BYTES", "LONGEST_LINE", "Feed"]

#: Looked at in one go: a few thousand rows, so that one bad row slows down few others.
CHUNK_BYTES = 2**20
#: No honest line is longer; of one that is, no more is held than this.
LONGEST_LINE = 2**22
#: Of what is no UTF-8; that of UTF-32 begins with that of UTF-16.
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
#: No valid UTF-8 contains this byte: whatever holds it is refused as text later.
_INVALID = b"\xff"


class Feed:
    """Reads ahead by a chunk. A byte order mark selects UTF-8, 16 or 32 and is dropped, else ``encoding`` counts.

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
        """Whether the file is no UTF-8: then bytes handed out are not bytes of the file."""
        return self._decoder is not None

    def peek(self) -> bytes:
        """A chunk or whatever is left, without taking it; empty at the end."""
        self._fill(CHUNK_BYTES)
        return self._kept[self._at :] if self._at else self._kept

    def is_last(self) -> bool:
        """Whether nothing follows what `peek` shows."""
        return self._ended

    def skip(self, count: int) -> None:
        """Take so many of the bytes that `peek` showed."""
        self._at += count
        self.taken += count

    def line(self) -> bytes:
        """Take the next line with its end (LF, CR or CRLF); empty at the end of the file.

        Of a line longer than `LONGEST_LINE` the first part is returned, which is longer too, and the rest is skipped.
        """
        size, looked = 1, 0
        while True:
            end = _line_end(self._kept, self._at, self._at + looked)
            # A CR that ends what was read may be the first half of a CRLF.
            if 0 < end < len(self._kept) or self._kept[end - 1 : end] == b"\n" or self._ended:
                line = self._kept[self._at : end or len(self._kept)]
                self.skip(len(line))
                return line
            looked = max(len(self._kept) - self._at - 1, 0)
            if looked > LONGEST_LINE:
                return self._overlong(looked)
            size = looked + 1 + CHUNK_BYTES
            self._fill(size)

    def _overlong(self, looked: int) -> bytes:
        """The first part of a line without an end so far; what follows is dropped up to where it ends."""
        first = self._kept[self._at : self._at + looked]
        self.skip(looked)
        while not self._ended:
            end = _line_end(self._kept, self._at, self._at)
            if 0 < end < len(self._kept) or self._kept[end - 1 : end] == b"\n":
                break
            self.skip(max(len(self._kept) - self._at - 1, 0))
            self._fill(1 + CHUNK_BYTES)
        end = _line_end(self._kept, self._at, self._at)
        self.skip((end or len(self._kept)) - self._at)
        return first

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


def _line_end(buffer: bytes, start: int, look: int) -> int:
    """Where the first line ends, its end included; 0 if it has none. Nothing ends before ``look``."""
    look = max(start, look)
    feed = buffer.find(b"\n", look)
    carriage = buffer.find(b"\r", look, len(buffer) if feed < 0 else feed)
    if carriage < 0:
        return feed + 1
    return carriage + 2 if feed == carriage + 1 else carriage + 1
