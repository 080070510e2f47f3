"""Encoders and writers of released batches and refused rows, to files that appear complete or not at all.

Text that a spreadsheet would take for a formula is made harmless in CSV (`microflow.sources.delimited`).
"""

from __future__ import annotations

import csv
import gzip
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO, Any, Protocol, Self, cast

import polars as pl
import pyarrow as pa

from microflow.schema import SourceFormat
from microflow.sinks.whole_file import WholeFile, refused_as, unwritable
from microflow.sources.columns import Refusal
from microflow.sources.delimited import harmless, harmless_column
from microflow.sources.files import compression_of, format_of, remote

__all__ = [
    "Encoder", "RowSink", "Writer", "encoder", "head_of", "open_writer", "private", "quarantine_head",
    "quarantine_text", "remove", "row_sink", "text_of", "written_to",
]  # fmt: skip

#: Rows of a Parquet file that share one entry in its footer.
GROUP_ROWS = 50_000
_DELIMITERS = {"csv": ",", "tsv": "\t"}
#: Released rows as they lie in the output; a batch stays one where the output is no text.
Encoder = Callable[[pa.RecordBatch], "bytes | pa.RecordBatch"]


def text_of(place: Path | str) -> str:
    """Encoding of an output's rows in parts: ``csv``, ``tsv`` or ``jsonl``; ``arrow`` for other formats."""
    kind = format_of(place)
    if kind == "csv" and SourceFormat().of(place).delimiter == "\t":
        return "tsv"
    return "arrow" if kind == "parquet" else kind


def encoder(text: str) -> Encoder:
    """Encoder of rows to a text of `text_of`; ``arrow`` leaves them as they are."""
    if text in _DELIMITERS:
        return partial(_delimited, delimiter=_DELIMITERS[text])
    return _json_lines if text == "jsonl" else lambda rows: rows


def _delimited(rows: pa.RecordBatch, *, delimiter: str, escape: bool = True) -> bytes:
    """Rows as lines of delimited text without a header; ``escape=False`` for text of our own making."""
    if escape:
        columns = [harmless_column(column) for column in rows.columns]
        rows = pa.RecordBatch.from_arrays(columns, names=rows.schema.names)
    sink = io.BytesIO()
    # Of one column a missing value would be a blank line, which is no row.
    nothing = '""' if rows.num_columns == 1 else None
    pl.DataFrame(rows).write_csv(sink, include_header=False, separator=delimiter, null_value=nothing)
    return sink.getvalue()


