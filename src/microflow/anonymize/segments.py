"""Many partitions at once: tuples kept sorted by every column inside contiguous segments.

Decision-tree builders keep one presorted list per attribute (SPRINT, Shafer et al., VLDB 1996); here every partition
that is still to be cut is a segment ``starts[s]`` … ``starts[s+1]`` of all lists, so that one NumPy call works on all
of them. A cut rearranges the lists in one stable pass; nothing is sorted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Index", "Segments", "Tuples"]

Index = npt.NDArray[np.int64]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Tuples:
    """Distinct tuples: one array of ranks a column, and how many rows have each tuple."""

    ranks: Sequence[npt.NDArray[np.int32]]
    weights: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class Segments:
    """``orders[c]`` lists the tuples of all segments sorted by (segment, rank of column c, other columns)."""

    tuples: Tuples
    orders: Sequence[Index]
    starts: Index

    @classmethod
    def whole(cls, tuples: Tuples) -> Segments:
        """One segment of everything."""
        # NumPy sorts short integers by radix, and other ones many times slower.
        ranks = [ranks.astype(np.min_scalar_type(ranks.max(initial=0))) for ranks in tuples.ranks]
        count = len(ranks)
        orders = [np.lexsort([ranks[(c + shift) % count] for shift in reversed(range(count))]) for c in range(count)]
        return cls(tuples, orders, np.asarray([0, len(tuples)]))

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def owner(self) -> Index:
        """The segment of each position."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @cached_property
    def totals(self) -> Index:
        """The rows of each segment."""
        if not len(self):
            return self.starts[:0]
        return np.asarray(np.add.reduceat(self.tuples.weights[self.orders[0]], self.starts[:-1]), np.int64)

    @cached_property
    def ranks(self) -> Sequence[npt.NDArray[np.int32]]:
        """For each column its ranks in its own order."""
        return [ranks.take(order) for ranks, order in zip(self.tuples.ranks, self.orders, strict=True)]

    def running(self, column: int) -> Index:
        """Rows of all segments before each position of a column's order, and behind the last."""
        rows = np.zeros(len(self.owner) + 1, np.int64)
        np.cumsum(self.tuples.weights.take(self.orders[column]), out=rows[1:])
        return rows

    def before(self, column: int) -> Index:
        """Rows of the same segment at or before each position of a column's order."""
        running = self.running(column)
        rows: Index = running[1:] - self.per_position(running.take(self.starts[:-1]))
        return rows

    def per_position(self, values: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        """One value a segment, repeated for each of its positions."""
        return values.take(self.owner)

    def run_starts(self, column: int) -> npt.NDArray[np.bool_]:
        """Whether a position holds the first tuple of a rank in its segment."""
        ranks = self.ranks[column]
        first = np.empty(len(ranks), np.bool_)
        np.not_equal(ranks[1:], ranks[:-1], out=first[1:])
        first[self.starts[:-1]] = True
        return first

    def select(self, chosen: npt.NDArray[np.bool_]) -> Segments:
        """Only some of the segments."""
        if chosen.all():
            return self
        keep = np.flatnonzero(self.per_position(chosen))
        starts = np.concatenate([[0], np.cumsum(np.diff(self.starts)[chosen])])
        return Segments(self.tuples, [order.take(keep) for order in self.orders], starts)

    def cut(self, columns: Index, places: Index) -> Segments:
        """Cut segment ``s`` in two before position ``places[s]`` of the order of column ``columns[s]``."""
        left = np.zeros(len(self.tuples), np.bool_)
        # A segment's left tuples are equally many in every order, so they move to the same places in all of them.
        front = np.arange(len(self.owner)) < self.per_position(places)
        cut_by = self.per_position(columns)
        for column, order in enumerate(self.orders):
            left[order.compress(front & (cut_by == column))] = True
        places_of = np.concatenate([np.flatnonzero(front), np.flatnonzero(~front)])
        starts = np.sort(np.concatenate([self.starts, places]))
        return Segments(self.tuples, [_parted(order, left.take(order), places_of) for order in self.orders], starts)

    @staticmethod
    def joined(tuples: Tuples, parts: Sequence[Segments]) -> Segments:
        """All segments of several, in order."""
        orders = [np.concatenate([part.orders[c] for part in parts]) for c in range(len(tuples.ranks))]
        lengths = np.concatenate([np.diff(part.starts) for part in parts])
        return Segments(tuples, orders, np.concatenate([[0], np.cumsum(lengths)]))


def _parted(order: Index, left: npt.NDArray[np.bool_], places: Index) -> Index:
    """The order with its left tuples, then the others, each in turn at the next of some places."""
    parted = np.empty_like(order)
    parted[places] = np.concatenate([order.compress(left), order.compress(~left)])
    return parted
