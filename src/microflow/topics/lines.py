"""JSON Lines as a source and a sink: standard input and output, and a file that a restart continues exactly.

Beside a file ``NAME`` stands ``.NAME.stream``: how long the file was at the last commit, and how far the source was
done then. Both are written in this order, the file first, so that after a crash what was not committed is cut off.
"""

from __future__ import annotations

import codecs
import fcntl
import json
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from microflow.errors import CheckpointError, InputError, JobConflictError
from microflow.sinks.whole_file import refused_as, write_whole
from microflow.topics import Position, Received, Result, letter

__all__ = ["LONGEST", "FileSink", "LetterFile", "LetterLines", "LineSource", "OutputSink"]

#: Bytes of a message; a longer line is no record, and is a dead letter.
LONGEST = 1 << 20
_CHUNK = 1 << 16
#: Chunks that may wait: the bound of memory, whatever the producer does.
_CHUNKS = 64


class LineSource:
    """Lines of a file or a pipe, as one partition; a thread reads ahead, and no further than memory is bounded.

    Args:
        file: What is read, from where it stands.
        first: The number of its first line: where an earlier run stopped.
    """

    def __init__(self, file: IO[bytes], first: int = 0) -> None:
        self.ended, self.replays, self.rewinds = False, False, 0
        self._is_read = False
        self._next = first
        self._chunks: queue.Queue[list[bytes] | None] = queue.Queue(_CHUNKS)
        self._lines: list[bytes] = []
        self._file = file
        threading.Thread(target=self._read, name="lines", daemon=True).start()

    def poll(self, most: int, timeout_s: float) -> list[Received]:
        """Up to ``most`` lines, as soon as there is one; blank ones have a number and are left out."""
        try:
            while not self._is_read and len(self._lines) < most:
                chunk = self._chunks.get(timeout=0 if self._lines else timeout_s)
                self._is_read = chunk is None
                self._lines += chunk or ()
        except queue.Empty:
            pass
        lines, self._lines = self._lines[:most], self._lines[most:]
        self.ended = self._is_read and not self._lines
        if lines and not self._next:
            lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
        first, self._next = self._next, self._next + len(lines)
        return [Received(0, number, None, line) for number, line in enumerate(lines, first) if line.strip()]

    def ahead(self, partition: int) -> frozenset[int]:  # noqa: ARG002 - one partition, never read again
        """Offsets committed ahead of their turn: always empty, because lines cannot be read again."""
        return frozenset()

    def rewind(self) -> None:
        """Refuse: what was read from a pipe cannot be read again.

        Raises:
            CheckpointError: always.
        """
        raise CheckpointError("lines that were read could not be committed", hint="another process uses this group")

    def lag(self) -> int:
        """Lines that were read and wait."""
        return len(self._lines)

    def _read(self) -> None:
        rest, is_long = b"", False
        read = getattr(self._file, "read1", self._file.read)
        while chunk := read(_CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            if lines and is_long:
                lines, is_long = lines[1:], False
            if len(rest) > LONGEST:
                # The rest of it is thrown away up to its end; its beginning says that it is too long.
                if not is_long:
                    lines.append(rest[: LONGEST + 1])
                rest, is_long = b"", True
            if lines:
                self._chunks.put(lines)
        if rest and not is_long:
            self._chunks.put([rest])
        self._chunks.put(None)


class OutputSink:
    """Sink on standard output: each batch is flushed before its positions are kept, so at least once."""

    def __init__(self, out: IO[bytes], acknowledge: Callable[[Mapping[int, Position]], object] | None = None) -> None:
        self._out = out
        self._acknowledge = acknowledge

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        """Write, flush, and let the source keep its positions."""
        self._out.writelines(result.text + b"\n" for result in results if result.text is not None)
        self._out.flush()
        if self._acknowledge is not None:
            self._acknowledge(positions)
        return True


class FileSink:
    """A file of JSON Lines, and one for dead letters; each commit is on the disk, and a restart continues exactly.

    One process writes it: it must read all partitions of its source.

    Args:
        path: The file; a new one, or one that an earlier run wrote from the same source.
        source: What is read, by its address.
        dead: The file for dead letters; ``None`` where they go elsewhere.

    Raises:
        InputError: it is no file of an earlier run.
        MicroflowError: it cannot be written.
        CheckpointError: an earlier run read another source, or the file is shorter than at its last commit.
        JobConflictError: another process writes it.
    """

    def __init__(self, path: Path, source: str, dead: Path | None = None) -> None:
        self._path, self._source = path, source
        self._journal = path.with_name(f".{path.name}.stream")
        self._positions: dict[int, Position] = {}
        self._file = _opened(path, 0o666)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise JobConflictError(f"another process writes {path}") from None
        self._letters = None if dead is None else _opened(dead, 0o600)
        paths = [path] if dead is None else [path, dead]
        lengths = self._recall() if self._journal.exists() else None
        for written, file, length in zip(paths, self._files, lengths or (0, 0), strict=False):
            size = os.fstat(file.fileno()).st_size
            if size and lengths is None:
                raise InputError("exists, and no earlier stream wrote it", path=written, hint="choose another name")
            if size < length:
                raise CheckpointError(f"{written} is shorter than when the stream stopped")
            file.truncate(length)
            file.seek(length)
        if lengths is None:
            self._remember()

    def kept(self, _partitions: Sequence[int]) -> Mapping[int, Position]:
        """Stored positions from which the source continues."""
        return self._positions

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        """Append and sync, then write and sync the journal.

        Raises:
            MicroflowError: the disk is full; what was committed before stays.
        """
        self._positions = {**self._positions, **positions}
        with refused_as(self._path):
            self._file.writelines(result.text + b"\n" for result in results if result.text is not None)
            if self._letters is not None:
                self._letters.writelines(letter(result) + b"\n" for result in results if result.reason is not None)
            for file in self._files:
                _synced(file)
            self._remember()
        return True

    def close(self) -> None:
        """Close both; what is not committed is cut off by the next run."""
        for file in self._files:
            file.close()

    @property
    def _files(self) -> list[IO[bytes]]:
        return [self._file] if self._letters is None else [self._file, self._letters]

    def _recall(self) -> list[int]:
        try:
            found = json.loads(self._journal.read_bytes())
            positions = {int(name): Position(at, frozenset(ahead)) for name, (at, ahead) in found["positions"].items()}
            source, lengths = found["source"], [int(length) for length in found["lengths"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self._journal} cannot be read") from error
        if source != self._source:
            raise CheckpointError(f"{self._path} was written from another source", hint="choose another name")
        self._positions = positions
        return lengths

    def _remember(self) -> None:
        document = {
            "source": self._source,
            "lengths": [file.tell() for file in self._files],
            "positions": {str(partition): [at.offset, sorted(at.ahead)] for partition, at in self._positions.items()},
        }
        write_whole(self._journal, json.dumps(document))


class LetterFile:
    """A file of dead letters that only its owner may read; each is on the disk before its message is committed.

    After a crash in between, a letter may stand there twice.

    Raises:
        MicroflowError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _opened(path, 0o600)
        self._file.seek(0, os.SEEK_END)

    def add(self, results: Sequence[Result]) -> None:
        """Append and sync."""
        if results:
            with refused_as(self._path):
                self._file.writelines(letter(result) + b"\n" for result in results)
                _synced(self._file)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LetterLines:
    """Dead letters as lines for a reader, on standard error."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out

    def add(self, results: Sequence[Result]) -> None:
        """Write a line per dead letter; lines are counted from 1."""
        for result in results:
            self._out.write(f"partition {result.partition}, message {result.offset + 1}: {result.reason}\n")


def _opened(path: Path, mode: int) -> IO[bytes]:
    with refused_as(path):
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode), "r+b")


def _synced(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
