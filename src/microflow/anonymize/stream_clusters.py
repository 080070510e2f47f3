"""CASTLE's open clusters, in arrays: what a record would add to the loss of each, in a handful of NumPy calls."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from microflow.anonymize.stream_space import Floats, Index, Point, Space
from microflow.schema import Record, Value

__all__ = ["Cluster", "Clusters", "Held"]

#: Losses nearer than this are equal.
_EQUAL = 1e-12


@dataclass(slots=True, eq=False)
class Cluster:
    """An open cluster: its members by ordinal, oldest first, how many each person has, and what a label would lose."""

    slot: int
    members: dict[int, Held] = field(default_factory=dict)
    persons: dict[Value, int] = field(default_factory=dict)
    loss: float = 0.0

    def add(self, held: Held) -> None:
        """Take a record."""
        held.cluster = self
        self.members[held.ordinal] = held
        self.persons[held.person] = self.persons.get(held.person, 0) + 1

    def remove(self, held: Held) -> None:
        """Give a record away."""
        del self.members[held.ordinal]
        if self.persons[held.person] == 1:
            del self.persons[held.person]
        else:
            self.persons[held.person] -= 1


@dataclass(slots=True, eq=False)
class Held:
    """A record that has not left yet, the ``number``-th to come, at the time ``arrived``.

    ``person`` says whose it is; without a column of role person each record is a person's of its own.
    """

    ordinal: int
    person: Value
    record: Record
    point: Point
    number: int
    arrived: float
    cluster: Cluster = field(init=False)


class Clusters:
    """At most ``limit`` open clusters; each owns a slot of the space."""

    def __init__(self, space: Space, limit: int) -> None:
        self.limit = limit
        self._space = space
        self._rows = np.zeros((limit, space.width))
        self._rows[:, -1] = -np.inf  # a free slot is infinitely far
        self._work = np.empty_like(self._rows)
        self._free = list(range(limit))[::-1]
        self._by_slot: list[Cluster | None] = [None] * limit

    @property
    def full(self) -> bool:
        """Whether no cluster can be opened."""
        return not self._free

    def _added_loss(self, point: Point) -> Floats:
        """What the point would add to the loss of each slot's cluster; infinite for a free slot."""
        np.subtract(point.row, self._rows, out=self._work)
        np.fmax(self._work, 0.0, out=self._work)
        added: Floats = self._work.dot(self._space.weights)
        for table, code in zip(self._space.tables, point.codes, strict=True):
            added += table.gain[code]
        return added

    def nearest(self, point: Point) -> list[tuple[Cluster, float]]:
        """The open clusters to which the point adds least, and how much that is."""
        added = self._added_loss(point)
        least = float(added[added.argmin()])
        slots = (added <= least + _EQUAL).nonzero()[0].tolist()
        return [(cluster, least) for slot in slots if (cluster := self._by_slot[slot]) is not None]

    def open(self, held: Held) -> None:
        """Open a cluster of one record."""
        slot = self._free.pop()
        cluster = self._by_slot[slot] = Cluster(slot)
        cluster.add(held)
        self._rows[slot] = held.point.row
        for table, code in zip(self._space.tables, held.point.codes, strict=True):
            table.start(slot, code)

    def join(self, cluster: Cluster, held: Held, added: float) -> None:
        """Put a record, which adds so much loss, into a cluster."""
        cluster.add(held)
        if added > 0.0:
            cluster.loss += added
            row = self._rows[cluster.slot]
            np.fmax(row, held.point.row, out=row)
            for table, code in zip(self._space.tables, held.point.codes, strict=True):
                table.extend(cluster.slot, code)

    def absorb(self, small: Cluster) -> Cluster | None:
        """Move all members of a cluster into the one that loses least by it; ``None`` where there is no other."""
        slot = int(np.argmin(self._growth(small)))
        target = self._by_slot[slot]
        if target is None or target is small:
            return None
        for held in list(small.members.values()):
            self.join(target, held, float(self._added_loss(held.point)[slot]))
        self.close(small)
        return target

    def _growth(self, small: Cluster) -> Floats:
        """What every other cluster would lose if it took a cluster's members; infinite for itself and free slots."""
        growth: Floats = np.fmax(self._rows[small.slot] - self._rows, 0.0) @ self._space.weights
        for n, table in enumerate(self._space.tables):
            growth += table.added_by(list({held.point.codes[n] for held in small.members.values()}))
        growth[small.slot] = np.inf
        return growth

    def groups(self, cluster: Cluster, k: int) -> list[list[Held]]:
        """The members in groups of k persons or more: the oldest and its nearest, and so on; the rest with the nearest.

        CASTLE draws the centre of each group at random; the oldest makes a run repeatable.
        """
        members = list(cluster.members.values())
        if len(cluster.persons) < 2 * k:
            return [members]
        distances = self._space.distances([held.point for held in members])
        number = {person: i for i, person in enumerate(cluster.persons)}
        persons = np.array([number[held.person] for held in members])
        left = np.arange(len(members))
        groups: list[list[int]] = []
        # The centre is at no distance from itself, and a stable order keeps it before others that are not either.
        while (end := _reaches(k, persons[order := left[distances(left[0], left).argsort(kind="stable")]])) > 0:
            groups.append(order[:end].tolist())
            left = np.sort(order[end:])
            if len(left) < k:
                break
        centres = np.array([group[0] for group in groups])
        for one in left.tolist():
            groups[int(distances(one, centres).argmin())].append(one)
        return [[members[i] for i in sorted(group)] for group in groups]

    def close(self, cluster: Cluster) -> None:
        """Give the cluster's slot back, and part its members from it, so that both are freed without a search."""
        cluster.members.clear()
        cluster.persons.clear()
        self._rows[cluster.slot, -1] = -np.inf
        self._by_slot[cluster.slot] = None
        self._free.append(cluster.slot)


def _reaches(k: int, persons: Index) -> int:
    """How many of some records it takes until ``k`` persons are among them; 0 where they never are."""
    first = np.unique(persons, return_index=True)[1]
    return int(np.sort(first)[k - 1]) + 1 if len(first) >= k else 0
