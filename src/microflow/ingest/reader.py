"""From a file to microflows: any of three formats, one way of refusing rows."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import InputError
from microflow.ingest.block import Block
from microflow.ingest.delimited import read_delimited
from microflow.ingest.identity import SeenIds
from microflow.ingest.json_lines import read_json_lines
from microflow.ingest.parquet import read_parquet
from microflow.ingest.quarantine import Quarantine
from microflow.ingest.typed import typed_column
from microflow.microflows import Microflow, microflows
from microflow.schema import DatasetSchema
from microflow.settings import MICROFLOW_ROWS

__all__ = ["FORMATS", "format_of", "read_microflows"]

#: Suffix to format.
FORMATS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".data": "csv",
    ".parquet": "parquet", ".pq": "parquet",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
}  # fmt: skip


def format_of(path: Path) -> str:
    """``csv``, ``parquet`` or ``jsonl``, by the suffix before any ``.gz``.

    Raises:
        InputError: the suffix is none we know.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix not in FORMATS or (suffix in {".parquet", ".pq"} and path.suffix == ".gz"):
        raise InputError(
            "no format is known by this suffix", path=path, hint=f"known are: {', '.join(FORMATS)}, and .gz"
        )
    return FORMATS[suffix]


def read_microflows(
    path: Path, schema: DatasetSchema, *, quarantine: Quarantine, size: int = MICROFLOW_ROWS
) -> Iterator[Microflow]:
    """Stream a CSV, Parquet or JSON Lines file as microflows of ``size`` rows, in file order and bounded memory.

    Every row is either in a microflow or in the quarantine: ragged rows, values that are not of their column's type,
    missing required values, and record ids that were seen before (the first one counts).

    Raises:
        InputError: the file cannot be read at all, or is not the one described; names file, line and column.
    """
    path = Path(path)
    kind = format_of(path)
    if path.is_dir():
        raise InputError("this is a directory", path=path, hint="give a file")
    return microflows(_accepted(_blocks(path, kind, schema, quarantine), schema, quarantine), size)


def _blocks(path: Path, kind: str, schema: DatasetSchema, quarantine: Quarantine) -> Iterator[Block]:
    try:
        if kind == "parquet":
            yield from read_parquet(path, schema)
            return
        with _opened(path) as file:
            if kind == "csv":
                yield from read_delimited(file, str(path), schema, quarantine)
            else:
                yield from read_json_lines(file, str(path), schema, quarantine)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError("the compressed file is broken or cut short", path=path) from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or 'unknown reason'}", path=path) from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        is_gzip = file.peek(2)[:2] == b"\x1f\x8b" if path.suffix == ".gz" else False
        if path.suffix == ".gz" and not is_gzip:
            raise gzip.BadGzipFile
        yield cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if is_gzip else file


def _accepted(blocks: Iterator[Block], schema: DatasetSchema, quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    seen = SeenIds()
    for block in blocks:
        batch, lines = _typed(block, schema, quarantine)
        yield batch if schema.record_id is None else _without_doubles(batch, lines, schema.record_id, seen, quarantine)


def _typed(block: Block, schema: DatasetSchema, quarantine: Quarantine) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
    """The rows whose values all fit their columns, and their lines; others are quarantined for their first fault."""
    usable = np.ones(len(block.lines), np.bool_)
    arrays = []
    for column in schema.columns:
        array = block.columns[column.name]
        if array.type == pa.string():
            array, failures = typed_column(array, column)
        else:
            failures = [(i, "a required value is missing") for i in _nulls(array)] if column.required else []
        for position, reason in failures:
            if usable[position]:
                usable[position] = False
                raw = _raw(block.columns.values(), position) if quarantine.keep_raw else ""
                quarantine.add(int(block.lines[position]), column.name, reason, raw)
        arrays.append(array)
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)
    return (batch, block.lines) if usable.all() else (batch.filter(pa.array(usable)), block.lines[usable])


def _without_doubles(
    batch: pa.RecordBatch, lines: npt.NDArray[np.int64], record_id: str, seen: SeenIds, quarantine: Quarantine
) -> pa.RecordBatch:
    doubles = seen.repeated(batch.column(record_id))
    if not len(doubles):
        return batch
    for position in doubles.tolist():
        raw = _raw(batch.columns, position) if quarantine.keep_raw else ""
        quarantine.add(int(lines[position]), record_id, "this record id was seen before", raw)
    first = np.ones(batch.num_rows, np.bool_)
    first[doubles] = False
    return batch.filter(pa.array(first))


def _nulls(array: pa.Array) -> list[int]:
    found: list[int] = np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False)).tolist()
    return found


def _raw(columns: Iterable[pa.Array], position: int) -> str:
    """The row's values as they were read, which is as near to its text as a typed format comes."""
    values = (column[position].as_py() for column in columns)
    return ",".join("" if value is None else str(value) for value in values)
