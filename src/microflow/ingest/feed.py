"""The bytes of a text file as UTF-8, by chunk or by line, whichever the reader asks for next."""

from __future__ import annotations

import codecs
from typing import IO

__all__ = ["CHUNK_BYTES", "Feed"]

#: Looked at in one go: a few thousand rows, so that one bad row slows down few others.
CHUNK_BYTES = 2**20
_UTF16 = {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}
#: No valid UTF-8 contains this byte: whatever holds it is refused as text later.
_INVALID = b"\xff"


class Feed:
    """Reads ahead by a chunk. A byte order mark selects UTF-8 or UTF-16 and is dropped, else ``encoding`` counts.

    Bytes that are no valid text pass through, for the reader to refuse the rows they are in.
    """

    def __init__(self, file: IO[bytes], encoding: str = "utf-8") -> None:
        self._file = file
        self._kept = b""
        self._at = 0  # what was taken of it: a line must not cost a copy of the rest
        self._decoder: codecs.IncrementalDecoder | None = None
        self._ended = False
        self._encoding = encoding
        #: Bytes handed out so far.
        self.taken = 0
        self._start()

    def peek(self) -> bytes:
        """A chunk or whatever is left, without taking it; empty at the end."""
        self._fill(CHUNK_BYTES)
        return self._kept[self._at :]

    def is_last(self) -> bool:
        """Whether nothing follows what `peek` shows."""
        return self._ended

    def skip(self, count: int) -> None:
        """Take so many of the bytes that `peek` showed."""
        self._at += count
        self.taken += count

    def line(self) -> bytes:
        """Take the next line with its end (LF, CR or CRLF); empty at the end of the file."""
        size = 1
        while True:
            end = _line_end(self._kept, self._at)
            # A CR that ends what was read may be the first half of a CRLF.
            if 0 < end < len(self._kept) or self._kept[end - 1 : end] == b"\n" or self._ended:
                line = self._kept[self._at : end or len(self._kept)]
                self.skip(len(line))
                return line
            size += CHUNK_BYTES
            self._fill(size)

    def _start(self) -> None:
        self._fill(len(codecs.BOM_UTF8))
        if self._kept[:2] in _UTF16:
            self._decoder = codecs.getincrementaldecoder("utf-16")("surrogatepass")
        elif self._encoding != "utf-8" and not self._kept.startswith(codecs.BOM_UTF8):
            self._decoder = codecs.getincrementaldecoder(self._encoding)("surrogateescape")
        if self._decoder is not None:
            self._kept = self._decoded(self._kept, final=self._ended)
        self._kept = self._kept.removeprefix(codecs.BOM_UTF8)

    def _fill(self, size: int) -> None:
        """Have so many bytes at hand, or all that are left."""
        if self._ended or len(self._kept) - self._at >= size:
            return
        self._kept, self._at = self._kept[self._at :], 0
        while len(self._kept) < size and not self._ended:
            raw = self._file.read(size - len(self._kept))
            self._ended = not raw
            self._kept += self._decoded(raw, final=self._ended)

    def _decoded(self, raw: bytes, *, final: bool) -> bytes:
        if self._decoder is None:
            return raw
        try:
            return self._decoder.decode(raw, final).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            self._decoder.reset()
            return _INVALID


def _line_end(buffer: bytes, start: int) -> int:
    """Where the first line ends, its end included; 0 if it has none."""
    feed = buffer.find(b"\n", start)
    carriage = buffer.find(b"\r", start, len(buffer) if feed < 0 else feed)
    if carriage < 0:
        return feed + 1
    return carriage + 2 if feed == carriage + 1 else carriage + 1
