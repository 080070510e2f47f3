"""No record twice: finds record ids that were seen before, in memory that stays small."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

__all__ = ["SeenIds"]

Hashes = npt.NDArray[np.uint64]


class SeenIds:
    """Remembers ids by 64-bit hashes in sorted runs: 8 bytes an id, 80 MB for ten million.

    Two different ids share a hash with a probability of n²/2⁶⁵, 3·10⁻⁶ for ten million.
    """

    #: Runs this many times longer than the next are left alone; others are merged, so that there are few.
    _GROWTH = 4

    def __init__(self) -> None:
        self._runs: list[Hashes] = []

    def repeated(self, ids: pa.Array) -> npt.NDArray[np.int64]:
        """Positions of the ids that were seen before, here or in an earlier call; null is not an id."""
        hashes = pl.Series(ids).hash(seed=0).to_numpy()
        known = np.asarray(ids.is_valid().to_numpy(zero_copy_only=False))
        ordered = np.sort(hashes[known])
        if not _has_doubles(ordered) and not any(_are_in(ordered, run).any() for run in self._runs):
            self._remember(ordered)
            return np.empty(0, np.int64)
        return self._repeated(hashes[known], np.flatnonzero(known))

    def _repeated(self, hashes: Hashes, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        unique, first = np.unique(hashes, return_index=True)
        new = np.zeros(len(hashes), np.bool_)
        new[first] = True
        for run in self._runs:
            new &= ~_are_in(hashes, run)
        self._remember(unique)
        return positions[~new]

    def _remember(self, run: Hashes) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) < self._GROWTH * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        self._runs.append(run)


def _has_doubles(ordered: Hashes) -> bool:
    return bool((ordered[1:] == ordered[:-1]).any())


def _are_in(hashes: Hashes, run: Hashes) -> npt.NDArray[np.bool_]:
    found: npt.NDArray[np.bool_] = run[np.searchsorted(run, hashes).clip(max=len(run) - 1)] == hashes
    return found
