"""From splits to typed batches: any of three formats, one way of refusing rows."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import InputError
from microflow.microflows import Microflow, microflows
from microflow.schema import DatasetSchema
from microflow.settings import MICROFLOW_ROWS
from microflow.sources.block import Block, Refusal, Refusals
from microflow.sources.delimited import read_delimited
from microflow.sources.identity import SeenIds
from microflow.sources.json_lines import read_json_lines
from microflow.sources.parquet import read_parquet
from microflow.sources.places import compression_of, opened
from microflow.sources.quarantine import Quarantine
from microflow.sources.splits import Source, Split
from microflow.sources.typed import typed_column

__all__ = ["REPEATED_ID", "Rows", "read_microflows", "read_split"]

#: Why a row with an id that another row had before is refused.
REPEATED_ID = "this record id was seen before"


class Rows(NamedTuple):
    """Accepted rows, typed, and the rows between them that were refused, in the order of the file."""

    batch: pa.RecordBatch
    refused: list[Refusal]


def read_split(
    split: Split,
    schema: DatasetSchema,
    *,
    keep_raw: bool = False,
    seen: SeenIds | None = None,
    doubled: npt.NDArray[np.int64] | None = None,
) -> Iterator[Rows]:
    """The rows of one split in bounded memory: every row is accepted or refused.

    Refused are ragged rows, values that are not of their column's type, missing required values, and record ids that
    were seen before (the first one counts): those that ``seen`` knows of, or the rows at the positions ``doubled``
    (ascending) among those that are acceptable otherwise.

    Raises:
        InputError: the file cannot be read at all, or is not the one described; names file, line and column.
    """
    refusals = Refusals(keep_raw)
    first = 0
    for block in _blocks(split, schema, refusals):
        batch, lines = _typed(block, schema, refusals)
        if schema.record_id is not None:
            ids = batch.column(schema.record_id)
            if seen is not None:
                batch = _without(batch, lines, seen.repeated(ids), schema.record_id, refusals)
            elif doubled is not None:
                low, high = np.searchsorted(doubled, (first, first + batch.num_rows))
                first += batch.num_rows
                batch = _without(batch, lines, doubled[low:high] - (first - len(lines)), schema.record_id, refusals)
        yield Rows(batch, refusals.take())
    if refusals.rows:
        yield Rows(pa.RecordBatch.from_pylist([], schema=schema.arrow), refusals.take())


def read_microflows(
    path: Path | str, schema: DatasetSchema, *, quarantine: Quarantine, size: int = MICROFLOW_ROWS
) -> Iterator[Microflow]:
    """Stream files as microflows of ``size`` rows, in file order and bounded memory, in this process.

    Every row is either in a microflow or in the quarantine.

    Raises:
        InputError: as in `read_split`.
    """
    source = Source(path, schema, split_bytes=2**62)
    return microflows(_accepted(source, schema, quarantine), size)


def _accepted(source: Source, schema: DatasetSchema, quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    seen = SeenIds()
    for split in source.splits():
        for rows in read_split(split, schema, keep_raw=quarantine.keep_raw, seen=seen):
            for refusal in rows.refused:
                quarantine.add(*refusal)
            yield rows.batch


def _blocks(split: Split, schema: DatasetSchema, refusals: Refusals) -> Iterator[Block]:
    path = split.file
    try:
        if split.kind == "parquet":
            groups = None if split.stop is None else range(split.start, split.stop)
            yield from read_parquet(path, schema, groups, first_line=split.first_line)
            return
        with _part(split) as file:
            if split.kind == "jsonl":
                is_whole = split.start == 0 and split.stop is None
                yield from read_json_lines(file, path, schema, refusals, first_line=split.first_line, is_whole=is_whole)
            else:
                yield from read_delimited(
                    file, path, schema, refusals, header=split.header, first_line=split.first_line
                )
    except (EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise _broken(path, error) from error
    except OSError as error:
        if error.errno is None:  # what gzip and Zstandard raise
            raise _broken(path, error) from error
        raise InputError(f"cannot be read: {error.strerror or 'it is damaged'}", path=path) from error


def _broken(path: str, error: Exception) -> InputError:
    kind = compression_of(path) or "compressed"
    if "too much memory" in str(error):  # a Zstandard frame says how much the reader must hold
        hint = "compress it with a window of at most 128 MiB: zstd without --long and --ultra"
        return InputError(f"the {kind} file asks for too much memory", path=path, hint=hint)
    what = "is broken or cut short" if isinstance(error, EOFError) else f"is a broken {kind} file"
    return InputError(f"the file {what}", path=path, hint="was it copied completely?")


@contextmanager
def _part(split: Split) -> Iterator[IO[bytes]]:
    """The bytes of a split of text."""
    with opened(split.file) as file:
        if split.start:
            file.seek(split.start)
        if split.stop is None:
            yield file
        else:
            yield cast("IO[bytes]", io.BufferedReader(_Range(file, split.stop - split.start)))


class _Range(io.RawIOBase):
    """The next so many bytes of a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        piece = self._file.read(min(len(buffer), self._left))
        buffer[: len(piece)] = piece
        self._left -= len(piece)
        return len(piece)


def _typed(block: Block, schema: DatasetSchema, refusals: Refusals) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
    """The rows whose values all fit their columns, and their lines; others are refused for their first fault."""
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
                raw = _raw(block.columns.values(), position) if refusals.keep_raw else ""
                refusals.add(int(block.lines[position]), column.name, reason, raw)
        arrays.append(array)
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)
    return (batch, block.lines) if usable.all() else (batch.filter(pa.array(usable)), block.lines[usable])


def _without(
    batch: pa.RecordBatch,
    lines: npt.NDArray[np.int64],
    doubles: npt.NDArray[np.int64],
    record_id: str,
    refusals: Refusals,
) -> pa.RecordBatch:
    if not len(doubles):
        return batch
    for position in doubles.tolist():
        raw = _raw(batch.columns, position) if refusals.keep_raw else ""
        refusals.add(int(lines[position]), record_id, REPEATED_ID, raw)
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
