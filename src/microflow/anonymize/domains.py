"""Public domains: a column's values as codes that noise can be added to, and back.

A domain comes from the descriptor alone, never from the data: declared categories, declared bounds, the two booleans,
the ten digits a ZIP code may begin with. Codes run from 0 to ``size - 1``; ``size`` is missing. A number outside its
bounds is moved to the nearer one; a text outside its domain counts as missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.generalise import prefix_label
from microflow.anonymize.mechanisms import Codes
from microflow.anonymize.text_spans import even_offsets, first_bytes
from microflow.records import convert
from microflow.schema import Column, Dtype, Value

__all__ = ["GRID_STEPS", "Choices", "Domain", "Grid", "Told", "public_domain"]


class Told:
    """Values by code; the last is a missing one.

    Values that all take equally many bytes, as numbers and short codes do, are copied whole by one look-up, several
    times faster than Arrow takes text.

    >>> Told(["F", "M", None], Dtype.STRING)(np.array([1, 2, 0])).to_pylist()
    ['M', None, 'F']
    """

    def __init__(self, values: Sequence[Value], dtype: Dtype) -> None:
        self._values = pa.array(values, dtype.arrow)
        self._missing = len(values) - 1
        self._width = 0
        self._table: npt.NDArray[np.generic] | None = None
        if dtype in (Dtype.INTEGER, Dtype.NUMBER):
            self._table = self._values.fill_null(0).to_numpy()
        elif pa.types.is_string(self._values.type):
            texts = [str(value).encode() for value in values[:-1]]
            self._width = len(texts[0])
            if {len(text) for text in texts} == {self._width} != {0}:
                self._table = np.frombuffer(b"".join([*texts, bytes(self._width)]), f"V{self._width}")

    def __call__(self, codes: npt.NDArray[np.int64]) -> pa.Array:
        """The value of each code."""
        if self._table is None:
            return self._values.take(pa.array(codes))
        valid = np.packbits(codes != self._missing, bitorder="little")
        buffers = [pa.py_buffer(valid), pa.py_buffer(self._table.take(codes).view(np.uint8))]
        if self._width:
            buffers.insert(1, even_offsets(len(codes), self._width))
        return pa.Array.from_buffers(self._values.type, len(codes), buffers)


#: A range is cut into at most so many steps. A power of two, so that a step of an interval is exact.
GRID_STEPS = 1 << 10
_DIGITS = "0123456789"


class Domain(Protocol):
    """Codes of a column's values."""

    size: int
    is_ordered: bool
    values: tuple[Value, ...]
    """What each code is released as; the last is ``None``."""

    def encode(self, column: pa.Array) -> Codes:
        """A code a value."""
        ...

    def encode_one(self, value: Value) -> int:
        """The code of one value."""
        ...

    def decode(self, codes: Codes) -> pa.Array:
        """The values of codes, as the column's type."""
        ...


class Choices:
    """A few values without distance: categories, booleans, first digits."""

    is_ordered = False

    def __init__(
        self, keys: tuple[str, ...], values: tuple[Value, ...], dtype: Dtype, *, initial: bool = False
    ) -> None:
        self.size = len(keys)
        self.values = (*values, None)
        self._keys = pa.array(keys, pa.string())
        self._codes = {value: code for code, value in enumerate(keys if initial else values)}
        self._initial = initial
        if initial:  # every key is one ASCII character, which no byte of another character is
            self._code_of_byte = np.full(256, self.size, np.int64)
            self._code_of_byte[[ord(key) for key in keys]] = np.arange(self.size)
        self._told = Told(self.values, dtype)

    def encode(self, column: pa.Array) -> Codes:
        """Positions among the keys."""
        texts = column if column.type == pa.string() else column.cast(pa.string())
        if self._initial:
            return self._code_of_byte.take(first_bytes(texts))
        found = pc.index_in(texts, value_set=self._keys)
        if found.null_count:
            found = found.fill_null(self.size)
        codes: Codes = found.to_numpy().astype(np.int64)
        return codes

    def encode_one(self, value: Value) -> int:
        """Position among the keys."""
        if value is None:
            return self.size
        return self._codes.get(str(value)[:1] if self._initial else value, self.size)

    def decode(self, codes: Codes) -> pa.Array:
        """The values."""
        return self._told(codes)


class Grid:
    """Evenly spaced numbers from ``low`` to ``high``; a value is moved to the nearest."""

    is_ordered = True

    def __init__(self, low: float, high: float, dtype: Dtype) -> None:
        width = high - low
        whole = dtype is Dtype.INTEGER
        self.step = max(1.0, float(math.ceil(width / GRID_STEPS))) if whole else width / GRID_STEPS
        self.size = math.ceil(width / self.step) + 1
        self._low, self._high = low, high
        points = [min(low + code * self.step, high) for code in range(self.size)]
        self.values: tuple[Value, ...] = (*(int(point) if whole else point for point in points), None)
        self._told = Told(self.values, dtype)

    def encode(self, column: pa.Array) -> Codes:
        """Nearest grid points."""
        # pyarrow hands nulls over as NaN, which every step up to the last keeps.
        numbers = column.to_numpy(zero_copy_only=False).astype(np.float64)
        inside = np.minimum(np.maximum(numbers, self._low), self._high)
        steps = np.rint((inside - self._low) / self.step)
        codes: Codes = np.where(np.isnan(steps), self.size, steps).astype(np.int64)
        return codes

    def encode_one(self, value: Value) -> int:
        """The nearest grid point."""
        if not isinstance(value, int | float) or math.isnan(value):
            return self.size
        return round((min(max(float(value), self._low), self._high) - self._low) / self.step)

    def decode(self, codes: Codes) -> pa.Array:
        """The numbers."""
        return self._told(codes)


def _texts(values: tuple[Value, ...], dtype: Dtype) -> tuple[str, ...]:
    """Values as Arrow writes them."""
    return tuple(pa.array(values, dtype.arrow).cast(pa.string()).to_pylist())


def public_domain(column: Column) -> Domain | None:
    """The domain that a column's declaration gives, or ``None`` where it gives none.

    Of a ZIP code only the first digit is a public domain small enough to say anything about one person.

    >>> public_domain(Column("sex", categories=("F", "M"))).values
    ('F', 'M', None)
    >>> public_domain(Column("note")) is None
    True
    """
    if column.categories:
        values = tuple(convert(category, column) for category in column.categories)
        return Choices(_texts(values, column.dtype), values, column.dtype)
    if column.dtype is Dtype.BOOLEAN:
        return Choices(("false", "true"), (False, True), column.dtype)
    if column.bounds is not None and column.bounds[0] < column.bounds[1]:
        return Grid(*column.bounds, column.dtype)
    if column.kind == "zip" and column.hierarchy is not None and column.hierarchy.prefix:
        length = max(column.hierarchy.prefix)
        return Choices(
            tuple(_DIGITS), tuple(prefix_label(digit, length) for digit in _DIGITS), column.dtype, initial=True
        )
    return None
