"""Multidimensional k-anonymity by Mondrian (LeFevre, DeWitt and Ramakrishnan, ICDE 2006) on weighted tuples.

Two phases, both for all partitions of a level at once (`Segments`):

1. *Halving*: as published: the column with the widest normalised span is cut at the value boundary nearest to the
   median, for as long as a partition holds more than `NEAR` · k rows (times the effort).
2. *Weighing*: near the leaves, where the loss is decided, every cut of every column is priced by the loss (normalised
   certainty penalty) of both sides, and the cheapest is taken. Lowest and highest ranks of both sides come from running
   extremes, numbers of different ranks from the first and last position at which each rank occurs.

Rows with equal quasi-identifiers never part, so that a row's class follows from its values alone, in any order, on any
worker. *Strict* cuts also keep equal values of the cut column together; *relaxed* ones may part tuples that are equal
there and differ elsewhere (phase 2 only: parting a popular value among large partitions makes both of them wide).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from microflow.anonymize.axes import Axis, Bag, Codes, Flags, Floats, Index, Ranks
from microflow.anonymize.diversity import Diversity

__all__ = ["NEAR", "Segments", "Tuples", "partition", "price_cuts"]

_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True)
class Tuples:
    """Distinct tuples: one array of ranks a column, and how many rows have each tuple."""

    ranks: Sequence[Codes]
    weights: Index

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class Segments:
    """Set of partitions: ``orders[c]`` lists the tuples sorted by (segment, rank of column c, other columns).

    Decision-tree builders keep one presorted list per attribute (SPRINT, Shafer et al., VLDB 1996); here every
    partition that is still to be cut is a segment ``starts[s]`` … ``starts[s+1]`` of all lists, so that one NumPy call
    works on all of them. A cut rearranges the lists in one stable pass; nothing is sorted again.
    """

    tuples: Tuples
    orders: Sequence[Index]
    starts: Index

    @classmethod
    def whole(cls, tuples: Tuples) -> Segments:
        """Single segment of all tuples."""
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
    def ranks(self) -> Sequence[Codes]:
        """Ranks of each column in its own order."""
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
        """Value of each segment, repeated for each of its positions."""
        return values.take(self.owner)

    def run_starts(self, column: int) -> Flags:
        """Flags of the positions with the first tuple of a rank in its segment."""
        ranks = self.ranks[column]
        first = np.empty(len(ranks), np.bool_)
        np.not_equal(ranks[1:], ranks[:-1], out=first[1:])
        first[self.starts[:-1]] = True
        return first

    def select(self, chosen: Flags) -> Segments:
        """Subset of the segments."""
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


def _parted(order: Index, left: Flags, places: Index) -> Index:
    """The order with its left tuples, then the others, each in turn at the next of some places."""
    parted = np.empty_like(order)
    parted[places] = np.concatenate([order.compress(left), order.compress(~left)])
    return parted


#: Partitions of at most this many times k rows are cut by weighing all cuts; so many times more with more effort.
NEAR = 16


@dataclass(frozen=True)
class _Cuts:
    """The best cut of every segment: column, place, and whether there is one at all."""

    columns: Index
    places: Index
    found: Flags


def partition(
    tuples: Tuples,
    axes: Sequence[Axis],
    k: int,
    *,
    strict: bool,
    near: int = NEAR,
    constraint: Diversity | None = None,
) -> Codes:
    """The class of each tuple (0, 1, …), such that every class holds at least ``k`` rows and obeys the constraint.

    All cuts are weighed from ``near`` times k rows downward. All classes are -1 where not even the whole can be one.
    """
    classes = np.full(len(tuples), -1, np.int32)
    search = _Search(tuples, axes, k, near, strict, constraint)
    done = 0
    for finished in search.run():
        classes[finished.orders[0]] = finished.owner + done
        done += len(finished)
    return classes


@dataclass(frozen=True)
class _Search:
    """Arguments of `partition`, and its two phases."""

    tuples: Tuples
    axes: Sequence[Axis]
    k: int
    near: int
    strict: bool
    constraint: Diversity | None

    def run(self) -> Iterator[Segments]:
        """Finished segments, level by level."""
        if not len(self.tuples) or int(self.tuples.weights.sum()) < self.k:
            return
        whole = Segments.whole(self.tuples)
        if self.constraint is not None and not self.constraint.allows(whole.orders[0], whole.owner, 1)[0]:
            return
        segments = Segments.joined(self.tuples, self._halve(whole))
        while len(segments):
            large = segments.totals >= 2 * self.k
            yield segments.select(~large)
            segments = segments.select(large)
            cuts = self._choose(segments, [self._cheapest(segments, c) for c in range(len(self.axes))])
            yield segments.select(~cuts.found)
            segments = _apply(segments, cuts)

    def _halve(self, segments: Segments) -> list[Segments]:
        """Cut until every part is near the leaves or has no boundary left that both sides can afford."""
        near: list[Segments] = []
        while len(segments):
            far = segments.totals > self.near * self.k
            near.append(segments.select(~far))
            segments = segments.select(far)
            if not len(segments):
                break
            cuts = self._choose(segments, [self._median(segments, c) for c in range(len(self.axes))])
            near.append(segments.select(~cuts.found))
            segments = _apply(segments, cuts)
        return near

    def _choose(self, segments: Segments, offers: Sequence[tuple[Index, Floats]]) -> _Cuts:
        """The cheapest offer of all columns that the constraint allows."""
        places = np.stack([place for place, _ in offers])
        prices = np.stack([price for _, price in offers])
        if self.constraint is not None:
            for column, place in enumerate(places):
                prices[column][~self._both_allowed(segments, column, place)] = np.inf
        columns = np.argmin(prices, axis=0)
        each = np.arange(len(segments))
        return _Cuts(columns, places[columns, each], np.isfinite(prices[columns, each]))

    def _both_allowed(self, segments: Segments, column: int, places: Index) -> Flags:
        assert self.constraint is not None
        right = np.arange(len(segments.owner)) >= segments.per_position(places)
        allowed = self.constraint.allows(segments.orders[column], 2 * segments.owner + right, 2 * len(segments))
        return allowed[::2] & allowed[1::2]

    def _median(self, segments: Segments, column: int) -> tuple[Index, Floats]:
        """Phase 1: per segment the boundary nearest to half its rows, priced so that the widest column is cheapest."""
        boundary = np.flatnonzero(segments.run_starts(column))
        owner = segments.owner.take(boundary)
        running = segments.running(column)
        rows = running.take(boundary) - running.take(segments.starts[:-1]).take(owner)  # left of each boundary
        others = segments.totals.take(owner) - rows
        far_off = np.abs(rows - others).astype(np.float64)
        far_off[np.minimum(rows, others) < self.k] = np.inf
        axis = self.axes[column]
        ranks = segments.ranks[column]
        low, high = ranks[segments.starts[:-1]], ranks[segments.starts[1:] - 1]
        span = axis.loss(low, high, np.bincount(owner, minlength=len(segments)))
        place, distance = _first_lowest(far_off, owner, len(segments))
        return boundary[place], np.where(np.isfinite(distance), -span, np.inf)

    def _cheapest(self, segments: Segments, column: int) -> tuple[Index, Floats]:
        """Phase 2: per segment the cut with the least loss of both sides."""
        left = segments.before(column)
        right = segments.per_position(segments.totals) - left
        legal = (left >= self.k) & (right >= self.k)
        if self.strict:
            legal[:-1] &= segments.run_starts(column)[1:]
        last_left = np.flatnonzero(legal)
        owner = segments.owner.take(last_left)
        loss_left, loss_right = price_cuts(segments, self.axes, column, last_left)
        prices = left.take(last_left) * loss_left + right.take(last_left) * loss_right
        place, price = _first_lowest(prices, owner, len(segments))
        return (last_left[place] if len(last_left) else place) + 1, price


def _apply(segments: Segments, cuts: _Cuts) -> Segments:
    found = cuts.found
    chosen = segments.select(found)
    shift = chosen.starts[:-1] - segments.starts[:-1][found]
    return chosen.cut(cuts.columns[found], cuts.places[found] + shift)


def _first_lowest(prices: Floats, owner: Index, count: int) -> tuple[Index, Floats]:
    """Per segment the index of its first lowest price and that price; 0 and infinity where it has none."""
    index, lowest = np.zeros(count, np.int64), np.full(count, np.inf)
    if not len(prices):
        return index, lowest
    heads = np.flatnonzero(np.concatenate([[True], owner[1:] != owner[:-1]]))
    present = owner[heads]
    lowest[present] = np.minimum.reduceat(prices, heads)
    hits = np.flatnonzero(prices == lowest.take(owner))
    index[owner.take(hits[::-1])] = hits[::-1]  # the first of several is written last
    return index, lowest


def price_cuts(segments: Segments, axes: Sequence[Axis], column: int, last_left: Index) -> tuple[Floats, Floats]:
    """Loss of the left and of the right side, summed over the columns, for cuts after some positions of an order."""
    left, right = np.zeros(len(last_left)), np.zeros(len(last_left))
    for other, axis in enumerate(axes):
        sides = _counts if isinstance(axis, Bag) else _extremes
        before, behind = sides(segments, axis, column, other, last_left)
        left += axis.loss(*before)
        right += axis.loss(*behind)
    return left, right


_Sides = tuple[tuple[Ranks, Ranks, Ranks], tuple[Ranks, Ranks, Ranks]]


def _extremes(segments: Segments, axis: Axis, column: int, other: int, last_left: Index) -> _Sides:
    """Lowest and highest rank of ``other`` on both sides."""
    starts, ends = segments.starts[:-1], segments.starts[1:] - 1
    first = last_left + 1
    if column == other:
        ranks, owner = segments.ranks[column], segments.owner.take(last_left)
        before = ranks.take(starts).take(owner), ranks.take(last_left)
        behind = ranks.take(first), ranks.take(ends).take(owner)
        return (*before, before[0]), (*behind, behind[0])
    # Segment s is lifted by s · size, so that a running maximum starts again in each.
    ranks = segments.tuples.ranks[other].take(segments.orders[column])
    lift = segments.owner * axis.size
    above, below = lift + ranks, lift - ranks
    here = lift.take(last_left)  # both sides of a cut lie in one segment and are lifted alike
    low = here - np.maximum.accumulate(below).take(last_left)
    high = np.maximum.accumulate(above).take(last_left) - here
    low_behind = np.minimum.accumulate(above[::-1])[::-1].take(first) - here
    high_behind = here - np.minimum.accumulate(below[::-1])[::-1].take(first)
    return (low, high, low), (low_behind, high_behind, low_behind)


def _counts(segments: Segments, axis: Axis, column: int, other: int, last_left: Index) -> _Sides:  # noqa: ARG001
    """Number of different ranks of ``other`` on both sides."""
    order = segments.orders[column]
    place = np.empty(len(segments.tuples), np.int64)
    place[order] = np.arange(len(order))
    runs = np.flatnonzero(segments.run_starts(other))
    places = place.take(segments.orders[other])
    entered = _running_count(np.minimum.reduceat(places, runs), len(order))
    left_behind = _running_count(np.maximum.reduceat(places, runs), len(order))
    owner = segments.owner.take(last_left)
    begin = (entered.take(segments.starts[:-1]) - 1).take(owner)  # each segment begins with a rank of its own
    end = entered.take(segments.starts[1:] - 1).take(owner)
    before = (entered.take(last_left) - begin).astype(np.int32)
    behind = (end - left_behind.take(last_left)).astype(np.int32)
    return (before, before, before), (behind, behind, behind)


def _running_count(places: Index, count: int) -> Index:
    """For each of ``count`` positions how many of some different places are not behind it."""
    here = np.zeros(count, np.bool_)
    here[places] = True
    return np.cumsum(here)