def _json_lines(rows: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    pl.DataFrame(rows).write_ndjson(sink)
    return sink.getvalue()


def head_of(text: str, schema: pa.Schema) -> bytes:
    """Header of an encoded file; empty for a format without one."""
    if text not in _DELIMITERS:
        return b""
    delimiter = _DELIMITERS[text]
    line = delimiter.join(_quoted(harmless(name), delimiter) for name in schema.names)
    return ((line or '""') + "\n").encode()


def _quoted(name: str, delimiter: str) -> str:
    doubled = name.replace('"', '""')
    return f'"{doubled}"' if any(char in name for char in f'{delimiter}"\r\n') else name


def quarantine_head(*, keep_raw: bool, several: bool = False) -> bytes:
    """The header line of refused rows; ``several``: they come from more than one file, which is named first."""
    names = (*(["file"] if several else []), "line", "column", "reason", *(["raw"] if keep_raw else []))
    return ",".join(names).encode() + b"\r\n"


def quarantine_text(refused: Iterable[Refusal], *, keep_raw: bool, file: str | None = None) -> bytes:
    """Refused rows as lines of CSV; ``file`` stands first where it is given.

    No foreign text may act as a formula when the quarantine is opened in a spreadsheet.
    """
    text = io.StringIO(newline="")
    write = csv.writer(text).writerow
    for line, column, reason, raw in refused:
        named = [] if file is None else [harmless(file)]
        write([*named, line, harmless(column), reason, *([harmless(raw)] if keep_raw else [])])
    # Raw text may hold bytes that are no text: they are shown, not refused a second time.
    return text.getvalue().encode("utf-8", "backslashreplace")


def private(path: Path | str) -> IO[bytes]:
    """A new file that no other user may read, whatever the umask: it may hold personal values."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w+b")


@contextmanager
def written_to(url: str) -> Iterator[IO[bytes]]:
    """A file at an address; object stores show it once it is closed.

    Raises:
        MicroflowError: nothing here can open such addresses, or the store refuses.
    """
    system, path = remote(url)
    try:
        with system.open(path, "wb") as file:
            yield file
    except OSError as error:
        raise unwritable(url, error) from error


def remove(url: str, beginning: str) -> None:
    """Remove the files of a folder at an address whose names begin so."""
    system, path = remote(url)
    if system.isdir(path):
        for found in system.ls(path, detail=False):
            if Path(found).name.startswith(beginning):
                system.rm_file(found)


class RowSink(Protocol):
    """Sink that appends encoded rows to a file of one format."""

    def write(self, body: bytes | pa.RecordBatch) -> None: ...

    def finish(self) -> None: ...


def row_sink(file: IO[bytes], place: Path | str, schema: pa.Schema) -> RowSink:
    """The sink for the format that ``place`` ends with, on an open file."""
    if format_of(place) == "parquet":
        return _Parquet(file, schema)
    return _Text(file, compression_of(place))


class _Text:
    def __init__(self, file: IO[bytes], packed: str | None) -> None:
        self._file = self._sink = file
        if packed == "gzip":
            # No time stamp and no name inside: the same rows give the same bytes.
            self._sink = cast("IO[bytes]", gzip.GzipFile("", "wb", 6, file, mtime=0))
        elif packed == "zstd":
            self._sink = cast("IO[bytes]", pa.CompressedOutputStream(pa.PythonFile(_Open(file), "w"), "zstd"))

    def write(self, body: bytes | pa.RecordBatch) -> None:
        self._sink.write(cast("bytes", body))

    def finish(self) -> None:
        if self._sink is not self._file:
            self._sink.close()


class _Open(io.RawIOBase):
    """A file that stays open when Arrow closes what it wraps."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        return self._file.write(memoryview(piece))


class _Parquet:
    """Batches are gathered into row groups of `GROUP_ROWS`, however they were cut: the same rows, the same bytes."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        import pyarrow.parquet as pq  # heavy, and most files are text

        self._writer = pq.ParquetWriter(file, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, body: bytes | pa.RecordBatch) -> None:
        if isinstance(body, bytes):
            return  # no rows, and no header in this format
        self._waiting.append(body)
        self._rows += body.num_rows
        while self._rows >= GROUP_ROWS:
            self._group(GROUP_ROWS)

    def finish(self) -> None:
        if self._rows:
            self._group(self._rows)
        self._writer.close()

    def _group(self, rows: int) -> None:
        table = pa.Table.from_batches(self._waiting)
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=rows)
        self._waiting = table.slice(rows).to_batches()
        self._rows -= rows


def open_writer(path: Path, schema: pa.Schema, *, escape_formulas: bool = True) -> Writer:
    """A writer for the format that ``path`` ends with: CSV or JSON Lines (also ``.gz``, ``.zst``), or Parquet.

    ``escape_formulas=False`` writes text of our own making to CSV as it is.

    Raises:
        InputError: unknown suffix.
        MicroflowError: the system refuses; says why.
    """
    return Writer(Path(path), schema, escape_formulas=escape_formulas)


class Writer:
    """Writer of batches of one Arrow schema to a file that appears when the ``with`` block ends."""

    def __init__(self, path: Path, schema: pa.Schema, *, escape_formulas: bool = True) -> None:
        self.path = path
        text = text_of(path)
        self._encode: Encoder = encoder(text)
        if text in _DELIMITERS and not escape_formulas:
            self._encode = partial(_delimited, delimiter=_DELIMITERS[text], escape=False)
        self._whole = WholeFile(path, private=True)
        self._sink = row_sink(self._whole.file, path, schema)
        self._sink.write(head_of(text, schema))

    def write(self, rows: pa.RecordBatch) -> None:
        """Append one batch."""
        if rows.num_rows:
            body = self._encode(rows)
            with refused_as(self.path):
                self._sink.write(body)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with refused_as(self.path), self._whole if kind is None else suppress(OSError):
            self._sink.finish()  # the first error is the one to tell
        if kind is not None:
            self._whole.discard()
