"""The axis of a quasi-identifier: its values as codes, their order, what a group of them loses, how it is written.

A *coder* numbers the values of a column as it meets them: code 0 is the missing value, codes 1 … size-1 are values or
cells, and ``size`` itself stands for a value that was never learned. A numeric column with public bounds is a grid: one
cell per integer where at most `CELLS` fit, else cells of a round width, and one cell each for everything below and
above. Every other column is a dictionary that grows.

Once all are known, the observed values are put in order and numbered 0 … size-1, their *ranks*, so that a group is a
run of ranks. A missing value has rank 0 and the others follow, except in a `Bag`, where it is one of the values. *Loss*
is the normalised certainty penalty of one column (Xu et al., KDD 2006): 0 for a single value, 1 for the whole domain.
There are three kinds of axis:

- `Scale`: numbers and ordered text. A run from low to high loses its share of the whole length.
- `Ladder`: a hierarchy of prefixes or named groups. A run is written as its lowest common ancestor and loses that
  node's share of the leaves.
- `Bag`: categories without order. A group is written as the set of its values and loses the share it names.

A stream has the same three kinds, over values of which not all are known (`microflow.anonymize.castle_space`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.generalise import (
    exact_label,
    name_of,
    number_label,
    prefix_label,
    set_label,
    text_order,
    text_range_label,
    values_label,
)  # fmt: skip
from microflow.schema import Column, Dtype, Hierarchy

__all__ = [
    "CELLS", "Axis", "Bag", "Coder", "Codes", "DictionaryCoder", "Flags", "Floats", "GridCoder", "Index", "Ladder",
    "Ranks", "Scale", "Tree", "coder_for", "path_of",
]  # fmt: skip

#: The arrays of this room.
Codes = npt.NDArray[np.int32]
Index = npt.NDArray[np.int64]
Ranks = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def path_of(name: str, hierarchy: Hierarchy) -> tuple[str, ...]:
    """The labels from the root of a hierarchy down to a value. A value that a tree does not know hangs on ``*``.

    >>> path_of("94110", Hierarchy(prefix=(5, 3))), path_of("941", Hierarchy(prefix=(5, 3)))
    (('*****', '941**', '94110'), ('*****', '941**', '941'))
    >>> path_of("FR", Hierarchy(parents={"FR": "West", "West": "EU"}))
    ('*', 'EU', 'West', 'FR')
    """
    if not hierarchy.prefix:
        return ("*", *(exact_label(node) for node in reversed(hierarchy.path(name))))
    longest = max(hierarchy.prefix)
    # A shorter value than others ("941" beside "94110") is also the prefix that covers them both: "941**".
    kept = [n for n in sorted({0, *hierarchy.prefix}) if n <= max(0, min(len(name), longest - 1))]
    return (*(prefix_label(name[:n], longest) for n in kept), exact_label(name))


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


class _Runs:
    """An axis of ``size`` ranks whose groups are runs; ``write`` gives the text from one rank to another."""

    def __init__(self, size: int, write: Callable[[int, int], str]) -> None:
        self.size = size
        self._write = write

    def widened(self, low: Ranks, high: Ranks) -> tuple[Ranks, Ranks]:
        """The lowest and highest rank that the labels of some runs cover anyway."""
        return low, high

    def label(self, ranks: Sequence[int]) -> str | None:
        """The text that covers a run; rank 0 stands first where a value is missing, ``None`` is missing values only."""
        known = [rank for rank in ranks if rank > 0]
        return set_label([self._write(known[0], known[-1])], missing=ranks[0] == 0) if known else None


class Scale(_Runs):
    """Values on a line: ``lower`` and ``upper`` are the ends of each value's own cell, ascending, without the null."""

    def __init__(self, lower: Floats, upper: Floats, write: Callable[[int, int], str]) -> None:
        super().__init__(len(lower) + 1, write)
        self._lower = np.concatenate([[0.0], lower])
        self._upper = np.concatenate([[0.0], upper])
        self._length = float(upper[-1] - lower[0]) or 1.0 if len(lower) else 1.0

    def loss(self, low: Ranks, high: Ranks, count: Ranks) -> Floats:  # noqa: ARG002 - the protocol's signature
        """The loss in [0, 1] of groups with these lowest and highest ranks and numbers of different ranks."""
        length = (self._upper[high] - self._lower[low]) / self._length
        # A label that also covers a missing value says nearly nothing; pricing it as the whole keeps nulls apart.
        return np.where(low > 0, length, np.where(high > 0, 1.0, 0.0))


