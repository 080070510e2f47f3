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

import pyarrow as pa

from microflow.anonymize.contract import MethodSettings, Scope
from microflow.anonymize.k_anonymity import guarantee, released_schema, require_classes, unit_of
from microflow.anonymize.stream_archive import Archive
from microflow.anonymize.stream_clusters import Cluster, Clusters, Held
from microflow.anonymize.stream_space import Space
from microflow.errors import MicroflowError
from microflow.records import copied
from microflow.schema import DatasetSchema, Record

__all__ = ["BETA", "REUSED", "StreamKAnonymity"]

#: β: the most open clusters.
BETA = 50
#: μ: the released clusters whose mean loss decides what is a good cluster.
_MU = 100
#: The most released clusters that later records may be written as.
REUSED = 500

Left = list[tuple[int, Record]]


class StreamKAnonymity:
    """Takes records one at a time and releases each within ``settings.delta`` further records.

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
        _check(settings, schema, beta, timed=seconds is not None and now is None)
        self.output_schema: pa.Schema = released_schema(schema)
        self._settings = settings
        self._k, self._delta = settings.k, settings.delta
        self._seconds = seconds
        self._now = now or _no_clock
        self._quasi = [column.name for column in schema.quasi_identifiers]
        self._person = schema.person
        self._unit = unit_of(schema)
        self._guarantee = guarantee(schema, settings.k, "of the whole stream")
        self._fields = schema.names
        self._blank = dict.fromkeys(column.name for column in schema.identifiers)
        self._space = Space(schema.quasi_identifiers, beta, REUSED)
        self._clusters = Clusters(self._space, beta)
        self._archive = Archive(self._space, REUSED)
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
            "method": self._settings.method.value,
            "scope": self.scope.value,
            "k": self._k,
            "delta_records": self._delta,
            "delta_seconds": self._seconds,
            "beta": self._clusters.limit,
            "quasi_identifiers": list(self._quasi),
            "unit": self._unit,
            "guarantee": self._guarantee,
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
        nearest = self._clusters.nearest(held.point)
        good = [(cluster, added) for cluster, added in nearest if cluster.loss + added <= self._mean_loss]
        if not good and not self._clusters.full:
            self._clusters.open(held)
            return
        cluster, added = min(good or nearest, key=lambda choice: len(choice[0].persons))
        self._clusters.join(cluster, held, added)

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
        if len(cluster.persons) < self._k and (earlier := self._archive.covering(held.point)) is not None:
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
            self._archive.remember(written)
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


def _check(settings: MethodSettings, schema: DatasetSchema, beta: int, timed: bool) -> None:
    require_classes(settings, schema)
    if settings.delta < settings.k:
        raise MicroflowError(f"a delay of {settings.delta} records cannot gather {settings.k}", hint="raise delta")
    if beta < 1:
        raise MicroflowError(f"beta must be at least 1, not {beta}")
    if timed:
        raise MicroflowError("a delay bound in seconds needs a clock", hint="pass now=time.monotonic")
    if settings.l_diversity > 1 or settings.t_closeness < 1:
        raise MicroflowError(
            "a stream is released without l-diversity and t-closeness", hint="use the scope 'dataset' or 'microflow'"
        )


def _no_clock() -> float:
    return 0.0
