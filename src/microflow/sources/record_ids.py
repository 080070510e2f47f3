"""No record twice: finds record ids that were seen before, in memory that stays small."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

__all__ = ["Digest", "SeenIds", "digest"]

_Hashes = npt.NDArray[np.uint64]
_Numbers = npt.NDArray[np.int64]
_Flags = npt.NDArray[np.bool_]
#: Ids of one split: int64 where they are whole numbers, uint64 where they are hashes of anything else.
Digest = npt.NDArray[np.int64] | npt.NDArray[np.uint64]
#: Numbers are kept as ranges where these are this many times fewer, or so few that they hardly count: the last rows of
#: a split would else be hashes, and every number behind them would be hashed to be compared with them.
_FEWER, _FEW = 16, 4
#: Runs of hashes this many times longer than the next are left alone; others are merged, so that there are few.
_GROWTH = 4


def digest(ids: pa.Array) -> Digest:
    """The ids that are there as whole numbers (int64), others as hashes (uint64): what `SeenIds` compares."""
    present = ids.drop_null() if ids.null_count else ids
    if pa.types.is_integer(present.type):
        numbers: npt.NDArray[np.int64] = present.to_numpy().astype(np.int64, copy=False)
        return numbers
    return _hashed(present)


class SeenIds:
    """Keeps numbers that follow each other as ranges, in little memory, and all other ids as a hash.

    Hashes have 64 bits: 8 bytes an id, and two different ones share a hash with a probability of n²/2⁶⁵, 3·10⁻⁶ for
    ten million.
    """

    def __init__(self) -> None:
        #: First and last members of disjoint ranges of whole numbers, ascending.
        self._lows = self._highs = np.empty(0, np.int64)
        #: Hashes in sorted runs.
        self._runs: list[_Hashes] = []

    def repeated(self, ids: pa.Array) -> _Numbers:
        """Positions of the ids that were seen before, here or in an earlier call; null is not an id."""
        again = np.flatnonzero(self.seen(digest(ids)))
        return np.flatnonzero(ids.is_valid().to_numpy(zero_copy_only=False))[again] if ids.null_count else again

    def seen(self, digested: Digest) -> _Flags:
        """Flags of the ids (`digest`) that were seen before, here or in an earlier call."""
        if digested.dtype == np.uint64:
            hashes = digested.view(np.uint64)
            new = _firsts(hashes) & ~self._in_runs(hashes)
            self._add_run(hashes[new])
            return ~new
        numbers = digested.view(np.int64)
        new = _firsts(numbers) & ~self._in_ranges(numbers)
        if self._runs:
            new &= ~self._in_runs(_hashed(pa.array(numbers)))
        fresh = numbers if new.all() else numbers[new]
        fresh = fresh if _is_ascending(fresh) else np.sort(fresh)
        if len(fresh) and 1 + len(_gaps(fresh)) <= max(len(fresh) // _FEWER, _FEW):
            self._add_ranges(fresh)
        elif len(fresh):
            self._add_run(_hashed(pa.array(fresh)))
        return ~new

    def _in_ranges(self, numbers: _Numbers) -> _Flags:
        if not len(self._lows):
            return np.zeros(len(numbers), np.bool_)
        at = np.searchsorted(self._lows, numbers, side="right") - 1
        held: _Flags = (at >= 0) & (numbers <= self._highs[at])
        return held

    def _add_ranges(self, fresh: _Numbers) -> None:
        """Numbers that are in no range yet, ascending."""
        gaps = _gaps(fresh)
        lows = np.concatenate([self._lows, fresh[:1], fresh[gaps + 1]])
        highs = np.concatenate([self._highs, fresh[gaps], fresh[-1:]])
        order = np.argsort(lows)
        lows, highs = lows[order], highs[order]
        apart = lows[1:] != highs[:-1] + 1  # neighbours become one
        self._lows = lows[np.concatenate([[True], apart])]
        self._highs = highs[np.concatenate([apart, [True]])]

    def _in_runs(self, hashes: _Hashes) -> _Flags:
        held = np.zeros(len(hashes), np.bool_)
        for run in self._runs:
            held |= run[np.searchsorted(run, hashes).clip(max=len(run) - 1)] == hashes
        return held

    def _add_run(self, hashes: _Hashes) -> None:
        if not len(hashes):
            return
        run = np.sort(hashes)
        while self._runs and len(self._runs[-1]) < _GROWTH * len(run):
            run = np.concatenate([self._runs.pop(), run])
            run.sort()
        self._runs.append(run)


def _gaps(ascending: _Numbers) -> _Numbers:
    """Places before a number that is not the next whole one (no difference is taken: it may not fit)."""
    return np.flatnonzero(ascending[1:] != ascending[:-1] + 1)


def _hashed(ids: pa.Array) -> _Hashes:
    return pl.Series(ids).hash(seed=0).to_numpy()


def _firsts(values: _Numbers | _Hashes) -> _Flags:
    """Flags of values that are the first of their kind."""
    if not _is_ascending(values):
        ordered = np.sort(values)
        if (ordered[1:] == ordered[:-1]).any():
            firsts = np.zeros(len(values), np.bool_)
            firsts[np.unique(values, return_index=True)[1]] = True
            return firsts
    return np.ones(len(values), np.bool_)  # nearly always


def _is_ascending(values: _Numbers | _Hashes) -> bool:
    return bool((values[1:] > values[:-1]).all())
