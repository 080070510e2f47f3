"""The files of a job that may die at any instant: continued where it was proven right, and whole at the end.

What a job writes waits in a partial file that is named by the job and by the attempt, so that no other job and no
attempt that was given up writes into it. `PartialFile.settle` says how long the file is and what its bytes hash to; a
later attempt copies so much into a partial file of its own, and only if the hash is still that. Plain CSV and JSON
Lines are continued as they are; compressed text and Parquet are put together from what was settled at the end. Where
nobody can resume the job, they are written at once, while workers are busy with the next splits.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa

from microflow.engine.reading import Part
from microflow.errors import CheckpointError
from microflow.settings import Retries
from microflow.sinks.whole_file import FULL, is_device, refused_as, unwritable
from microflow.sinks.writers import RowSink, head_of, private, row_sink, text_of, written_to
from microflow.sources.files import STANDARD, compression_of, is_url

__all__ = ["Output", "PartialFile", "Settled", "sync_folder"]

_PIECE = 1 << 20
#: How long a file was when it was last settled, and the SHA-256 of so much of it.
Settled = tuple[int, str]
_NOTHING: Settled = (0, hashlib.sha256().hexdigest())
Body = bytes | Part


class PartialFile:
    """Bytes on their way to ``path``: `add` collects, `settle` writes and makes durable, `finish` puts them in place.

    Args:
        path: The target.
        job: Names the partial file, with ``attempt``.
        start: What an earlier attempt settled; nothing begins anew.
        durable: Whether `settle` waits for the disk and hashes; without, nobody can continue the file.
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
        start: Settled = _NOTHING,
        durable: bool = True,
        retries: Retries | None = None,
    ) -> None:
        self.path = path
        folder = Path(tempfile.gettempdir()) if is_device(path) else path.parent
        #: Where the bytes wait.
        self.partial = folder / f".{path.name}.{job}.{attempt}.partial"
        self._durable = durable
        self._retries = retries or Retries()
        self._waiting: list[Body] = []
        self._hash = hashlib.sha256()
        self._length = start[0]
        earlier = [found for found in self._earlier(job) if found != self.partial]
        with refused_as(path):
            self.file = private(self.partial)
            if start[0]:
                self._continue(earlier, start)
            for one in earlier:
                one.unlink(missing_ok=True)

    def add(self, body: Body) -> None:
        """Take some bytes, here or in a part file; nothing is written yet."""
        if body:
            self._waiting.append(body)

    def settle(self) -> Settled:
        """Write what was added and see it on the disk; a full disk is tried again from the length settled before.

        Raises:
            MicroflowError: the disk stays full, or refuses otherwise.
        """
        for pause in (*self._retries.pauses, None):
            try:
                checksum = self._write()
            except OSError as error:
                if pause is None or error.errno not in FULL:
                    raise unwritable(self.path, error) from error
                self._retries.sleep(pause)
            else:
                self._hash = checksum
                self._length = self.file.tell()
                for body in self._waiting:
                    if isinstance(body, Part) and body.last:
                        Path(body.path).unlink(missing_ok=True)
                self._waiting.clear()
                return self._length, self._hash.hexdigest()
        raise AssertionError("the last attempt returns or raises")

    def finish(self) -> None:
        """Put the file, which is settled, in its place at once."""
        with refused_as(self.path):
            os.fsync(self.file.fileno())
            self.file.close()
            if is_device(self.path):
                with self.bodies() as file, self.path.open("wb") as device:
                    shutil.copyfileobj(file, device, _PIECE)
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

    def _earlier(self, job: str) -> list[Path]:
        pattern = f"{glob.escape(str(self.partial.with_name(f'.{self.path.name}.{job}')))}.*.partial"
        return [Path(found) for found in glob.glob(pattern)]  # noqa: PTH207 - the folder is part of the pattern

    def _continue(self, earlier: list[Path], start: Settled) -> None:
        """Copy what was settled from the partial file of the attempt before, if it is still what it was."""
        for candidate in earlier:
            checksum = hashlib.sha256()
            self.file.seek(0)
            self.file.truncate()
            with candidate.open("rb") as file:
                for piece in pieces_of(Part(str(candidate), 0, start[0]), file):
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


