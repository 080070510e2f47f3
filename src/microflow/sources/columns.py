"""The columns of a file, and a schema with those that it lets pass."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, SourceFormat
from microflow.sources.block import known_as, numbered
from microflow.sources.delimited import header_names
from microflow.sources.json_lines import json_names
from microflow.sources.parquet import parquet_names
from microflow.sources.places import STANDARD, files_of, input_format, opened

__all__ = ["column_names", "list_names", "readable", "with_others"]


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
        with opened(text) as file:
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


@contextmanager
def readable(place: Path | str) -> Iterator[None]:
    """Errors of the system about a file as one line that names it."""
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or 'broken file'}", path=place) from error