class Ladder(_Runs):
    """A hierarchy: ``paths`` from the root to each value's label, sorted so that each node's leaves are neighbours.

    A node loses its share of the leaves, or of the length between the smallest and the largest of ``numbers`` (one a
    path) where the values are numbers.
    """

    def __init__(self, paths: Sequence[tuple[str, ...]], numbers: Sequence[float] = ()) -> None:
        super().__init__(len(paths) + 1, self._common)
        self._paths = paths
        levels = [self._nodes_at(level) for level in range(max((len(path) for path in paths), default=1))]
        #: By level and rank: the lowest and the highest rank below the node that the rank is under.
        self._first = [np.searchsorted(nodes, nodes) for nodes in levels]
        self._last = [np.searchsorted(nodes, nodes, side="right") - 1 for nodes in levels]
        widths = [self._widths(*ends, numbers) for ends in zip(self._first, self._last, strict=True)]
        #: What the lowest common node loses, by the number of nodes that a run has in common and its lowest rank.
        self._losses = np.concatenate([np.ones(self.size), *widths])

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
        # Without depths that group the values as the one above does: each would multiply the lattice.
        groups = [len(np.unique(depth[1:])) for depth in nodes]
        finer = [depth for depth in range(1, len(nodes)) if groups[depth] > groups[depth - 1]]
        # The missing value has a node of its own at the last depth only.
        nodes = nodes[[0, *finer[:-1], len(nodes) - 1]]
        bounds = np.asarray(list(known), np.int64)
        return Tree(nodes, bounds[:, 0], bounds[:, 1], np.asarray(parent), np.asarray(loss))

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

    def _common(self, low: int, high: int) -> str:
        first, last = self._paths[low - 1], self._paths[high - 1]
        return [a for a, b in zip(first, last, strict=False) if a == b][-1]


class Bag:
    """Categories without order; ``values`` by rank, a missing value among them. A group is all ranks it has."""

    def __init__(self, values: Sequence[str | None]) -> None:
        self.size = len(values)
        self._values = values

    def loss(self, low: Ranks, high: Ranks, count: Ranks) -> Floats:  # noqa: ARG002 - the protocol's signature
        return (count - 1) / max(1, self.size - 1)

    def label(self, ranks: Sequence[int]) -> str | None:
        values = [self._values[rank] for rank in ranks]
        return values_label((value for value in values if value is not None), missing=None in values)


#: One quasi-identifier, as the partitioner sees it.
Axis = Scale | Ladder | Bag

#: The most cells a numeric column is cut into between its public bounds.
CELLS = 1_000
#: Up to here Arrow's hash of the whole dictionary is rebuilt faster than Python looks up a microflow's values.
_SMALL = 4_096
_TIMES = (Dtype.DATE, Dtype.TIME, Dtype.TIMESTAMP)


def coder_for(column: Column) -> Coder:
    """The coder that fits a described column."""
    is_grid = column.bounds is not None and column.hierarchy is None
    return GridCoder(column) if is_grid else DictionaryCoder(column)


