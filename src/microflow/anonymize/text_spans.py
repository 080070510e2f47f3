"""Text columns as bytes: read from Arrow's buffers without making a Python object, written back the same way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["BLOCK_BYTES", "TextSpans", "even_offsets", "first_bytes", "valid_rows"]

#: A span may be read this far beyond its end without leaving the data.
BLOCK_BYTES = 16

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class TextSpans:
    """The values of some text columns in one piece: value ``i`` is ``data[starts[i] : starts[i] + lengths[i]]``.

    ``data`` is uint8 and holds `BLOCK_BYTES` more than the values need; ``lanes`` is the column of each value. All
    index arrays are int64. Missing values are left out: ``valid`` tells for each column which rows are there, or
    ``None`` where all are.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    lanes: npt.NDArray[np.int64]
    valid: tuple[Flags | None, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def value(self, index: int) -> bytes:
        """The bytes of one value."""
        start = int(self.starts[index])
        return self.data[start : start + int(self.lengths[index])].tobytes()

    @classmethod
    def of(cls, columns: Mapping[int, pa.Array]) -> TextSpans:
        """Lay out the values of string columns, by lane.

        >>> spans = TextSpans.of({0: pa.array(["ab", None, ""]), 7: pa.array(["c"])})
        >>> [spans.value(i) for i in range(3)], spans.lanes.tolist()
        ([b'ab', b'', b'c'], [0, 0, 7])
        """
        values = sum(len(column) - column.null_count for column in columns.values())
        starts, lengths, lanes = (np.empty(values, np.int64) for _ in range(3))
        pieces, valid = [], []
        first = base = 0
        for lane, column in columns.items():
            offsets, data = _buffers(column)
            present = valid_rows(column)
            begins, ends = offsets[:-1], offsets[1:]
            if present is not None:
                begins, ends = begins[present], ends[present]
            last = first + len(begins)
            np.add(begins, base - int(offsets[0]), out=starts[first:last])
            np.subtract(ends, begins, out=lengths[first:last])
            lanes[first:last] = lane
            pieces.append(data)
            valid.append(present)
            first, base = last, base + len(data)
        return cls(np.concatenate([*pieces, np.zeros(BLOCK_BYTES, np.uint8)]), starts, lengths, lanes, tuple(valid))


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


def valid_rows(column: pa.Array) -> Flags | None:
    """Which rows are not missing, or ``None`` where none is.

    >>> valid_rows(pa.array(["a", None, "b"]).slice(1)).tolist()
    [False, True]
    """
    if not column.null_count:
        return None
    first, last = column.offset, column.offset + len(column)
    bitmap = np.frombuffer(column.buffers()[0], np.uint8)[first // 8 : (last + 7) // 8]
    return np.unpackbits(bitmap, count=last - first // 8 * 8, bitorder="little")[first % 8 :].view(np.bool_)


def first_bytes(column: pa.Array) -> npt.NDArray[np.uint8]:
    """The first byte of each text of a column; 0 where a text is empty or missing.

    >>> first_bytes(pa.array(["941", None, "", "10"])).tolist()
    [57, 0, 0, 49]
    """
    offsets, data = _buffers(column)
    if not len(data):
        return np.zeros(len(column), np.uint8)
    begins = offsets[:-1] - offsets[0]
    bytes_: npt.NDArray[np.uint8] = data.take(begins, mode="clip")
    bytes_ *= offsets[1:] > offsets[:-1]
    present = valid_rows(column)
    if present is not None:
        bytes_ *= present
    return bytes_


@lru_cache(maxsize=16)
def even_offsets(rows: int, width: int) -> pa.Buffer:
    """Where texts of equal length begin; columns of one microflow have equally many."""
    return pa.py_buffer(np.arange(0, (rows + 1) * width, width, dtype=np.int32))
