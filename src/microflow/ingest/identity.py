"""No record twice: finds record ids that were seen before, in memory that stays small."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

__all__ = ["SeenIds"]


class SeenIds:
    """Remembers ids by 64-bit hashes in sorted runs: 8 bytes an id, 80 MB for ten million.

    Two different ids share a hash with a probability of n²/2⁶⁵, 3·10⁻⁶ for ten million.
    """

    #: Runs this many times longer than the next are left alone; others are merged, so that there are few.
    _GROWTH = 4

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.uint64]] = []

    def repeated(self, ids: pa.Array) -> npt.NDArray[np.int64]:
        """Positions of the ids that were seen before, here or in an earlier call; null is not an id."""
        hashes = pl.Series(ids).hash(seed=0).to_numpy()
        known = ~np.asarray(ids.is_null().to_numpy(zero_copy_only=False))
        unique, first = np.unique(hashes[known], return_index=True)
        new = np.zeros(int(known.sum()), np.bool_)
        new[first] = True
        for run in self._runs:
            at = np.searchsorted(run, hashes[known]).clip(max=len(run) - 1)
            new &= run[at] != hashes[known]
        self._remember(unique)
        return np.flatnonzero(known)[~new]

    def _remember(self, run: npt.NDArray[np.uint64]) -> None:
        if not len(run):
            return
        while self._runs and len(self._runs[-1]) < self._GROWTH * len(run):
            run = np.unique(np.concatenate([self._runs.pop(), run]))
        self._runs.append(run)