class GridCoder:
    """A number with public bounds: codes are 1 for below, then the cells upward, then one for above."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._whole = column.dtype is Dtype.INTEGER
        self._step, self._edges = _grid(column)
        self.size = len(self._edges) + 2

    def learn(self, values: pa.Array) -> Codes:
        return self.find(values)

    def find(self, values: pa.Array) -> Codes:
        missing = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
        numbers = (values.fill_null(0) if values.null_count else values).to_numpy()
        if not self._whole:
            absent = np.isnan(numbers)
            missing = absent if missing is None else missing | absent
        codes = self._cells(numbers)
        if missing is not None:
            codes[missing] = 0
        return codes

    def _cells(self, numbers: Index | Floats) -> Codes:
        if not self._whole:
            return (np.searchsorted(self._edges, numbers, side="right") + 1).astype(np.int32)
        first, last, step = int(self._edges[0]), int(self._edges[-1]), int(self._step)
        # Clipped before the subtraction, so that no 64-bit value can overflow it.
        inside = np.minimum(np.maximum(numbers, first - step), last)
        return np.asarray((inside - (first - 2 * step)) // step, np.int32)

    def examples(self, codes: Codes) -> pa.Array:
        ends = np.concatenate([[0, self._edges[0] - self._step], self._edges])
        return pa.array(ends[codes], mask=codes == 0).cast(self._column.dtype.arrow)

    def axis(self, weights: Index) -> tuple[Axis, Codes]:
        present = np.flatnonzero(weights[1:]) + 1
        top = self._edges - 1 if self._whole else self._edges
        lower = np.concatenate([[np.nan, -np.inf], self._edges])[present]
        upper = np.concatenate([[np.nan], top, [np.inf]])[present]
        inside = np.maximum(lower, self._edges[0]), np.minimum(upper, self._edges[-1])
        starts, ends = lower.tolist(), upper.tolist()
        scale = Scale(*inside, lambda low, high: number_label(starts[low - 1], ends[high - 1]))
        return scale, _ranks([0, *present.tolist()], self.size)


def _grid(column: Column) -> tuple[float, Floats]:
    """Width and edges of the cells; the last edge lies above the upper bound."""
    assert column.bounds is not None
    low, high = column.bounds
    if column.dtype is Dtype.INTEGER:
        low, high = math.ceil(low), math.floor(high)
        step = 1.0 if high - low < CELLS else max(1.0, _round_up((high - low) / CELLS))
    else:
        step = _round_up((high - low) / CELLS) if high > low else 1.0
    count = math.floor((high - low) / step) + 2
    edges: Floats = low + step * np.arange(count, dtype=np.float64)
    if column.dtype is Dtype.INTEGER:
        return step, edges  # whole numbers are exact; rounding would multiply them beyond 2**53
    return step, np.round(edges, max(0, 1 - math.floor(math.log10(step))))


def _round_up(width: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(float(f"{factor * power:.12g}") for factor in (1, 2, 5, 10) if factor * power >= width * (1 - 1e-9))


class DictionaryCoder:
    """Any other column: values are numbered in the order they are met, declared categories before."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._type = pa.string() if column.dtype is Dtype.BOOLEAN else column.dtype.arrow
        self._codes: dict[str | float | None, int] = {None: 0}
        self._paths: dict[int, tuple[str, ...]] = {}
        self._extend(column.categories if not column.is_numeric else ())

    @property
    def size(self) -> int:
        """Codes given so far, the missing value's included."""
        return len(self._codes)

    def _extend(self, values: tuple[str, ...] | list[str | float]) -> None:
        for value in values:
            self._codes.setdefault(value, len(self._codes))
        self._known = pa.array(self._codes, self._type)

    def learn(self, values: pa.Array) -> Codes:
        """The codes of some values; new ones are given the next codes."""
        codes = self.find(values)
        unknown = codes == self.size
        if not unknown.any():
            return codes
        self._extend(self._plain(values).filter(pa.array(unknown)).unique().to_pylist())
        return self.find(values)

    def find(self, values: pa.Array) -> Codes:
        """The codes of some values; ``size`` where a value is unknown."""
        plain = self._plain(values)
        if self.size <= _SMALL:
            return _filled(pc.index_in(plain, value_set=self._known), self.size)
        encoded = plain.dictionary_encode()
        unknown = self.size
        codes = [self._codes.get(value, unknown) for value in encoded.dictionary.to_pylist()]
        return np.asarray([*codes, 0], np.int32)[_filled(encoded.indices, -1)]

    def _plain(self, values: pa.Array) -> pa.Array:
        """Text for booleans; a missing value for what is not a number, and one zero where Arrow knows two."""
        if self._column.dtype is Dtype.BOOLEAN:
            return values.cast(pa.string())
        if self._column.dtype is Dtype.NUMBER:
            return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), pc.add(values, 0.0))
        return values

    def examples(self, codes: Codes) -> pa.Array:
        """Example value of each code, as the coder of another worker would meet it."""
        return self._known.take(pa.array(codes)).cast(self._column.dtype.arrow)

    def axis(self, weights: Index) -> tuple[Axis, Codes]:
        """The axis of all codes with a weight (rows by code), and the rank of each code (-1 for one without)."""
        column, known = self._column, list(self._codes)
        present: list[int] = (np.flatnonzero(weights[1:]) + 1).tolist()
        if column.is_numeric and column.hierarchy is None:
            present.sort(key=known.__getitem__)  # type: ignore[arg-type]  # only numbers are known
            numbers: list[int | float] = [known[code] for code in present]  # type: ignore[misc]
            # Subtracted before they become floats, which tell no integers above 2^53 apart.
            places = np.asarray([number - numbers[0] for number in numbers], np.float64)
            scale = Scale(places, places, lambda low, high: number_label(numbers[low - 1], numbers[high - 1]))
            return scale, _ranks([0, *present], self.size)
        names = {code: name_of(known[code]) for code in present}
        axis: Axis
        if column.hierarchy is not None:
            paths = self._paths_of(names, column.hierarchy)
            present.sort(key=lambda code: (paths[code], code))
            sizes = [float(known[code]) for code in present] if column.is_numeric else []  # type: ignore[arg-type]
            axis = Ladder([paths[code] for code in present], sizes)
        elif column.dtype in _TIMES or column.ordered:
            place = text_order(column)
            present.sort(key=lambda code: place(names[code]))
            texts = [names[code] for code in present]
            steps = np.arange(len(texts), dtype=np.float64)
            axis = Scale(steps, steps, lambda low, high: text_range_label(texts[low - 1], texts[high - 1]))
        else:
            # Frequent first: a cut between neighbours then tends to part the common from the rare.
            order = [*present, *([0] if weights[0] else [])]
            order.sort(key=lambda code: (-int(weights[code]), names.get(code, "")))
            return Bag([names.get(code) for code in order]), _ranks(order, self.size)
        return axis, _ranks([0, *present], self.size)

    def _paths_of(self, names: dict[int, str], hierarchy: Hierarchy) -> dict[int, tuple[str, ...]]:
        """The path of each code, kept: a coder that serves one microflow after the other meets the same values."""
        for code in names.keys() - self._paths.keys():
            self._paths[code] = path_of(names[code], hierarchy)
        return self._paths


#: One column's codes.
Coder = GridCoder | DictionaryCoder


def _ranks(order: list[int], size: int) -> Codes:
    """The rank of each code: its place in the order, -1 for one that is not there."""
    ranks = np.full(size + 1, -1, np.int32)
    ranks[order] = np.arange(len(order))
    return ranks


def _filled(indices: pa.Array, filler: int) -> Codes:
    filled = indices.fill_null(filler) if indices.null_count else indices
    return np.asarray(filled.to_numpy(), np.int32)
