"""The output of a job that may die at any instant: continued at a length that was reached before, and whole at the end.

Plain CSV and JSON Lines are continued in place. Compressed text and Parquet cannot be: their rows are laid aside in
Arrow streams, one per commit, and written in one go when all are there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from microflow.errors import CheckpointError, MicroflowError
from microflow.ingest import Writer, format_of, open_writer, partial_path
from microflow.store.retry import Retries

__all__ = ["Output"]

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Output:
    """Rows on their way to ``path``: `add` collects, `settle` makes durable, `finish` puts the whole file in place.

    Args:
        path: The target; its suffix decides the format.
        schema: Of every batch.
        start: The length to continue at; 0 begins anew.
        retries: How long to wait for room on a full disk.

    Raises:
        CheckpointError: what had been written of the job is gone.
    """

    def __init__(self, path: Path, schema: pa.Schema, *, start: int = 0, retries: Retries | None = None) -> None:
        self._path = path
        self._schema = schema
        self._staged = _needs_stage(path)
        self._partial = _partial(path)
        self._retries = retries or Retries()
        self._waiting: list[pa.RecordBatch] = []
        if start and (not self._partial.exists() or self._partial.stat().st_size < start):
            raise CheckpointError(f"{self._partial} is gone or shorter than committed", hint="run the job again")
        self._length = start
        self._file: Writer | _Stage | None = self._open()

    def add(self, rows: pa.RecordBatch) -> None:
        """Take one batch; nothing is written yet."""
        if rows.num_rows:
            self._waiting.append(rows)

    def settle(self) -> int:
        """Write what was added, see it on the disk, and return the length of the file.

        A full disk is tried again after a while, from the length settled before.

        Raises:
            MicroflowError: the disk stays full, or refuses otherwise.
        """
        for pause in (*self._retries.pauses, None):
            try:
                self._length = self._write()
            except OSError as error:
                if pause is None or error.errno not in _FULL:
                    raise _unwritable(self._path, error) from error
                self._retries.sleep(pause)
            else:
                self._waiting.clear()
                return self._length
        raise AssertionError("the last attempt returns or raises")

    def finish(self) -> None:
        """Settle, and put the whole file in its place at once."""
        self.settle()
        assert self._file is not None
        try:
            self._file.__exit__(None, None, None)
            if self._staged:
                self._convert()
        except OSError as error:
            raise _unwritable(self._path, error) from error
        self._file = None

    def close(self, *, discard: bool) -> None:
        """Stop early. What was settled stays for the job to resume from, unless it is to be discarded."""
        self._drop()
        if discard:
            self._partial.unlink(missing_ok=True)

    @staticmethod
    def is_in_place(path: Path) -> bool:
        """Whether a job that had committed every row got as far as `finish`."""
        return path.exists() and not _partial(path).exists()

    def _open(self) -> Writer | _Stage:
        if self._staged:
            return _Stage(self._partial, self._schema, self._length)
        return open_writer(self._path, self._schema, resume_at=self._length or None)

    def _write(self) -> int:
        self._file = file = self._file or self._open()
        try:
            for rows in self._waiting:
                file.write(rows)
            return file.position()
        except OSError:
            self._drop()
            raise

    def _drop(self) -> None:
        """Close a file that may refuse even that."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.__exit__(OSError, None, None)

    def _convert(self) -> None:
        with open_writer(self._path, self._schema) as whole:
            for rows in _read_stage(self._partial):
                whole.write(rows)
        self._partial.unlink()


class _Stage:
    """A file of Arrow streams, one after the other, which can be cut off after any of them."""

    def __init__(self, path: Path, schema: pa.Schema, start: int) -> None:
        self._schema = schema
        try:
            self._file = path.open("r+b" if start else "wb")
        except OSError as error:
            raise _unwritable(path, error) from error
        self._file.truncate(start)
        self._file.seek(start)
        self._stream: pa.RecordBatchStreamWriter | None = None

    def write(self, rows: pa.RecordBatch) -> None:
        self._stream = self._stream or pa.ipc.new_stream(self._file, self._schema)
        self._stream.write_batch(rows)

    def position(self) -> int:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def _read_stage(path: Path) -> Iterator[pa.RecordBatch]:
    with pa.OSFile(str(path)) as file:
        while file.tell() < file.size():
            yield from pa.ipc.open_stream(file)


def _needs_stage(path: Path) -> bool:
    return format_of(path) == "parquet" or path.suffix == ".gz"


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.staged") if _needs_stage(path) else partial_path(path)


def _unwritable(path: Path, error: OSError) -> MicroflowError:
    hint = "make room, then resume the job" if error.errno in _FULL else ""
    return MicroflowError(f"{path} cannot be written: {error.strerror or type(error).__name__}", hint=hint)
