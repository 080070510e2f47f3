"""Counts of distinct tuples of codes: a dense table while the domain is small, sorted keys when it is huge.

A tuple becomes one key: its codes side by side, each in as many bits as its column needs, in a 64-bit integer, or in
bytes when they need more. Memory grows with the tuples that occur (dense: with the domain, at most `DENSE_BITS`), never
with the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.anonymize.encode import Codes

__all__ = ["CellIndex", "Cells", "Cube", "Packing"]

#: Up to 4 M cells (32 MB) are counted in a table; a larger domain as sorted keys.
DENSE_BITS = 22
#: Keys that wait before they are sorted into the others.
_WAITING = 1 << 20

#: 64-bit integers, or fixed-width bytes.
Keys = npt.NDArray[Any]
Counts = npt.NDArray[np.int64]
#: Distinct tuples, one array a column, and the rows that have each.
Cells = tuple[list[Codes], Counts]


class Packing:
    """How tuples become keys when column ``i`` has codes 0 … ``sizes[i]`` (the last stands for unknown)."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.bits = [size.bit_length() for size in sizes]
        self.total = sum(self.bits)
        self._wide = self.total > np.iinfo(np.int64).bits - 1

    def pack(self, codes: Sequence[Codes]) -> Keys:
        """One key a tuple; equal keys for equal tuples, ordered as the tuples are."""
        if self._wide:
            columns = np.stack(codes, axis=1).astype(">u4")
            return np.ascontiguousarray(columns).view(f"S{4 * len(codes)}").ravel()
        keys = codes[0].astype(np.int64)
        for bits, column in zip(self.bits[1:], codes[1:], strict=True):
            keys <<= bits
            keys |= column
        return keys

    def unpack(self, keys: Keys) -> list[Codes]:
        """The tuples of some keys, one array a column."""
        if self._wide:
            return list(keys.view(">u4").reshape(len(keys), len(self.bits)).astype(np.int32).T.copy())
        rest = keys.astype(np.int64)
        codes: list[Codes] = []
        for bits in reversed(self.bits):
            codes.append((rest & ((1 << bits) - 1)).astype(np.int32))
            rest >>= bits
        return codes[::-1]

    def holds(self, sizes: Sequence[int]) -> bool:
        """Whether columns that have grown to these sizes still fit their bits."""
        return all(size.bit_length() <= bits for size, bits in zip(sizes, self.bits, strict=True))


class Cube:
    """Counts tuples. Columns may grow between calls: what was counted is then packed anew, each time a bit is added."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._start(sizes)

    def _start(self, sizes: Sequence[int]) -> None:
        self._packing = Packing(sizes)
        dense = self._packing.total <= DENSE_BITS
        self._table: Counts | None = np.zeros(1 << self._packing.total, np.int64) if dense else None
        self._keys: Keys = self._packing.pack([np.empty(0, np.int32)] * len(sizes))
        self._counts: Counts = np.empty(0, np.int64)
        self._waiting: list[tuple[Keys, Counts]] = []

    def add(self, codes: Sequence[Codes], sizes: Sequence[int], counts: Counts | None = None) -> None:
        """Count one tuple a row, or ``counts`` of each; ``sizes`` are the columns' sizes by now."""
        if not self._packing.holds(sizes):
            cells = self.cells()
            self._start(sizes)
            self._add(*cells)
        self._add(codes, np.ones(len(codes[0]), np.int64) if counts is None else counts)

    def _add(self, codes: Sequence[Codes], counts: Counts) -> None:
        keys = self._packing.pack(codes)
        if self._table is not None:
            np.add.at(self._table, keys, counts)
            return
        self._waiting.append((keys, counts))
        if sum(len(keys) for keys, _ in self._waiting) >= max(_WAITING, len(self._keys)):
            self._settle()

    def _settle(self) -> None:
        """Sort the waiting keys into the others."""
        waiting = [(self._keys, self._counts), *self._waiting]
        keys = np.concatenate([keys for keys, _ in waiting])
        counts = np.concatenate([counts for _, counts in waiting])
        self._keys, place = np.unique(keys, return_inverse=True)
        self._counts = np.bincount(place, counts, len(self._keys)).astype(np.int64)
        self._waiting = []

    def cells(self) -> Cells:
        """The tuples that occur, in ascending order, and their counts."""
        if self._table is not None:
            keys = np.flatnonzero(self._table)
            return self._packing.unpack(keys), self._table[keys]
        self._settle()
        return self._packing.unpack(self._keys), self._counts


class CellIndex:
    """Finds the class of a tuple once classes are decided; -1 for a tuple that has none."""

    def __init__(self, sizes: Sequence[int], codes: Sequence[Codes], classes: Codes) -> None:
        self._packing = Packing(sizes)
        keys = self._packing.pack(codes)
        self._table: Codes | None = None
        if self._packing.total <= DENSE_BITS:
            self._table = np.full(1 << self._packing.total, -1, np.int32)
            self._table[keys] = classes
        else:
            order = np.argsort(keys)
            self._keys, self._classes = keys[order], classes[order]

    def find(self, codes: Sequence[Codes]) -> Codes:
        """The class of each row."""
        keys = self._packing.pack(codes)
        if self._table is not None:
            return self._table.take(keys)
        if not len(self._keys):
            return np.full(len(keys), -1, np.int32)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._classes[place], np.int32(-1))
