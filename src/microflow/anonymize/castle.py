"""k-anonymity of a stream within a bounded delay: CASTLE (Cao, Carminati, Ferrari and Tan, IEEE TDSC 2011).

Records wait in at most β open clusters. When the oldest has waited for δ records, its cluster leaves: whole where it
holds at least k records (cut into several from 2k on); else the record is written as an earlier released cluster that
covers it; else the cluster is merged with its nearest until k are together. Every label is therefore shared by at least
k records of different ordinals; where the schema has a column of role person, by records of at least k persons (as in
Prink, Groneberg et al., ARES 2025).

Where this differs from the paper:
- centres and reused clusters are chosen by age and loss instead of at random, so that a run can be repeated;
- the paper releases an outlier (in a small cluster while most are larger) fully generalised; here it is merged like any
  other, because a row of stars is a class of its own, and suppressed only where fewer than k records are held;
- at most `REUSED` released clusters are remembered, the latest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from microflow.anonymize.axes import Floats, Index
from microflow.anonymize.castle_space import Point, Space, compiled, note_added
from microflow.anonymize.contract import MethodSettings, Scope, with_text
from microflow.anonymize.k_anonymity import claim_of, require_classes
from microflow.errors import MicroflowError
from microflow.records import copied
from microflow.schema import DatasetSchema, Record, Value

__all__ = ["BETA", "REUSED", "StreamKAnonymity"]

#: β: the most open clusters.
BETA = 50
#: μ: the released clusters whose mean loss decides what is a good cluster.
_MU = 100
#: The most released clusters that later records may be written as.
REUSED = 500
#: Losses nearer than this are equal.
_EQUAL = 1e-12

Left = list[tuple[int, Record]]


@dataclass(slots=True, eq=False)
class Cluster:
    """Open cluster: its members by ordinal, oldest first, the rows of each person, and the loss of a label."""

    slot: int
    members: dict[int, Held] = field(default_factory=dict)
    persons: dict[Value, int] = field(default_factory=dict)
    loss: float = 0.0

    def add(self, held: Held) -> None:
        """Add a record to the cluster."""
        held.cluster = self
        self.members[held.ordinal] = held
        self.persons[held.person] = self.persons.get(held.person, 0) + 1

    def remove(self, held: Held) -> None:
        """Remove a record from the cluster."""
        del self.members[held.ordinal]
        self.persons[held.person] -= 1
        if not self.persons[held.person]:
            del self.persons[held.person]


@dataclass(slots=True, eq=False)
class Held:
    """Record that is held back: the ``number``-th to arrive, at the time ``arrived``.

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
    """Set of at most ``limit`` open clusters; each owns a slot of the space."""

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
        _split(*space.matrix([point]), np.zeros(1, np.int64), 1, np.full(1, -1))

    @property
    def full(self) -> bool:
        """True if no further cluster can be opened."""
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

    def nearest(self, point: Point) -> tuple[list[Cluster], float]:
        """The open clusters to which the point adds least, and how much that is."""
        count, least = self._note_added(point)
        slots = self._near[:count].tolist()
        return [cluster for slot in slots if (cluster := self._by_slot[slot]) is not None], least

    def open(self, held: Held) -> None:
        """Open a cluster of one record."""
        slot = self._free.pop()
        cluster = self._by_slot[slot] = Cluster(slot)
        cluster.add(held)
        self._rows[slot] = held.point.row
        for table, code in zip(self._space.tables, held.point.codes, strict=True):
            table.start(slot, code)

    def join(self, cluster: Cluster, held: Held, added: float) -> None:
        """Put a record that adds so much loss into a cluster."""
        cluster.add(held)
        if added > 0.0:
            cluster.loss += added
            row = self._rows[cluster.slot]
            np.fmax(row, held.point.row, out=row)
            for table, code in zip(self._space.tables, held.point.codes, strict=True):
                table.extend(cluster.slot, code)

    def absorb(self, small: Cluster) -> Cluster | None:
        """Move all members of a cluster into the one that loses least by it; ``None`` where there is no other."""
        growth: Floats = np.fmax(self._rows[small.slot] - self._rows, 0.0) @ self._space.weights
        for n, table in enumerate(self._space.tables):
            growth += table.added_by(list({held.point.codes[n] for held in small.members.values()}))
        growth[small.slot] = np.inf  # as free slots are
        target = self._by_slot[int(np.argmin(growth))]
        if target is None or target is small:
            return None
        for held in list(small.members.values()):
            self._note_added(held.point)
            self.join(target, held, float(self._added[target.slot]))
        self.close(small)
        return target

    def groups(self, cluster: Cluster, k: int) -> list[list[Held]]:
        """The members in groups of k persons or more."""
        members = list(cluster.members.values())
        if len(cluster.persons) < 2 * k:
            return [members]
        number = {person: i for i, person in enumerate(cluster.persons)}
        persons = np.array([number[held.person] for held in members])
        group_of = np.full(len(members), -1, np.int64)
        count = _split(*self._space.matrix([held.point for held in members]), persons, k, group_of)
        groups: list[list[Held]] = [[] for _ in range(count)]
        for held, group in zip(members, group_of.tolist(), strict=True):
            groups[group].append(held)
        return groups

    def close(self, cluster: Cluster) -> None:
        """Free the slot of a cluster and remove its members, so that neither has to be searched later."""
        cluster.members.clear()
        cluster.persons.clear()
        self._rows[cluster.slot, -1] = -np.inf
        self._by_slot[cluster.slot] = None
        self._free.append(cluster.slot)


