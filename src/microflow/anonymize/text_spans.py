"""Text columns as bytes: read from Arrow's buffers without making a Python object, written back the same way."""

from __future__ import annotations

from collections.abc import Sequence
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

    ``data`` is uint8 and holds `BLOCK_BYTES` more than the values need; ``lanes`` is the column of each value, counted
    in the order given. All index arrays are int64.
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
    def of(cls, columns: Sequence[pa.Array]) -> TextSpans:
        """Lay out the values of string columns that hold no null.

        >>> spans = TextSpans.of([pa.array(["ab", ""]), pa.array(["c"])])
        >>> [spans.value(i) for i in range(3)], spans.lanes.tolist()
        ([b'ab', b'', b'c'], [0, 0, 1])
        """
        pieces, starts, lengths = [], [], []
        base = 0
        for column in columns:
            offsets, data = _buffers(column)
            pieces.append(data)
            starts.append(offsets[:-1] + base)
            lengths.append(np.diff(offsets))
            base += len(data)
        return cls(
            np.concatenate([*pieces, np.zeros(BLOCK_BYTES, np.uint8)]),
            np.concatenate(starts) if starts else np.empty(0, np.int64),
            np.concatenate(lengths) if lengths else np.empty(0, np.int64),
            np.repeat(np.arange(len(columns)), [len(column) for column in columns]),
        )


def _buffers(column: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Offsets that begin at 0, and the bytes they point into, of a column that may be a slice."""
    if len(column) == 0:
        return np.zeros(1, np.int64), np.empty(0, np.uint8)
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32, len(column) + 1, column.offset * 4).astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    if first == last:
        return np.zeros(len(offsets), np.int64), np.empty(0, np.uint8)
    return offsets - first, np.frombuffer(data_buffer, np.uint8, last - first, first)


def fixed_width_texts(texts: npt.NDArray[np.void]) -> pa.Array:
    """A string column whose value ``i`` is the bytes of entry ``i``; the memory is shared, not copied.

    >>> fixed_width_texts(np.frombuffer(b"abcd", "V2")).to_pylist()
    ['ab', 'cd']
    """
    width = texts.dtype.itemsize
    offsets = np.arange(0, (len(texts) + 1) * width, width, dtype=np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(offsets), pa.py_buffer(texts.view(np.uint8)))
