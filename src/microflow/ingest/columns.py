"""The columns of a file, and a schema with those that it lets pass."""

from __future__ import annotations

import gzip
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO, cast

import pyarrow as pa

from microflow.errors import InputError
from microflow.ingest.block import known_as, numbered
from microflow.ingest.delimited import header_names
from microflow.ingest.json_lines import json_names
from microflow.ingest.parquet import parquet_names
from microflow.ingest.reader import format_of
from microflow.schema import Column, DatasetSchema, SourceFormat

__all__ = ["column_names", "with_others"]


def with_others(schema: DatasetSchema, path: Path) -> DatasetSchema:
    """The schema with the file's other columns as attributes, where it says ``others: pass``; else as it is.

    Of JSON the first block of records counts: a name that first occurs later has no column.

    Raises:
        InputError: the file cannot be read.
    """
    if schema.others != "pass" or (not schema.source.header and format_of(path) == "csv"):
        return schema
    names = known_as(column_names(path, schema.source), schema.names)
    others = tuple(Column(name) for name in names if name not in schema.names)
    return replace(schema, columns=(*schema.columns, *others))


def column_names(path: Path, source: SourceFormat) -> list[str]:
    """The names in a file of any format, of which none occurs twice: the second ``zip`` is ``zip#2``.

    Raises:
        InputError: the file cannot be read.
    """
    kind = format_of(path)
    try:
        with ExitStack() as stack:
            if kind == "parquet":
                return numbered(parquet_names(path))
            file: IO[bytes] = stack.enter_context(path.open("rb"))
            if path.suffix == ".gz":
                file = cast("IO[bytes]", stack.enter_context(gzip.GzipFile(fileobj=file)))
            return numbered(json_names(file) if kind == "jsonl" else header_names(file, str(path), source))
    except (OSError, EOFError, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or 'broken file'}", path=path) from error
