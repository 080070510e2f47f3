"""From released batches to a file that appears whole or not at all.

Rows go to ``.<name>.partial`` beside the target; leaving the block flushes it to the disk and renames it. A text
format's partial file can be continued at a position that was reached before (`Writer.position`), which is how a job
resumes. Text that a spreadsheet would take for a formula is made harmless (`microflow.ingest.formulas`).
"""

from __future__ import annotations

import gzip
import os
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol, Self, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from microflow.errors import InputError
from microflow.ingest.formulas import harmless, harmless_column
from microflow.ingest.reader import format_of

__all__ = ["Writer", "open_writer", "partial_path"]

#: Rows of a Parquet file that share one entry in its footer.
_GROUP_ROWS = 50_000


class _Format(Protocol):
    def write(self, rows: pa.RecordBatch) -> None: ...

    def finish(self) -> None: ...


def open_writer(path: Path, schema: pa.Schema, *, resume_at: int | None = None, escape_formulas: bool = True) -> Writer:
    """A writer for the format that ``path`` ends with: CSV or JSON Lines (both also ``.gz``), or Parquet.

    ``resume_at`` continues the partial file at that many bytes, cutting off what was written after.
    ``escape_formulas=False`` writes text of our own making to CSV as it is.

    Raises:
        InputError: unknown suffix, a folder that cannot be written to, or a format that cannot be continued.
    """
    return Writer(Path(path), schema, resume_at, escape_formulas=escape_formulas)


def partial_path(path: Path) -> Path:
    """Where rows wait until the file is whole."""
    return path.with_name(f".{path.name}.partial")


class Writer:
    """Writes batches of one Arrow schema; use as a context manager."""

    def __init__(
        self, path: Path, schema: pa.Schema, resume_at: int | None = None, *, escape_formulas: bool = True
    ) -> None:
        self.path = path
        self._escape_formulas = escape_formulas
        self._kind = format_of(path)
        if resume_at is not None and (self._kind == "parquet" or path.suffix == ".gz"):
            raise InputError("only plain CSV and JSON Lines can be continued", path=path, hint="run the job again")
        try:
            self._file = partial_path(path).open("r+b" if resume_at else "wb")
        except OSError as error:
            raise InputError(f"cannot be written: {error.strerror}", path=path) from error
        if resume_at:
            self._file.truncate(resume_at)
            self._file.seek(resume_at)
        self._format = self._open(schema, fresh=not resume_at)

    def write(self, rows: pa.RecordBatch) -> None:
        """Append one batch."""
        if rows.num_rows:
            self._format.write(rows)

    def position(self) -> int:
        """Bytes that are safely on the disk: what a checkpoint may remember."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def _open(self, schema: pa.Schema, *, fresh: bool) -> _Format:
        if self._kind == "parquet":
            return _Parquet(self._file, schema)
        sink: IO[bytes] = self._file
        if self.path.suffix == ".gz":
            # No time stamp and no name inside: the same rows give the same bytes.
            sink = cast("IO[bytes]", gzip.GzipFile("", "wb", 6, self._file, mtime=0))
        if self._kind == "jsonl":
            return _JsonLines(sink, self._file)
        return _Csv(sink, schema, self._file, header=fresh, escape=self._escape_formulas)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            with suppress(OSError):  # the first error is the one to tell
                self._format.finish()
            self._file.close()  # the partial file stays: a job may resume from it
            return
        self._format.finish()
        self.position()
        self._file.close()
        partial_path(self.path).replace(self.path)


class _Csv:
    def __init__(self, sink: IO[bytes], schema: pa.Schema, file: IO[bytes], *, header: bool, escape: bool) -> None:
        self._sink, self._file, self._escape = sink, file, escape
        if header:
            sink.write(",".join(_quoted(harmless(name)) for name in schema.names).encode() + b"\n")

    def write(self, rows: pa.RecordBatch) -> None:
        if self._escape:
            columns = [harmless_column(column) for column in rows.columns]
            rows = pa.RecordBatch.from_arrays(columns, names=rows.schema.names)
        pl.DataFrame(rows).write_csv(self._sink, include_header=False)

    def finish(self) -> None:
        if self._sink is not self._file:
            self._sink.close()


class _JsonLines:
    def __init__(self, sink: IO[bytes], file: IO[bytes]) -> None:
        self._sink, self._file = sink, file

    def write(self, rows: pa.RecordBatch) -> None:
        pl.DataFrame(rows).write_ndjson(self._sink)

    def finish(self) -> None:
        if self._sink is not self._file:
            self._sink.close()


class _Parquet:
    """Microflows are gathered into row groups: what a file knows of each stays in memory until it is closed."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, rows: pa.RecordBatch) -> None:
        self._waiting.append(rows)
        self._rows += rows.num_rows
        if self._rows >= _GROUP_ROWS:
            self._flush()

    def finish(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=self._rows)
            self._waiting, self._rows = [], 0


def _quoted(name: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"' if any(char in name for char in ',"\r\n') else name