@compiled
def _apart(a: int, b: int, rows: Floats, weights: Floats, traits: Index, steps: Floats) -> float:
    """Loss of two records in one class."""
    total = 0.0
    for j in range(rows.shape[1]):
        beyond = rows[a, j] - rows[b, j]
        if beyond > 0.0:
            total += beyond * weights[j]
    for j in range(traits.shape[1]):
        if traits[a, j] != traits[b, j]:
            total += steps[j]
    return total


@compiled
def _split(rows: Floats, weights: Floats, traits: Index, steps: Floats, persons: Index, k: int, group_of: Index) -> int:
    """Groups of k persons or more: the first record and its nearest, and so on; the rest with the nearest centre.

    ``group_of`` is -1 everywhere and becomes the group of each record; returns how many groups there are.
    """
    n = len(persons)
    left, centres = np.arange(n), np.empty(n, np.int64)
    apart, seen = np.empty(n), np.full(n, -1, np.int64)
    groups = 0
    while len(left) >= k:
        for i in range(len(left)):
            apart[i] = _apart(left[0], left[i], rows, weights, traits, steps)
        # The centre is at no distance from itself, and a stable order keeps it before others that are not either.
        order = left[np.argsort(apart[: len(left)], kind="mergesort")]
        found, end = 0, 0
        while end < len(order) and found < k:
            person = persons[order[end]]
            if seen[person] != groups:
                seen[person] = groups
                found += 1
            end += 1
        if found < k:
            break
        group_of[order[:end]] = groups
        centres[groups] = left[0]
        left = left[group_of[left] < 0]
        groups += 1
    for record in left:
        nearest = np.inf
        for g in range(groups):
            distance = _apart(int(record), centres[g], rows, weights, traits, steps)
            if distance < nearest:
                nearest = distance
                group_of[record] = g
    return groups


