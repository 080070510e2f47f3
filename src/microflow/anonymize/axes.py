"""Axis of a quasi-identifier: the order of its values, the loss of a group of them, and its label.

The observed values of a column are numbered 0 … size-1, its *ranks*, so that a group is a run of ranks. A missing value
has rank 0 and the others follow, except in a `Bag`, where it is one of the values. *Loss* is the normalised certainty
penalty of one column (Xu et al., KDD 2006):
0 for a single value, 1 for the whole domain. Three kinds of axis:

- `Scale`: numbers and ordered text. A run from low to high loses its share of the whole length.
- `Ladder`: a hierarchy of prefixes or named groups. A run is written as its lowest common ancestor and loses that
  node's share of the leaves.
- `Bag`: categories without order. A group is written as the set of its values and loses the share it names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microflow.anonymize.generalise import exact_label, prefix_label, set_label
from microflow.schema import Hierarchy

__all__ = [
    "Axis", "Bag", "Codes", "Flags", "Floats", "Index", "Ladder", "Ranks", "Scale", "Tree",
    "prefix_paths", "tree_paths",
]  # fmt: skip

#: The arrays of this room.
Codes = npt.NDArray[np.int32]
Index = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Tree:
    """A hierarchy over the ranks of one column; each node's leaves are neighbours.

    ``nodes[d, r]`` is the node of rank ``r`` at depth ``d`` (0 is the root, the last depth holds the leaves), and
    ``first``, ``last``, ``parent`` and ``loss`` describe each node: its lowest and highest rank, the node above it
    (-1 for the root), and its normalised certainty penalty.
    """

    nodes: Index
    first: Index
    last: Index
    parent: Index
    loss: Floats


class Scale:
    """Axis of numbers: ``lower`` and ``upper`` are the ends of each value's own cell, ascending, without the null.

    Every axis has a ``size`` (how many ranks there are), a ``tree`` where it is a hierarchy, and says whether it is
    ``counted``: whether a loss depends on how many different ranks a group has, not on its lowest and highest.
    """

    counted = False
    tree = None

    def __init__(self, lower: Floats, upper: Floats, write: Callable[[int, int], str]) -> None:
        self.size = len(lower) + 1
        self._lower = np.concatenate([[0.0], lower])
        self._upper = np.concatenate([[0.0], upper])
        self._length = float(upper[-1] - lower[0]) or 1.0 if len(lower) else 1.0
        self._write = write

    def loss(self, low: Ranks, high: Ranks, count: Ranks) -> Floats:  # noqa: ARG002 - the protocol's signature
        """The loss in [0, 1] of groups with these lowest and highest ranks and numbers of different ranks."""
        length = (self._upper[high] - self._lower[low]) / self._length
        # A label that also covers a missing value says nearly nothing; pricing it as the whole keeps nulls apart.
        return np.where(low > 0, length, np.where(high > 0, 1.0, 0.0))

    def widened(self, low: Ranks, high: Ranks) -> tuple[Ranks, Ranks]:
        """The lowest and highest rank that the labels of some runs cover anyway."""
        return low, high

    def label(self, ranks: Sequence[int]) -> str | None:
        """The text that covers the group: its lowest and highest rank, or for a counted axis all of them, ascending.

        In a run rank 0 stands first where a value is missing; a group of missing values only is ``None``.
        """
        return _label_with_missing(ranks, self._write)


class Ladder:
    """Axis of a hierarchy: ``paths`` from the root to each value, sorted so that each node's leaves are neighbours.

    A node loses its share of the leaves, or of the length between the smallest and the largest of ``numbers`` (one a
    path) where the values are numbers.
    """

    counted = False

    def __init__(self, paths: Sequence[tuple[str, ...]], numbers: Sequence[float] = ()) -> None:
        self.size = len(paths) + 1
        self._paths = paths
        depth = max((len(path) for path in paths), default=1)
        levels = [self._nodes_at(level) for level in range(depth)]
        #: By level and rank: the lowest and the highest rank below the node that the rank is under.
        self._first = [np.searchsorted(nodes, nodes) for nodes in levels]
        self._last = [np.searchsorted(nodes, nodes, side="right") - 1 for nodes in levels]
        widths = [self._widths(*ends, numbers) for ends in zip(self._first, self._last, strict=True)]
        #: What the lowest common node loses, by the number of nodes that a run has in common and its lowest rank.
        self._losses = np.concatenate([np.ones(self.size), *widths])
        self._levels = levels

    def _nodes_at(self, level: int) -> Ranks:
        """For each rank the number of the node it is under at a level; the null is under none of the others'."""
        known: dict[tuple[str, ...], int] = {}
        nodes = [known.setdefault(path[: level + 1], len(known) + 1) for path in self._paths]
        return np.asarray([0, *nodes], np.int32)

    def _widths(self, first: Ranks, last: Ranks, numbers: Sequence[float]) -> Floats:
        """The loss of the node above each rank."""
        if not len(numbers):
            return np.asarray((last - first) / max(1, len(self._paths) - 1))
        values = np.asarray([numbers[0], *numbers])  # the null loses nothing by itself
        heads, node = np.unique(first, return_inverse=True)
        extent = np.maximum.reduceat(values, heads) - np.minimum.reduceat(values, heads)
        return np.asarray(extent[node] / (values.max() - values.min() or 1.0))

    @property
    def tree(self) -> Tree:
        """The hierarchy with a root over everything, the null included; nodes that hold the same leaves are one."""
        spans = [(np.zeros(self.size, np.int64), np.full(self.size, self.size - 1))]
        spans += list(zip(self._first, self._last, strict=True))
        spans.append((np.arange(self.size),) * 2)
        known: dict[tuple[int, int], int] = {}
        loss: list[float] = []
        parent: list[int] = []
        nodes = np.empty((len(spans), self.size), np.int64)
        for depth, (first, last) in enumerate(spans):
            for rank, span in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
                if span not in known:
                    known[span] = len(known)
                    level = min(depth, len(spans) - 2)
                    loss.append(1.0 if depth == 0 else float(self._losses[level * self.size + rank]))
                    parent.append(-1 if depth == 0 else int(nodes[depth - 1, rank]))
                nodes[depth, rank] = known[span]
        bounds = np.asarray(list(known), np.int64)
        return Tree(_distinct_depths(nodes), bounds[:, 0], bounds[:, 1], np.asarray(parent), np.asarray(loss))

    def loss(self, low: Ranks, high: Ranks, count: Ranks) -> Floats:  # noqa: ARG002 - the protocol's signature
        common = np.zeros(len(low), np.int64)
        for last in self._last:
            common += high <= last.take(low)
        return self._losses.take(common * self.size + low)

    def widened(self, low: Ranks, high: Ranks) -> tuple[Ranks, Ranks]:
        first, last = low, high
        for start, end in zip(self._first, self._last, strict=True):
            together = high <= end[low]
            first, last = np.where(together, start[low], first), np.where(together, end[low], last)
        return first, last

    def label(self, ranks: Sequence[int]) -> str | None:
        return _label_with_missing(ranks, self._common)

    def _common(self, low: int, high: int) -> str:
        first, last = self._paths[low - 1], self._paths[high - 1]
        shared = [a for a, b in zip(first, last, strict=False) if a == b]
        return shared[-1]


