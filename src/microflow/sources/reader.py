"""Reader from splits to typed batches: any of three formats, one way of refusing rows, and column names."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.errors import InputError
from microflow.records import Microflow, microflows
from microflow.schema import Column, DatasetSchema, SourceFormat
from microflow.settings import MICROFLOW_ROWS
from microflow.sources.columns import Block, Refusal, Refusals, known_as, missing_values, numbered, typed_column
from microflow.sources.delimited import header_names, read_delimited
from microflow.sources.files import STANDARD, files_of, input_format, opened, readable
from microflow.sources.json_lines import json_names, read_json_lines
from microflow.sources.parquet import parquet_names, read_parquet
from microflow.sources.record_ids import SeenIds
from microflow.sources.splits import Source, Split

__all__ = [
    "REPEATED_ID", "Quarantine", "column_names", "list_names", "read_microflows", "read_split", "with_others",
]  # fmt: skip

#: Why a row with an id that another row had before is refused.
REPEATED_ID = "this record id was seen before"


def read_split(
    split: Split,
    schema: DatasetSchema,
    refusals: Refusals,
    *,
    seen: SeenIds | None = None,
    doubled: npt.NDArray[np.int64] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The rows of one split, typed, in bounded memory: every row is accepted or refused.

    Refused are ragged rows, values that are not of their column's type, missing required values, and record ids that
    were seen before (the first one counts): those that ``seen`` knows of, or the rows at the positions ``doubled``
    (ascending) among those that are acceptable otherwise. With each batch the caller takes those before its end from
    ``refusals``.

    Raises:
        InputError: the file cannot be read at all, or is not the one described; names file, line and column.
    """
    first = 0
    for block in _blocks(split, schema, refusals):
        batch, lines = _typed(block, schema, refusals)
        if schema.record_id is not None:
            again = np.empty(0, np.int64)
            if seen is not None:
                again = seen.repeated(batch.column(schema.record_id))
            elif doubled is not None:
                low, high = np.searchsorted(doubled, (first, first + batch.num_rows))
                again = doubled[low:high] - first
                first += batch.num_rows
            if len(again):
                faults = [(position, REPEATED_ID) for position in again.tolist()]
                batch, _ = _without(batch, lines, {schema.record_id: faults}, batch.columns, refusals)
        yield batch
    if refusals.rows:
        yield pa.RecordBatch.from_pylist([], schema=schema.arrow)


def _blocks(split: Split, schema: DatasetSchema, refusals: Refusals) -> Iterator[Block]:
    path, first_line = split.file, split.first_line
    with readable(path):
        if split.kind == "parquet":
            groups = None if split.stop is None else range(split.start, split.stop)
            yield from read_parquet(path, schema, groups, first_line=first_line)
            return
        with opened(path, schema.source.sheet) as whole:
            file = whole
            if split.start:
                whole.seek(split.start)
            if split.stop is not None:
                file = cast("IO[bytes]", io.BufferedReader(_Range(whole, split.stop - split.start)))
            if split.kind == "jsonl":
                is_whole = split.start == 0 and split.stop is None
                yield from read_json_lines(file, path, schema, refusals, first_line=first_line, is_whole=is_whole)
            else:
                yield from read_delimited(file, path, schema, refusals, header=split.header, first_line=first_line)


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
    arrays, failed = [], {}
    for column in schema.columns:
        array = block.columns[column.name]
        if array.type == pa.string():
            array, failures = typed_column(array, column)
        else:
            failures = missing_values(array, column)
        if failures:
            failed[column.name] = failures
        arrays.append(array)
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)
    return _without(batch, block.lines, failed, block.columns.values(), refusals) if failed else (batch, block.lines)


def _without(
    batch: pa.RecordBatch,
    lines: npt.NDArray[np.int64],
    failed: dict[str, list[tuple[int, str]]],
    as_read: Iterable[pa.Array],
    refusals: Refusals,
) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
    """The rows that are not refused: those at positions that are named, for a reason, by some column."""
    usable = np.ones(batch.num_rows, np.bool_)
    for name, failures in failed.items():
        for position, reason in failures:
            if usable[position]:
                usable[position] = False
                raw = ""
                if refusals.keep_raw:  # the values as they were read are as near to its text as a typed format comes
                    values = (column[position].as_py() for column in as_read)
                    raw = ",".join("" if value is None else str(value) for value in values)
                refusals.add(int(lines[position]), name, reason, raw)
    return batch.filter(pa.array(usable)), lines[usable]


@dataclass
class Quarantine:
    """Counts the rows that could not be used, by their reasons."""

    counts: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """Rows refused so far."""
        return self.counts.total()

    def add(self, refused: Refusal) -> None:
        """Take one row in."""
        self.counts[refused.reason] += 1

    def require_none(self, path: Path | str) -> None:
        """See that every row of a file could be used.

        Raises:
            InputError: some could not; says how many, and the most frequent reason.
        """
        if self.total:
            reason, count = self.counts.most_common(1)[0]
            raise InputError(f"{self.total:,} rows cannot be read ({count:,}: {reason})", path=path)


def read_microflows(
    path: Path | str, schema: DatasetSchema, *, quarantine: Quarantine, size: int = MICROFLOW_ROWS
) -> Iterator[Microflow]:
    """Stream files as microflows of ``size`` rows, in file order and bounded memory, in this process.

    Every row is either in a microflow or in the quarantine.

    Raises:
        InputError: as in `read_split`.
    """

    def accepted() -> Iterator[pa.RecordBatch]:
        seen, refusals = SeenIds(), Refusals()
        for split in Source(path, schema, split_bytes=2**62).splits():
            for rows in read_split(split, schema, refusals, seen=seen):
                for refusal in refusals.take():
                    quarantine.add(refusal)
                yield rows

    return microflows(accepted(), size)


def with_others(schema: DatasetSchema, place: Path | str) -> DatasetSchema:
    """The schema with a source's other columns as attributes, where it says ``others: pass``; else as it is.

    Of several files the first counts, and of JSON its first block of records: a name that first occurs later has no
    column.

    Raises:
        InputError: the file cannot be read, or it is standard input, which cannot be read twice.
    """
    if schema.others != "pass":
        return schema
    first = files_of(str(place))[0]
    if first == STANDARD:
        raise InputError(
            "others: pass needs to look at the columns first", path=place, hint="use a file, or others: drop"
        )
    if not schema.source.header and input_format(first) == "csv":
        return schema
    names = known_as(column_names(first, schema.source), schema.names)
    others = tuple(Column(name) for name in names if name not in schema.names)
    return replace(schema, columns=(*schema.columns, *others))


def column_names(place: Path | str, source: SourceFormat) -> list[str]:
    """The names in a file of any format, of which none occurs twice: the second ``zip`` is ``zip#2``.

    Raises:
        InputError: the file cannot be read.
    """
    kind, text = input_format(place), str(place)
    with readable(place):
        if kind == "parquet":
            return numbered(parquet_names(text))
        with opened(text, source.sheet) as file:
            return numbered(json_names(file) if kind == "jsonl" else header_names(file, text, source))


def list_names(place: Path | str) -> tuple[str, ...]:
    """The names of a file's lists, which are no single values: of Parquet by their type, of JSON by its first block.

    Raises:
        InputError: the file cannot be read.
    """
    kind, text = input_format(place), str(place)
    if kind == "csv":
        return ()
    with readable(place):
        if kind == "parquet":
            return parquet_names(text, lists=True)
        with opened(text) as file:
            return json_names(file, lists=True)
