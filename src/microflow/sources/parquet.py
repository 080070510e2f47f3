"""Parquet: typed already, so only the types have to meet the schema's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, SourceFormat
from microflow.sources.columns import BLOCK_ROWS, Block, cleaned, require_columns
from microflow.sources.files import is_url, opened

if TYPE_CHECKING:
    import pyarrow.parquet as pq

__all__ = ["group_rows", "parquet_names", "read_parquet", "typed_array"]

#: Text that is taken out of dictionaries at a time.
_MOST_BYTES = 2**25
_NUMERIC = (Dtype.INTEGER, Dtype.NUMBER)


def group_rows(path: str) -> list[int]:
    """The rows of each row group.

    Raises:
        InputError: not Parquet, or truncated.
    """
    with _parquet(path) as file:
        return [file.metadata.row_group(number).num_rows for number in range(file.metadata.num_row_groups)]


def read_parquet(
    path: str, schema: DatasetSchema, groups: Sequence[int] | None = None, *, first_line: int = 1
) -> Iterator[Block]:
    """Blocks of rows, a row group's worth of memory at a time; of these row ``groups``, which begin at a row's number.

    Raises:
        InputError: not Parquet, truncated, or its columns are not those described.
    """
    with _parquet(path) as file:
        found = [(field.name, name) for field in file.schema_arrow for name, _ in _names(field, field.name)]
        known = require_columns([name for _, name in found], schema, path)
        leaves = [(root, name) for (root, _), name in zip(found, known, strict=True)]
        wanted = {root for root, name in leaves if name in schema.names}
        positions = {name: place for place, name in enumerate(name for root, name in leaves if root in wanted)}
        first, columns = first_line, file.schema_arrow.names
        # All columns where a name could mean two things to the Parquet reader.
        is_plain = len(set(columns)) == len(columns) and not any("." in name for name in columns)
        selected = [name for name in columns if name in wanted] if is_plain else None
        for batch in file.iter_batches(BLOCK_ROWS, row_groups=groups, columns=selected):
            read = zip(batch.schema.names, batch.columns, strict=True)
            arrays = [array for name, column in read if name in wanted for array in _flat(column)]
            picked = [(column, arrays[positions[column.name]]) for column in schema.columns]
            for start, stop in _bounded(batch.num_rows, [array for _, array in picked]):
                lines = np.arange(first + start, first + stop, dtype=np.int64)
                typed = {
                    column.name: typed_array(array[start:stop], column, schema.source, path) for column, array in picked
                }
                yield Block(lines, typed)
            first += batch.num_rows


def _bounded(rows: int, columns: Sequence[pa.Array]) -> Iterator[tuple[int, int]]:
    """Stretches of rows whose texts, written out from their dictionaries, take at most `_MOST_BYTES`, or are one row.

    A dictionary holds a long text once, however many rows name it: a file of a megabyte may hold a terabyte.
    """
    sizes = np.zeros(rows, np.int64)
    for column in columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.fill_null(pc.binary_length(column.dictionary), 0).to_numpy(zero_copy_only=False)
            if len(lengths):
                sizes += lengths.astype(np.int64)[pc.fill_null(column.indices, 0).to_numpy(zero_copy_only=False)]
    ends = np.cumsum(sizes)
    start = 0
    while start < rows:
        before = int(ends[start - 1]) if start else 0
        stop = max(int(np.searchsorted(ends, before + _MOST_BYTES, side="right")), start + 1)
        yield start, min(stop, rows)
        start = stop


@contextmanager
def _parquet(path: str) -> Iterator[pq.ParquetFile]:
    """A file whose texts stay in their dictionaries where it has them there; see `_bounded`."""
    import pyarrow.parquet as pq  # heavy, and most files are text

    try:
        with ExitStack() as files:
            file = files.enter_context(opened(path)) if is_url(path) else path
            # Without reading ahead, of which Arrow keeps all until the file is closed.
            found = files.enter_context(pq.ParquetFile(file, pre_buffer=False))
            columns = [found.schema.column(number) for number in range(len(found.schema))]
            texts = [column.path for column in columns if column.logical_type.type in {"STRING", "NONE"}
                     and column.physical_type == "BYTE_ARRAY" and not column.max_repetition_level]  # fmt: skip
            if texts:
                options = {"metadata": found.metadata, "read_dictionary": texts, "pre_buffer": False}
                found = files.enter_context(pq.ParquetFile(file, **options))
            yield found
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if getattr(error, "errno", None):
            raise  # the system refused, which is nothing about Parquet
        raise InputError("not a whole Parquet file", path=path, hint="was it copied completely?") from error


def parquet_names(path: str, *, lists: bool = False) -> tuple[str, ...]:
    """The names of all values in a file, or of the ``lists`` among them; those within structs as ``a.b``."""
    with _parquet(path) as file:
        found = [(name, kind) for field in file.schema_arrow for name, kind in _names(field, field.name)]
        return tuple(name for name, kind in found if not lists or pa.types.is_nested(kind))


def _names(field: pa.Field, name: str) -> Iterator[tuple[str, pa.DataType]]:
    """The name and type of every value in a field, with structs flattened: ``a.b`` is field ``b`` of column ``a``."""
    if not pa.types.is_struct(field.type):
        yield name, field.type
        return
    for below in field.type:
        yield from _names(below, f"{name}.{below.name}")


def _flat(array: pa.Array) -> Iterator[pa.Array]:
    if not pa.types.is_struct(array.type):
        yield array
        return
    # `flatten` and not `field`: a value below a missing struct is missing.
    for below in array.flatten():
        yield from _flat(below)


def typed_array(array: pa.Array, column: Column, source: SourceFormat, path: Path | str) -> pa.Array:
    """A typed array as the column's type where that loses nothing, else as text, to be converted value by value.

    Raises:
        InputError: it holds lists or something else that is no single value.
    """
    if pa.types.is_dictionary(array.type):
        if len(array.dictionary) < len(array) and not pa.types.is_nested(array.dictionary.type):
            # What is done to each text of the dictionary need not be done to each row.
            return typed_array(array.dictionary, column, source, path).take(array.indices)
        array = array.dictionary_decode()
    if source.missing and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        is_missing = pc.is_in(_as_text(array), value_set=pa.array(sorted(source.missing), pa.string()))
        array = pc.if_else(is_missing, pa.scalar(None, array.type), array)
    if pa.types.is_timestamp(array.type) and column.dtype is Dtype.DATE:
        array = array.cast(pa.date32(), safe=False)
    if _holds_as_is(array, column.dtype):
        try:
            typed = array.cast(column.dtype.arrow)
        except pa.ArrowInvalid:
            pass  # some value does not fit: it is found below, and its row refused
        else:
            # There is one zero: -0.0 + 0.0 is 0.0.
            return pc.add(typed, 0.0) if column.dtype is Dtype.NUMBER else typed
    try:
        text = _as_text(array)
        text.validate(full=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            _unreadable(array.type, column.dtype),
            path=path,
            column=column.name,
            hint="take the column out of the schema and set others: drop, or write it as text before",
        ) from error
    return cleaned(text, source)


def _as_text(array: pa.Array) -> pa.Array:
    """Text as delimited text and JSON would hold the values: whole numbers without a point, dates in ISO 8601."""
    kind = array.type
    if pa.types.is_floating(kind):
        whole = pc.and_(pc.is_finite(array), pc.equal(pc.floor(array), array))
        written = pc.if_else(pc.is_nan(array), "NaN", array.cast(pa.string()))
        if not pc.any(whole, skip_nulls=True).as_py():
            return written
        small = pc.and_(whole, pc.less(pc.abs(array), 2.0**62))
        digits = pc.if_else(small, array, pa.scalar(None, kind)).cast(pa.int64()).cast(pa.string())
        text = pc.if_else(small, digits, written)
        large = np.flatnonzero(pc.fill_null(pc.and_not(whole, small), fill_value=False))
        if not len(large):
            return text
        values = text.to_pylist()
        for position in large.tolist():
            values[position] = str(int(array[position].as_py()))
        return pa.array(values, pa.string())
    if pa.types.is_timestamp(kind):
        pattern = "%Y-%m-%dT%H:%M:%SZ" if kind.tz else "%Y-%m-%dT%H:%M:%S"
        moments = array.cast(pa.timestamp(kind.unit, "UTC")) if kind.tz else array
        return _without_noughts(pc.strftime(moments, pattern))
    if pa.types.is_time(kind):
        return _without_noughts(array.cast(pa.string()))
    return array.cast(pa.string())


def _without_noughts(text: pa.Array) -> pa.Array:
    """Seconds with the decimals that say something."""
    return (
        pc.replace_substring_regex(text, r"\.?0*(Z?)$", r"\1")
        if pc.any(pc.match_substring(text, ".")).as_py()
        else text
    )


def _unreadable(kind: pa.DataType, dtype: Dtype) -> str:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_binary(kind):
        return "holds bytes that are not UTF-8 text"
    named = "lists" if pa.types.is_nested(kind) else f"values of type {kind}"
    return f"holds {named}, which cannot be read as {dtype}"


def _holds_as_is(array: pa.Array, dtype: Dtype) -> bool:
    """True if the file's type means what the schema's does. Text is always looked at."""
    if dtype is Dtype.BOOLEAN:
        return bool(pa.types.is_boolean(array.type))
    if pa.types.is_floating(array.type):
        return dtype in _NUMERIC and pc.all(pc.is_finite(array), skip_nulls=True).as_py() is not False
    return dtype in _NUMERIC and bool(pa.types.is_integer(array.type) or pa.types.is_decimal(array.type))