class Output:
    """The released rows of a job on their way to a file, a folder, an address or standard output.

    Args:
        place: Where to; its suffix decides the format, ``-`` is standard output.
        schema: Of every batch.
        job: The job's name, and ``attempt`` the number of its attempt.
        start: What was settled before.
        durable: Whether the job can be resumed.
        retries: How long to wait for room on a full disk.
    """

    def __init__(
        self,
        place: Path | str,
        schema: pa.Schema,
        job: str,
        attempt: int = 0,
        *,
        start: Settled = _NOTHING,
        durable: bool = False,
        retries: Retries | None = None,
    ) -> None:
        self._place, self._schema = place, schema
        self._text = text_of(place)
        self._converted = self._text == "arrow" or compression_of(place) is not None
        self._head = head_of(self._text, schema)
        #: Where rows wait for an output that is no file on this machine.
        self._waiting: tempfile.TemporaryDirectory[str] | None = None
        if str(place) == STANDARD or is_url(place):
            self._waiting = tempfile.TemporaryDirectory(prefix="microflow-")
            path = Path(self._waiting.name, "output")
        else:
            path = Path(place)
        self._file = PartialFile(path, job, attempt, start=start, durable=durable, retries=retries)
        self._sink: RowSink | None = None
        if self._converted and not durable:
            self._sink = row_sink(self._file.file, place, schema)
            self._sink.write(self._head)
        elif not start[0]:
            self._file.add(self._head)

    def add(self, body: bytes | pa.RecordBatch | Part, split: int = 0) -> None:  # noqa: ARG002 - the contract of an output
        """Take encoded rows.

        Raises:
            MicroflowError: the disk is full, or refuses otherwise.
        """
        if self._sink is None:
            self._file.add(_stream(body) if isinstance(body, pa.RecordBatch) else body)
            return
        with refused_as(self._place):
            for piece in _rows_of(body, self._text):
                self._sink.write(piece)
            if isinstance(body, Part) and body.last:
                Path(body.path).unlink()

    def settle(self) -> Settled:
        """See that all is written."""
        return self._file.settle() if self._sink is None else _NOTHING

    def prepare(self) -> str:
        """Make the whole file, still under its partial name; returns its SHA-256 where that can be asked for again."""
        if self._sink is not None:
            with refused_as(self._place):
                self._sink.finish()
                self._file.file.flush()
            return ""
        _, checksum = self._file.settle()
        if not self._converted:
            return checksum
        self._convert()
        with self._file.bodies() as file:
            return hashlib.file_digest(cast("Any", file), "sha256").hexdigest()

    def finish(self) -> None:
        """Put the whole file, which is prepared, in its place."""
        if self._waiting is None:
            self._file.finish()
            return
        with self._waiting, self._file.bodies() as file:
            if str(self._place) == STANDARD:
                shutil.copyfileobj(file, sys.stdout.buffer, _PIECE)
                sys.stdout.buffer.flush()
            else:
                with written_to(str(self._place)) as target:
                    shutil.copyfileobj(file, target, _PIECE)
        self._file.close(discard=False)

    def close(self, *, discard: bool) -> None:
        """Stop early."""
        if self._sink is not None:
            with suppress(OSError):
                self._sink.finish()  # else it would try when it is forgotten
        self._file.close(discard=discard)
        if self._waiting is not None:
            self._waiting.cleanup()

    def _convert(self) -> None:
        whole = self._file.partial.with_suffix(".whole")
        with refused_as(self._place):
            with private(whole) as file:
                sink = row_sink(file, self._place, self._schema)
                with self._file.bodies() as settled:
                    if self._text == "arrow":
                        for batch in _batches(settled):
                            sink.write(batch)
                    else:
                        while piece := settled.read(_PIECE):
                            sink.write(piece)
                sink.finish()
                file.flush()
                os.fsync(file.fileno())
            self._file.replace(whole)


def pieces_of(body: Body, file: IO[bytes] | None = None) -> Iterator[bytes]:
    """The bytes, a piece in memory at a time."""
    if isinstance(body, bytes):
        yield body
        return
    with file or Path(body.path).open("rb") as part:
        part.seek(body.start)
        left = body.stop - body.start
        while left and (piece := part.read(min(left, _PIECE))):
            left -= len(piece)
            yield piece


def _copy(part: Part, file: IO[bytes]) -> None:
    """Append a stretch of a part file without taking it through this process where the system can."""
    with Path(part.path).open("rb") as source:
        at, left, target = part.start, part.stop - part.start, file.tell()
        while left and (done := os.sendfile(file.fileno(), source.fileno(), at, left)):
            at, left, target = at + done, left - done, target + done
    file.seek(target)


def _stream(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def _rows_of(body: bytes | pa.RecordBatch | Part, text: str) -> Iterator[bytes | pa.RecordBatch]:
    """What a sink takes; of a part file, mapped where it holds batches."""
    if isinstance(body, pa.RecordBatch):
        yield body
    elif isinstance(body, bytes) or text != "arrow":
        yield from pieces_of(body)
    elif body.start < body.stop:
        with pa.memory_map(body.path) as file:
            file.seek(body.start)
            yield from pa.ipc.open_stream(file)


def _batches(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    """Batches of Arrow streams, one after the other."""
    size = os.fstat(file.fileno()).st_size
    with pa.PythonFile(file, "r") as source:
        while source.tell() < size:
            yield from pa.ipc.open_stream(source)


def sync_folder(folder: Path) -> None:
    """See that a name in a folder is on the disk; some file systems cannot."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
