"""From text columns to typed columns: the vectorised form of `microflow.records.convert`, with the rows that fail."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.records import UnconvertibleError, convert
from microflow.schema import Column, Dtype

__all__ = ["Failure", "typed_column"]

#: Position in the batch, and the reason.
Failure = tuple[int, str]

# Text that a cast and `convert` read alike; whatever else there is goes through `convert` value by value.
_PLAIN = {
    Dtype.INTEGER: r"^[+-]?[0-9]{1,18}$",
    Dtype.NUMBER: r"^[+-]?[0-9]{1,15}(\.[0-9]{1,17})?$",
    Dtype.DATE: r"^[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?$",
}


def typed_column(text: pa.Array, column: Column) -> tuple[pa.Array, list[Failure]]:
    """A text column (null is missing) as the column's type, and the rows whose value is not of it (null there)."""
    if column.dtype is Dtype.STRING:
        return text, _required(text, column)
    plain = _plain(text, column)
    if plain is not None:
        return plain, _required(plain, column)
    values, failures = [], []
    for position, value in enumerate(text.to_pylist()):
        try:
            values.append(convert(value, column))
        except UnconvertibleError as error:
            values.append(None)
            failures.append((position, str(error)))
    typed = pa.array(values, column.dtype.arrow)
    failed = {position for position, _ in failures}
    return typed, failures + [miss for miss in _required(typed, column) if miss[0] not in failed]


def _plain(text: pa.Array, column: Column) -> pa.Array | None:
    pattern = _PLAIN.get(column.dtype)
    if text.null_count == len(text):
        return pa.nulls(len(text), column.dtype.arrow)
    if pattern is None or not pc.all(pc.match_substring_regex(text, pattern), skip_nulls=True).as_py():
        return None
    bare = pc.utf8_ltrim(text, "+") if column.dtype is Dtype.INTEGER else text
    return bare if column.dtype is Dtype.DATE else pc.cast(bare, column.dtype.arrow)


def _required(typed: pa.Array, column: Column) -> list[Failure]:
    if not column.required or typed.null_count == 0:
        return []
    missing: npt.NDArray[np.int64] = np.flatnonzero(typed.is_null().to_numpy(zero_copy_only=False))
    return [(position, "a required value is missing") for position in missing.tolist()]