class StreamKAnonymity:
    """k-anonymity of a stream: each record is released within ``settings.delta`` further records.

    ``seconds`` bounds the delay in time as well, on the clock ``now`` (seconds, monotonic) that the caller brings; it
    is looked at on every `push` and on `release_due`. A record must not be pushed twice.

    Raises:
        MicroflowError: k below 2, δ below k, no quasi-identifier, ``seconds`` without ``now``, or a demand for
            diversity, which this method does not offer.
    """

    scope = Scope.STREAM

    def __init__(
        self,
        settings: MethodSettings,
        schema: DatasetSchema,
        *,
        beta: int = BETA,
        seconds: float | None = None,
        now: Callable[[], float] | None = None,
    ) -> None:
        require_classes(settings, schema, self.scope)
        if beta < 1:
            raise MicroflowError(f"beta must be at least 1, not {beta}")
        if seconds is not None and now is None:
            raise MicroflowError("a delay bound in seconds needs a clock", hint="pass now=time.monotonic")
        self.output_schema: pa.Schema = with_text(schema, schema.quasi_identifiers)
        self._settings = settings
        self._k, self._delta = settings.k, settings.delta
        self._seconds = seconds
        self._now = now or float  # without a clock it is always 0.0
        self._quasi = [column.name for column in schema.quasi_identifiers]
        self._person = schema.person
        self._schema = schema
        self._fields = schema.names
        self._blank = dict.fromkeys(column.name for column in schema.identifiers)
        self._space = Space(schema.quasi_identifiers, beta, REUSED)
        self._clusters = Clusters(self._space, beta)
        self._held: dict[int, Held] = {}
        self._arrivals: deque[Held] = deque()  # in order of arrival; those that have left are skipped
        self._pushed = 0
        self._losses: deque[float] = deque(maxlen=_MU)
        self._mean_loss = 0.0
        self._suppressed: list[int] = []
        self._smallest: int | None = None
        self._classes = 0

    @property
    def suppressed(self) -> Sequence[int]:
        """Ordinals of the records that could not be released."""
        return self._suppressed

    def describe(self) -> dict[str, object]:
        """The claim, with both bounds of the delay."""
        return {
            **claim_of(self._settings, self._schema, self.scope, "of the whole stream"),
            "delta_records": self._delta,
            "delta_seconds": self._seconds,
            "beta": self._clusters.limit,
            "achieved_k": self._smallest,
            "classes": self._classes,
            "records_suppressed": len(self._suppressed),
        }

    def push(self, ordinal: int, record: Record) -> Left:
        """Take one record; return those that must leave now, with their ordinals, in order of release."""
        if ordinal in self._held:
            raise MicroflowError(f"record {ordinal} was pushed twice")
        point = self._space.point([record[name] for name in self._quasi])
        person = ordinal if self._person is None else record[self._person]
        held = Held(ordinal, person, record, point, self._pushed, self._now())
        self._place(held)
        self._held[ordinal] = held
        self._arrivals.append(held)
        self._pushed += 1
        return self._release_while(self._is_due)

    def release_due(self) -> Left:
        """Release what has waited long enough by the clock, when no record comes."""
        return self._release_while(self._is_due)

    def flush(self) -> Left:
        """End of stream: release everything that can be released safely, and suppress the rest."""
        return self._release_while(lambda _held: True)

    def _place(self, held: Held) -> None:
        """Best selection: the smallest of the nearest clusters whose loss stays below the mean, else a new one."""
        nearest, added = self._clusters.nearest(held.point)
        good = [cluster for cluster in nearest if cluster.loss + added <= self._mean_loss]
        if good or self._clusters.full:
            self._clusters.join(min(good or nearest, key=lambda cluster: len(cluster.persons)), held, added)
        else:
            self._clusters.open(held)

    def _is_due(self, held: Held) -> bool:
        if self._pushed - held.number > self._delta:
            return True
        return self._seconds is not None and self._now() - held.arrived >= self._seconds

    def _release_while(self, due: Callable[[Held], bool]) -> Left:
        out: Left = []
        while self._arrivals:
            oldest = self._arrivals[0]
            if self._held.get(oldest.ordinal) is oldest:
                if not due(oldest):
                    break
                self._let_go(oldest, out)
            self._arrivals.popleft()
        return out

    def _let_go(self, held: Held, out: Left) -> None:
        """The delay constraint: the record leaves now, with its cluster, as part of an earlier one, or not at all."""
        cluster = held.cluster
        if len(cluster.persons) < self._k and (earlier := self._space.covering(held.point)) is not None:
            self._leave(held, earlier.labels, out)
            cluster.remove(held)
            if not cluster.members:
                self._clusters.close(cluster)
            return
        while len(cluster.persons) < self._k:
            larger = self._clusters.absorb(cluster)
            if larger is None:
                self._suppress(cluster)
                return
            cluster = larger
        for group in self._clusters.groups(cluster, self._k):
            self._release(group, out)
        self._clusters.close(cluster)

    def _release(self, group: Sequence[Held], out: Left) -> None:
        """Write a cluster, and remember it where it is no worse than the mean."""
        persons = len({held.person for held in group})
        self._smallest = persons if self._smallest is None else min(persons, self._smallest)
        self._classes += 1
        written = self._space.write([held.point for held in group])
        self._losses.append(written.loss)
        self._mean_loss = sum(self._losses) / len(self._losses)
        if written.loss <= self._mean_loss:
            self._space.remember(written)
        for held in group:
            self._leave(held, written.labels, out)

    def _leave(self, held: Held, labels: Sequence[str | None], out: Left) -> None:
        del self._held[held.ordinal]
        written = copied(held.record, self._fields)
        written.update(self._blank)
        written.update(zip(self._quasi, labels, strict=True))
        out.append((held.ordinal, written))

    def _suppress(self, cluster: Cluster) -> None:
        for ordinal in cluster.members:
            del self._held[ordinal]
            self._suppressed.append(ordinal)
        self._clusters.close(cluster)