def _distinct_depths(nodes: Index) -> Index:
    """Without depths that group the values as the one above does: each would multiply the lattice."""
    groups = [len(np.unique(depth[1:])) for depth in nodes]
    finer = [depth for depth in range(1, len(nodes)) if groups[depth] > groups[depth - 1]]
    # The missing value has a node of its own at the last depth only.
    return nodes[[0, *finer[:-1], len(nodes) - 1]]


class Bag:
    """Axis of categories without order; ``values`` by rank, a missing value among them."""

    counted = True
    tree = None

    def __init__(self, values: Sequence[str | None]) -> None:
        self.size = len(values)
        self._values = values

    def loss(self, low: Ranks, high: Ranks, count: Ranks) -> Floats:  # noqa: ARG002 - the protocol's signature
        return (count - 1) / max(1, self.size - 1)

    def widened(self, low: Ranks, high: Ranks) -> tuple[Ranks, Ranks]:
        return low, high

    def label(self, ranks: Sequence[int]) -> str | None:
        values = [self._values[rank] for rank in ranks]
        names = sorted(value for value in values if value is not None)
        return set_label(map(exact_label, names), missing=None in values) if names else None


#: One quasi-identifier, as the partitioner sees it.
Axis = Scale | Ladder | Bag


def _label_with_missing(ranks: Sequence[int], write: Callable[[int, int], str]) -> str | None:
    known = [rank for rank in ranks if rank > 0]
    return set_label([write(known[0], known[-1])], missing=ranks[0] == 0) if known else None


def prefix_paths(values: Sequence[str], lengths: tuple[int, ...]) -> list[tuple[str, ...]]:
    """Paths of values by prefixes of the given lengths: labels from shortest to longest, then the value; one root.

    >>> prefix_paths(["94110", "941"], (5, 3))
    [('*****', '941**', '94110'), ('*****', '941**', '941')]
    """
    longest = max(lengths, default=0)
    kept = sorted({0, *lengths})
    # A shorter value than others ("941" beside "94110") is also the prefix that covers them both: "941**".
    return [
        (*(prefix_label(value[:n], longest) for n in kept if n <= min(len(value), longest - 1)), exact_label(value))
        for value in values
    ]


def tree_paths(values: Sequence[str], hierarchy: Hierarchy) -> list[tuple[str, ...]]:
    """Paths of values in a tree, from ``*`` downward to the value; an unknown value is directly under ``*``.

    >>> tree_paths(["FR"], Hierarchy(parents={"FR": "West", "West": "EU"}))
    [('*', 'EU', 'West', 'FR')]
    """
    return [("*", *(exact_label(node) for node in reversed(hierarchy.path(value)))) for value in values]
