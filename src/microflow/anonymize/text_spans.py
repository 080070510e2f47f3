"""Text columns as bytes: read from Arrow's buffers without making a Python object, written back the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["BLOCK_BYTES", "TextSpans", "fixed_width_texts"]

#: A span may be read this far beyond its end without leaving the data.
BLOCK_BYTES = 16


@dataclass(frozen=True, slots=True)
class TextSpans:
    """The values of some text columns in one piece: value ``i`` is ``data[starts[i] : starts[i] + lengths[i]]``.

    ``data`` is uint8 and holds `BLOCK_BYTES` more than the values need; ``lanes`` is the column of each value. All
    index arrays are int64.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    lanes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts)

    def value(self, index: int) -> bytes:
        """The bytes of one value."""
        start = int(self.starts[index])
        return self.data[start : start + int(self.lengths[index])].tobytes()

    @classmethod
    def of(cls, columns: Mapping[int, pa.Array]) -> TextSpans:
        """Lay out the values of string columns that hold no null, by lane.

        >>> spans = TextSpans.of({0: pa.array(["ab", ""]), 7: pa.array(["c"])})
        >>> [spans.value(i) for i in range(3)], spans.lanes.tolist()
        ([b'ab', b'', b'c'], [0, 0, 7])
        """
        values = sum(len(column) for column in columns.values())
        starts, lengths, lanes = (np.empty(values, np.int64) for _ in range(3))
        pieces = []
        first = base = 0
        for lane, column in columns.items():
            offsets, data = _buffers(column)
            last = first + len(column)
            np.add(offsets[:-1], base - int(offsets[0]), out=starts[first:last])
            np.subtract(offsets[1:], offsets[:-1], out=lengths[first:last])
            lanes[first:last] = lane
            pieces.append(data)
            first, base = last, base + len(data)
        return cls(np.concatenate([*pieces, np.zeros(BLOCK_BYTES, np.uint8)]), starts, lengths, lanes)


def _buffers(column: pa.Array) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8]]:
    """Offsets, and the bytes between the first and the last of them, of a column that may be a slice."""
    if len(column) == 0:
        return np.zeros(1, np.int32), np.empty(0, np.uint8)
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(column) + 1, column.offset * 4)
    first, last = int(offsets[0]), int(offsets[-1])
    if first == last:
        return offsets, np.empty(0, np.uint8)
    return offsets, np.frombuffer(data_buffer, np.uint8, last - first, first)


def fixed_width_texts(texts: npt.NDArray[np.void]) -> pa.Array:
    """A string column whose value ``i`` is the bytes of entry ``i``; the memory is shared, not copied.

    >>> fixed_width_texts(np.frombuffer(b"abcd", "V2")).to_pylist()
    ['ab', 'cd']
    """
    width = texts.dtype.itemsize
    offsets = np.arange(0, (len(texts) + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(texts.view(np.uint8)))
