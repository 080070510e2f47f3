"""Partial file of a job that may die at any time: continued from its settled length, and complete at the end.

It waits under a name of the job and the attempt, so that no other job and no abandoned attempt writes into it.
`PartialFile.settle` says how long it is and what its bytes hash to; a later attempt copies so much into a partial file
of its own, and only if the hash is still that.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from microflow.engine.reading import Part, Text
from microflow.errors import CheckpointError
from microflow.settings import Retries
from microflow.sinks.whole_file import FULL, is_device, refused_as
from microflow.sinks.writers import private

__all__ = ["NOTHING", "PIECE", "PartialFile", "Settled", "partials", "pieces_of", "sha256_of", "sync_folder"]

#: Bytes that are in memory at a time.
PIECE = 1 << 20
#: How long a file was when it was last settled, and the SHA-256 of so much of it.
Settled = tuple[int, str]
NOTHING: Settled = (0, hashlib.sha256().hexdigest())


class PartialFile:
    """Partial file of ``path``: `add` collects, `settle` writes and makes durable, `finish` puts it in place.

    Args:
        path: The target.
        job: Names the partial file, with ``attempt``.
        start: The end of what an earlier attempt settled; without one the file starts empty.
        durable: Whether `settle` waits for the disk and hashes; without it the file cannot be continued.
        retries: How long to wait for room on a full disk.

    Raises:
        CheckpointError: what was settled is gone or was changed.
        MicroflowError: the folder cannot be written to.
    """

    def __init__(
        self,
        path: Path,
        job: str,
        attempt: int,
        *,
        start: Settled = NOTHING,
        durable: bool = True,
        retries: Retries | None = None,
    ) -> None:
        self.path = path
        folder = Path(tempfile.gettempdir()) if is_device(path) else path.parent
        #: Where the bytes wait.
        self.partial = folder / f".{path.name}.{job}.{attempt}.partial"
        self._durable = durable
        self._retries = retries or Retries()
        self._waiting: list[Text] = []
        self._hash = hashlib.sha256()
        self._length = start[0]
        earlier = [found for found in partials(path, job) if found != self.partial]
        with refused_as(path):
            self.file = private(self.partial)
            if start[0]:
                self._continue(earlier, start)
            for leftover in earlier:
                leftover.unlink(missing_ok=True)

    def add(self, body: Text) -> None:
        """Take some bytes, here or in a part file; nothing is written yet."""
        if body:
            self._waiting.append(body)

    def settle(self) -> Settled:
        """Write what was added and see it on the disk; a full disk is tried again from the length settled before.

        Raises:
            MicroflowError: the disk stays full, or refuses otherwise.
        """
        with refused_as(self.path):
            self._hash = self._retries.persist(self._write, OSError, lambda error: error.errno in FULL)
        self._length = self.file.tell()
        for body in self._waiting:
            if isinstance(body, Part) and body.last:
                Path(body.path).unlink(missing_ok=True)
        self._waiting.clear()
        return self._length, self._hash.hexdigest()

    def finish(self) -> None:
        """Put the file, which is settled, in its place at once."""
        with refused_as(self.path):
            os.fsync(self.file.fileno())
            self.file.close()
            if is_device(self.path):
                with self.bodies() as file, self.path.open("wb") as device:
                    shutil.copyfileobj(file, device, PIECE)
                self.partial.unlink()
            else:
                self.partial.replace(self.path)
            sync_folder(self.path.parent)

    def close(self, *, discard: bool) -> None:
        """Stop early. What was settled stays for the job to resume from, unless it is to be discarded."""
        with suppress(OSError):  # a full disk may refuse even that
            self.file.close()
        if discard:
            self.partial.unlink(missing_ok=True)

    def replace(self, whole: Path) -> None:
        """Take another file instead, which is whole and on the disk."""
        self.file.close()
        whole.replace(self.partial)
        self.file = self.partial.open("r+b")

    def bodies(self) -> IO[bytes]:
        """All that was settled, to be read from its start."""
        return self.partial.open("rb")

    def _write(self) -> Any:
        self.file.seek(self._length)
        self.file.truncate()
        checksum = self._hash.copy()
        for body in self._waiting:
            if isinstance(body, Part) and not self._durable:
                self.file.flush()
                _copy(body, self.file)
                continue
            for piece in pieces_of(body):
                self.file.write(piece)
                if self._durable:
                    checksum.update(piece)
        self.file.flush()
        if self._durable:
            os.fsync(self.file.fileno())
        return checksum

    def _continue(self, earlier: list[Path], start: Settled) -> None:
        """Copy what was settled from the partial file of the attempt before, if it is still what it was."""
        # Killed between two renames, a job finds one of its files in its place already.
        for candidate in (*earlier, *([self.path] if self.path.is_file() else [])):
            checksum = hashlib.sha256()
            self.file.seek(0)
            self.file.truncate()
            for piece in pieces_of(Part(str(candidate), 0, start[0])):
                checksum.update(piece)
                self.file.write(piece)
            if self.file.tell() == start[0] and checksum.hexdigest() == start[1]:
                self._hash = checksum
                self.file.flush()
                os.fsync(self.file.fileno())
                return
        self.close(discard=True)
        what = "was changed since it was committed" if earlier else "is gone"
        raise CheckpointError(f"what the job had written of {self.path} {what}", hint="run the job again")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pieces_of(body: Text) -> Iterator[bytes]:
    """The bytes, a piece in memory at a time."""
    if isinstance(body, bytes):
        yield body
        return
    with Path(body.path).open("rb") as part:
        part.seek(body.start)
        left = body.stop - body.start
        while left and (piece := part.read(min(left, PIECE))):
            left -= len(piece)
            yield piece


def _copy(part: Part, file: IO[bytes]) -> None:
    """Append a stretch of a part file without taking it through this process where the system can."""
    with Path(part.path).open("rb") as source:
        at, left, target = part.start, part.stop - part.start, file.tell()
        while left and (done := os.sendfile(file.fileno(), source.fileno(), at, left)):
            at, left, target = at + done, left - done, target + done
    file.seek(target)


def partials(path: Path, job: str) -> list[Path]:
    """Partial files that attempts of a job left."""
    folder = Path(tempfile.gettempdir()) if is_device(path) else path.parent
    pattern = f"{glob.escape(str(folder / f'.{path.name}.{job}'))}.*.partial"
    return [Path(found) for found in glob.glob(pattern)]  # noqa: PTH207 - the folder is part of the pattern


def sync_folder(folder: Path) -> None:
    """See that a name in a folder is on the disk; some file systems cannot."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
