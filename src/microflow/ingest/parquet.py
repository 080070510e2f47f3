"""Parquet: typed already, so only the types have to meet the schema's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from microflow.errors import InputError
from microflow.ingest.block import BLOCK_ROWS, Block
from microflow.schema import DatasetSchema, Dtype

__all__ = ["read_parquet"]


def read_parquet(path: Path, schema: DatasetSchema) -> Iterator[Block]:
    """Blocks of rows, a row group's worth of memory at a time.

    Raises:
        InputError: not Parquet, truncated, or its columns are not those described.
    """
    try:
        file = pq.ParquetFile(path)
        _check_columns(path, file.schema_arrow.names, schema)
        first = 1
        for batch in file.iter_batches(BLOCK_ROWS, columns=list(schema.names)):
            lines = np.arange(first, first + batch.num_rows, dtype=np.int64)
            first += batch.num_rows
            yield Block(
                lines, {column.name: _cast(batch.column(column.name), column.dtype) for column in schema.columns}
            )
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError("not a whole Parquet file", path=path, hint="was it copied completely?") from error


def _check_columns(path: Path, found: list[str], schema: DatasetSchema) -> None:
    expected = f"the schema describes: {', '.join(schema.names)}"
    if absent := [name for name in schema.names if name not in found]:
        raise InputError("the file lacks it", path=path, column=absent[0], hint=expected)
    if unknown := [name for name in found if name not in schema.names]:
        raise InputError("the schema does not describe it", path=path, column=unknown[0], hint=expected)


def _cast(array: pa.Array, dtype: Dtype) -> pa.Array:
    """As the schema's type where that loses nothing, else as text, which is then converted value by value."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type) and not pc.all(pc.is_finite(array), skip_nulls=True).as_py():
        return array.cast(pa.string())
    if pa.types.is_timestamp(array.type) and dtype is Dtype.DATE:
        array = array.cast(pa.date32(), safe=False)
    for target in (dtype.arrow, pa.string()):
        if dtype is Dtype.DATE and target == dtype.arrow and not pa.types.is_date(array.type):
            continue  # a date in text has still to be looked at
        try:
            return array.cast(target)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            continue
    return pa.nulls(len(array), pa.string())
