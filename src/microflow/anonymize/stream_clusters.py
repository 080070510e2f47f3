"""CASTLE's clusters, in arrays: the open ones, with what a record would add to the loss of each, and released ones.

A released cluster may be reused: later records are written as it is where its labels cover them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from microflow.anonymize.stream_kernels import note_added, split_cluster
from microflow.anonymize.stream_space import Floats, Point, Space, Written
from microflow.schema import Record, Value

__all__ = ["Archive", "Cluster", "Clusters", "Held"]

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
        self._added = np.empty(limit)
        self._near = np.empty(limit, np.int64)
        self._no_gain = (np.zeros((1, limit)),)
        self._free = list(range(limit))[::-1]
        self._by_slot: list[Cluster | None] = [None] * limit
        # Compiled now, and not while a record waits.
        point = space.point([None] * space.columns)
        self._note_added(point)
        split_cluster(*space.matrix([point]), np.zeros(1, np.int64), 1, np.full(1, -1))

    @property
    def full(self) -> bool:
        """Whether no cluster can be opened."""
        return not self._free

    def _note_added(self, point: Point) -> tuple[int, float]:
        """Note what the point would add to the loss of each slot's cluster, infinite for a free slot.

        Returns how many slots it adds least to, which are the first of ``_near``, and how much that is.
        """
        gains = tuple([table.gain for table in self._space.tables]) or self._no_gain
        codes = tuple(point.codes) or (0,)
        found: tuple[int, float] = note_added(
            point.row, self._rows, self._space.weights, gains, codes, _EQUAL, self._added, self._near
        )
        return found

    def nearest(self, point: Point) -> list[tuple[Cluster, float]]:
        """The open clusters to which the point adds least, and how much that is."""
        count, least = self._note_added(point)
        slots = self._near[:count].tolist()
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
            self._note_added(held.point)
            self.join(target, held, float(self._added[slot]))
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
        number = {person: i for i, person in enumerate(cluster.persons)}
        persons = np.array([number[held.person] for held in members])
        group_of = np.full(len(members), -1, np.int64)
        count = split_cluster(*self._space.matrix([held.point for held in members]), persons, k, group_of)
        groups: list[list[Held]] = [[] for _ in range(count)]
        for held, group in zip(members, group_of.tolist(), strict=True):
            groups[group].append(held)
        return groups

    def close(self, cluster: Cluster) -> None:
        """Give the cluster's slot back, and part its members from it, so that both are freed without a search."""
        cluster.members.clear()
        cluster.persons.clear()
        self._rows[cluster.slot, -1] = -np.inf
        self._by_slot[cluster.slot] = None
        self._free.append(cluster.slot)


class Archive:
    """The latest ``limit`` of them."""

    def __init__(self, space: Space, limit: int) -> None:
        self._space = space
        self._written: list[Written] = []
        self._losses = np.full(limit, np.inf)
        self._next = 0

    def remember(self, written: Written) -> None:
        """Keep a cluster, in place of the oldest where there is no room."""
        place = self._next
        self._next = (place + 1) % len(self._losses)
        self._written[place : place + 1] = [written]
        self._losses[place] = written.loss
        self._space.remember(place, written)

    def covering(self, point: Point) -> Written | None:
        """The cluster of least loss that covers a point, or ``None``."""
        losses = np.where(self._space.may_cover(point), self._losses, np.inf)
        for place in map(int, np.argsort(losses, kind="stable")):
            if losses[place] == np.inf:
                return None
            if self._space.covers(self._written[place], point):
                return self._written[place]
        return None
