"""Columns of a few public values, put together from codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.text_spans import even_offsets
from microflow.schema import Dtype, Value

__all__ = ["Told"]


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
