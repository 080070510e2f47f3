"""What each possible cut would lose: the normalised certainty penalty of both of its sides.

For a column's order, a cut after position ``i`` leaves the segment's tuples up to ``i`` on the left and the others on
the right. Lowest and highest rank of both sides come from running extremes, numbers of different ranks from the first
and last position at which each rank occurs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microflow.anonymize.axes import Axis
from microflow.anonymize.segments import Index, Segments

__all__ = ["price_cuts"]

Floats = npt.NDArray[np.float64]
Ranks = npt.NDArray[np.integer]


def price_cuts(segments: Segments, axes: Sequence[Axis], column: int, last_left: Index) -> tuple[Floats, Floats]:
    """Loss of the left and of the right side, summed over the columns, for cuts after some positions of an order."""
    left, right = np.zeros(len(last_left)), np.zeros(len(last_left))
    for other, axis in enumerate(axes):
        sides = _counts if axis.counted else _extremes
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
    # Segment s is lifted by s · size, so that a running maximum starts anew in each.
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
    """How many different ranks of ``other`` are on both sides."""
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
