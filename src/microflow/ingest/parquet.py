"""Parquet: typed already, so only the types have to meet the schema's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from microflow.errors import InputError
from microflow.ingest.block import BLOCK_ROWS, Block, require_columns
from microflow.ingest.places import is_url, opened
from microflow.schema import Column, DatasetSchema, Dtype

__all__ = ["group_rows", "read_parquet"]

_NUMERIC = (Dtype.INTEGER, Dtype.NUMBER)


def group_rows(path: str) -> list[int]:
    """The rows of each row group.

    Raises:
        InputError: not Parquet, or truncated.
    """
    with _whole(path), _parquet(path) as file:
        return [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]


def read_parquet(
    path: str, schema: DatasetSchema, groups: Sequence[int] | None = None, *, first_line: int = 1
) -> Iterator[Block]:
    """Blocks of rows, a row group's worth of memory at a time; of these row ``groups``, which begin at a row's number.

    Raises:
        InputError: not Parquet, truncated, or its columns are not those described.
    """
    with _whole(path), _parquet(path) as file:
        require_columns(file.schema_arrow.names, schema.names, path)
        first = first_line
        for batch in file.iter_batches(BLOCK_ROWS, row_groups=groups, columns=list(schema.names)):
            lines = np.arange(first, first + batch.num_rows, dtype=np.int64)
            first += batch.num_rows
            yield Block(
                lines, {column.name: _cast(batch.column(column.name), column, path) for column in schema.columns}
            )


@contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    if is_url(path):
        with opened(path) as file, pq.ParquetFile(file, pre_buffer=False) as found:
            yield found
    else:
        # Read ahead, and Arrow keeps all that it has read until the file is closed.
        with pq.ParquetFile(path, pre_buffer=False) as found:
            yield found


@contextmanager
def _whole(path: str) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if getattr(error, "errno", None):
            raise  # the system refused, which is nothing about Parquet
        raise InputError("not a whole Parquet file", path=path, hint="was it copied completely?") from error


def _cast(array: pa.Array, column: Column, path: str) -> pa.Array:
    """As the schema's type where that loses nothing, else as text, which is then converted value by value."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_timestamp(array.type) and column.dtype is Dtype.DATE:
        array = array.cast(pa.date32(), safe=False)
    if _holds_as_is(array, column.dtype):
        try:
            return array.cast(column.dtype.arrow)
        except pa.ArrowInvalid:
            pass  # some value does not fit: it is found below, and its row refused
    try:
        text = array.cast(pa.string())
        text.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"cannot be read as {column.dtype}", path=path, column=column.name) from error
    return text


def _holds_as_is(array: pa.Array, dtype: Dtype) -> bool:
    """Whether the file's type means what the schema's does. Text is always looked at."""
    if dtype is Dtype.BOOLEAN:
        return bool(pa.types.is_boolean(array.type))
    if pa.types.is_floating(array.type):
        return dtype in _NUMERIC and pc.all(pc.is_finite(array), skip_nulls=True).as_py() is not False
    return dtype in _NUMERIC and bool(pa.types.is_integer(array.type) or pa.types.is_decimal(array.type))
