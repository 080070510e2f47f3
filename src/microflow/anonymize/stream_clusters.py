"""CASTLE's open clusters, in arrays: what a record would add to the loss of each of them, in a handful of NumPy calls.

Every cluster owns a slot. A column with positions takes four entries of a slot's row: the highest position, the
lowest one negated, whether a value is missing, and whether one is not; so that whatever a record adds is the positive
part of its own row minus the cluster's, weighted. NaN (no position) adds nothing by itself; mixing adds 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from microflow.anonymize.stream_columns import Bag, Line, Paths, is_line
from microflow.schema import Column, Record, Value

__all__ = ["Cluster", "Clusters", "Held", "Point"]

Floats = npt.NDArray[np.float64]

#: Entries of a row that one column with positions takes.
_WIDTH = 4
#: Losses nearer than this are equal.
_EQUAL = 1e-12


@dataclass(slots=True)
class Point:
    """Where a record lies: its row of positions, and its code in each table column."""

    row: Floats
    codes: list[int]


@dataclass(slots=True, eq=False)
class Cluster:
    """An open cluster: its members by ordinal, oldest first, and the loss of a label that covers them."""

    slot: int
    members: dict[int, Held] = field(default_factory=dict)
    loss: float = 0.0


@dataclass(slots=True, eq=False)
class Held:
    """A record that has not left yet, the ``number``-th to come, at the time ``arrived``."""

    ordinal: int
    record: Record
    values: list[Value]
    point: Point
    number: int
    arrived: float
    cluster: Cluster = field(init=False)


class Clusters:
    """At most ``limit`` open clusters over the quasi-identifiers ``columns``."""

    def __init__(self, columns: Sequence[Column], limit: int) -> None:
        self.limit = limit
        self.columns: list[Line | Bag | Paths] = [_column(column, limit) for column in columns]
        self._lines = [(i, column) for i, column in enumerate(self.columns) if isinstance(column, Line)]
        self._tables = [(i, column) for i, column in enumerate(self.columns) if not isinstance(column, Line)]
        width = _WIDTH * len(self._lines) + 1
        self._rows = np.zeros((limit, width))
        self._rows[:, -1] = -np.inf  # a free slot is infinitely far
        self._work = np.empty_like(self._rows)
        self._weights = np.ones(width)
        self._free = list(range(limit))[::-1]
        self._by_slot: list[Cluster | None] = [None] * limit

    def __len__(self) -> int:
        return self.limit - len(self._free)

    def __iter__(self) -> Iterator[Cluster]:
        return (cluster for cluster in self._by_slot if cluster is not None)

    def point(self, values: Sequence[Value]) -> Point:
        """Where a record with these quasi-identifiers lies."""
        row: list[float] = []
        for i, line in self._lines:
            place = line.position(values[i])
            known = place == place  # noqa: PLR0124 - NaN
            row += (place, -place, not known, known)
        row.append(0.0)
        return Point(np.array(row, np.float64), [table.code(values[i]) for i, table in self._tables])

    def added_loss(self, point: Point) -> Floats:
        """What the point would add to the loss of each slot's cluster; infinite for a free slot."""
        for n, (_, line) in enumerate(self._lines):
            self._weights[_WIDTH * n : _WIDTH * n + 2] = line.weight
        np.subtract(point.row, self._rows, out=self._work)
        np.fmax(self._work, 0.0, out=self._work)
        added: Floats = self._work @ self._weights
        for (_, table), code in zip(self._tables, point.codes, strict=True):
            added += table.gain[code]
        return added

    def nearest(self, point: Point) -> list[tuple[Cluster, float]]:
        """The open clusters to which the point adds least, and how much that is."""
        if not len(self):
            return []
        added = self.added_loss(point)
        least = added.min() + _EQUAL
        found = ((self._by_slot[slot], float(added[slot])) for slot in np.flatnonzero(added <= least))
        return [(cluster, more) for cluster, more in found if cluster is not None]

    def open(self, held: Held) -> None:
        """Open a cluster of one record."""
        slot = self._free.pop()
        cluster = self._by_slot[slot] = held.cluster = Cluster(slot)
        cluster.members[held.ordinal] = held
        self._rows[slot] = held.point.row
        for (_, table), code in zip(self._tables, held.point.codes, strict=True):
            table.start(slot, code)

    def join(self, cluster: Cluster, held: Held, added: float) -> None:
        """Put a record, which adds so much loss, into a cluster."""
        held.cluster = cluster
        cluster.members[held.ordinal] = held
        row = self._rows[cluster.slot]
        np.fmax(row, held.point.row, out=row)
        if added > 0.0:
            cluster.loss += added
            for (_, table), code in zip(self._tables, held.point.codes, strict=True):
                table.extend(cluster.slot, code)

    def absorb(self, small: Cluster) -> Cluster | None:
        """Move all members of a cluster into the one that loses least by it; ``None`` where there is no other."""
        growth = self._growth(small)
        slot = int(np.argmin(growth))
        target = self._by_slot[slot]
        if target is None or target is small:
            return None
        for held in list(small.members.values()):
            self.join(target, held, float(self.added_loss(held.point)[slot]))
        small.members.clear()
        self.close(small)
        return target

    def _growth(self, small: Cluster) -> Floats:
        """What every other cluster would lose if it took a cluster's members; infinite for itself and free slots."""
        row = self._rows[small.slot]
        growth: Floats = np.fmax(row - self._rows, 0.0) @ self._weights
        for n, (_, table) in enumerate(self._tables):
            growth += table.added_by(list({held.point.codes[n] for held in small.members.values()}))
        growth[small.slot] = np.inf
        return growth

    def groups(self, cluster: Cluster, k: int) -> list[list[Held]]:
        """The members in groups of at least k: around the oldest its k-1 nearest, and so on; the rest to the nearest.

        CASTLE draws the centre of each group at random; the oldest makes a run repeatable.
        """
        left = list(cluster.members.values())
        groups: list[list[Held]] = []
        while len(left) >= k:
            order = np.argsort(self._distances(left[0], left[1:]), kind="stable") + 1
            near = {0, *order[: k - 1].tolist()}
            groups.append([held for i, held in enumerate(left) if i in near])
            left = [held for i, held in enumerate(left) if i not in near]
        centres = [group[0] for group in groups]
        for held in left:
            groups[int(np.argmin(self._distances(held, centres)))].append(held)
        return groups

    def _distances(self, centre: Held, others: Sequence[Held]) -> Floats:
        """The loss of the centre together with each of the others."""
        rows = np.stack([held.point.row for held in others])
        distances: Floats = np.fmax(centre.point.row - rows, 0.0) @ self._weights
        for n, (_, table) in enumerate(self._tables):
            codes = np.asarray([held.point.codes[n] for held in others])
            distances += table.distance(centre.point.codes[n], codes)
        return distances

    def close(self, cluster: Cluster) -> None:
        """Give the cluster's slot back."""
        self._rows[cluster.slot, -1] = -np.inf
        self._by_slot[cluster.slot] = None
        self._free.append(cluster.slot)


def _column(column: Column, slots: int) -> Line | Bag | Paths:
    if is_line(column):
        return Line(column)
    return Bag(column, slots) if column.hierarchy is None else Paths(column, slots)
