"""Messages in, released messages out: what ``microflow stream`` does with each batch that has arrived.

A `stream` service works record by record. A `hybrid` service asks `microflow.engine.router.AdaptiveRouter`: urgent
records that would be late first, a backlog vectorised, a low load one by one. Both give equal rows for methods that
release a record by itself.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from microflow.compliance.findings import Targets
from microflow.engine.bolts import AnonymizeBolt, ComplianceBolt
from microflow.engine.contract import ProcessingSpec
from microflow.engine.costs import Costs
from microflow.engine.kernel import BatchKernel
from microflow.engine.router import AdaptiveRouter, Objectives, Route
from microflow.engine.urgency import DEFAULT_URGENCY, Urgency, UrgencyRule
from microflow.schema import DatasetSchema, Record
from microflow.settings import MICROFLOW_ROWS
from microflow.sources.json_lines import UnreadableError, read_message, read_messages
from microflow.timing.clock import PhaseClock

__all__ = ["MessageService", "Outcome", "Served", "as_records"]

#: From so many messages on they are read a column at a time.
_COLUMNS = 32
#: So many messages are read at a time.
_CHUNK = 4_000
#: Results are seen once their batch is committed: a smaller microflow would make none of them earlier.
_OBJECTIVES = Objectives(service_ns=200_000_000)
#: What to believe before anything was served, reading and writing JSON included.
_COSTS = Costs(single=40_000, fixed=900_000, each=12_000)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: released as JSON, suppressed (neither is set), or unreadable for a reason.

    ``violations`` were found in it, and ``route`` is why the router served it as it did.
    """

    released: bytes | None = None
    unreadable: str | None = None
    violations: int = 0
    route: str = field(default="", compare=False)


class Served(NamedTuple):
    """Part of a batch: positions of messages, what became of each, and whether it may be committed before the rest."""

    places: Sequence[int]
    outcomes: Sequence[Outcome]
    early: bool


class MessageService:
    """Reads, checks and anonymizes JSON messages.

    Args:
        spec: The work; its method must release a record by itself.
        hybrid: Let the adaptive router decide; otherwise one record at a time.
        urgency: Which records cannot wait (`hybrid` only).

    Raises:
        MicroflowError: the method needs other records (k-anonymity).
    """

    def __init__(
        self, spec: ProcessingSpec, *, hybrid: bool = False, urgency: Sequence[UrgencyRule] = DEFAULT_URGENCY
    ) -> None:
        self._schema = spec.schema
        self._compliance, self._anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
        self._kernel = BatchKernel(spec) if hybrid else None
        self._urgency = Urgency(spec.schema, urgency, spec.policy.reference_date)
        self._router = AdaptiveRouter(_OBJECTIVES, _COSTS, urgent=self._urgent) if hybrid else None
        self._rules = [target.rule.id for target in Targets(spec.policy, spec.schema).all]
        self._arrived = _Arrived([], [], [])
        self._first = 0
        #: How many messages are best given at a time, at most.
        self.most = 10 * MICROFLOW_ROWS if hybrid else MICROFLOW_ROWS
        #: Messages by what became of them, and violations by rule.
        self.counts: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.clock = PhaseClock()

    @property
    def reasons(self) -> Counter[str]:
        """Records by why the router sent them the way they went; all are alone in a `stream`."""
        return (
            self._router.reasons if self._router else Counter(alone=self.counts["released"] + self.counts["suppressed"])
        )

    def __call__(self, messages: Sequence[bytes]) -> list[Outcome]:
        """One outcome per message, in order; a message that cannot be read leaves its neighbours alone."""
        outcomes = [Outcome()] * len(messages)
        for part in self.serve(messages):
            for place, outcome in zip(part.places, part.outcomes, strict=True):
                outcomes[place] = outcome
        return outcomes

    def serve(self, messages: Sequence[bytes]) -> Iterator[Served]:
        """The same in parts that may be committed one by one: urgent records first where they would be late."""
        with self.clock.pre():
            self._arrived = _Arrived.of(messages, self._schema, together=self._kernel is not None)
        outcomes = dict(self._arrived.unreadable)
        self.counts["unreadable"] += len(outcomes)
        arrived = self._first + len(self._arrived.places)
        waiting: list[Route] = []
        while (route := self._route(arrived)) is not None:
            if route.reason == "urgent":
                yield Served(*self._serve(route), early=True)
            elif route.together:
                waiting.append(route)
            else:
                outcomes.update(zip(*self._serve(route), strict=True))
        if waiting:
            # Nothing urgent is left that would wait for them: together they are faster than one after the other.
            records = [ordinal for route in waiting for ordinal in route.records]
            outcomes.update(zip(*self._serve(Route(records, together=True, reason="high load")), strict=True))
        self._first = arrived
        order = sorted(outcomes)
        yield Served(order, [outcomes[place] for place in order], early=False)

    def _route(self, arrived: int) -> Route | None:
        if self._router is not None:
            return self._router.route(arrived)
        first, self._first = self._first, arrived
        return Route(range(first, arrived), together=False, reason="alone") if first < arrived else None

    def _serve(self, route: Route) -> tuple[list[int], list[Outcome]]:
        """Positions of the route's messages, and what became of them."""
        started = time.perf_counter_ns()
        places = [ordinal - self._first for ordinal in route.records]
        served = self._together(route, places) if route.together else [self._alone(route, at) for at in places]
        if self._router is not None:
            self._router.observe(route, time.perf_counter_ns() - started)
        return [self._arrived.places[place] for place in places], served

    def _alone(self, route: Route, place: int) -> Outcome:
        with self.clock.pre():
            record = self._arrived.record(place)
        with self.clock.pure():
            passing = self._anonymize(self._compliance(0, record))
        with self.clock.post():
            for violation in passing.violations:
                self.findings[violation.rule] += 1
            return self._outcome(route, passing.record, len(passing.violations))

    def _together(self, route: Route, places: Sequence[int]) -> list[Outcome]:
        assert self._kernel is not None
        with self.clock.pre():
            rows = self._arrived.batch(places, self._schema)
        with self.clock.pure():
            released, screened = self._kernel.run(rows)
        with self.clock.post():
            for target, count in enumerate(np.bincount(screened.findings.targets).tolist()):
                if count:
                    self.findings[self._rules[target]] += count
            records: list[Record | None] = [None] * len(places)
            for place, record in zip(screened.kept[released.kept].tolist(), as_records(released.rows), strict=True):
                records[place] = record
            found = np.bincount(screened.findings.rows, minlength=len(places)).tolist()
            return [self._outcome(route, *pair) for pair in zip(records, found, strict=True)]

    def _outcome(self, route: Route, record: Record | None, violations: int) -> Outcome:
        self.counts["suppressed" if record is None else "released"] += 1
        return Outcome(None if record is None else _encode(record), None, violations, route.reason)

    def _urgent(self, first: int, stop: int) -> list[int]:
        is_urgent = self._arrived.urgent(self._urgency)
        return [ordinal for ordinal in range(first, stop) if is_urgent[ordinal - self._first]]


class _Arrived:
    """Messages that were read: as records, or in a large batch as rows."""

    def __init__(
        self, places: list[int], records: list[Record] | pa.RecordBatch, unreadable: list[tuple[int, Outcome]]
    ) -> None:
        #: The position of each among the messages.
        self.places = places
        self.unreadable = unreadable
        self._records = records

    @classmethod
    def of(cls, messages: Sequence[bytes], schema: DatasetSchema, *, together: bool) -> _Arrived:
        """Read them; by columns where that is faster."""
        places, unreadable = list[int](), list[tuple[int, Outcome]]()

        def one_by_one(first: int, some: Sequence[bytes]) -> list[Record]:
            records = []
            for place, message in enumerate(some, first):
                try:
                    records.append(read_message(message, schema))
                    places.append(place)
                except UnreadableError as error:
                    unreadable.append((place, Outcome(unreadable=str(error))))
            return records

        if not together or len(messages) < _COLUMNS:
            return cls(places, one_by_one(0, messages), unreadable)
        parts: list[pa.RecordBatch] = []

        def by_columns(first: int, some: Sequence[bytes]) -> None:
            """One that is broken is looked for by halves, so that it does not slow the others down."""
            if len(some) < _COLUMNS:
                parts.append(pa.RecordBatch.from_pylist(one_by_one(first, some), schema.arrow))
            elif (rows := read_messages(some, schema)) is not None:
                places.extend(range(first, first + len(some)))
                parts.append(rows)
            else:
                half = len(some) // 2
                by_columns(first, some[:half])
                by_columns(first + half, some[half:])

        for first in range(0, len(messages), _CHUNK):
            by_columns(first, messages[first : first + _CHUNK])
        return cls(places, pa.concat_batches(parts), unreadable)

    def record(self, place: int) -> Record:
        """One of them as a record."""
        if isinstance(self._records, list):
            return self._records[place]
        return as_records(self._records.slice(place, 1))[0]

    def batch(self, places: Sequence[int], schema: DatasetSchema) -> pa.RecordBatch:
        """Some of them as rows."""
        if isinstance(self._records, list):
            return pa.RecordBatch.from_pylist([self._records[place] for place in places], schema.arrow)
        if places[-1] - places[0] == len(places) - 1:
            return self._records.slice(places[0], len(places))
        return self._records.take(pa.array(places))

    def urgent(self, urgency: Urgency) -> Sequence[bool]:
        """Of each whether it is urgent."""
        if isinstance(self._records, list):
            return [urgency.of_record(record) for record in self._records]
        return list(urgency.of_rows(self._records))


def as_records(rows: pa.RecordBatch) -> list[Record]:
    """Rows as mappings; Arrow's own way takes several times as long."""
    names = rows.schema.names
    columns = [column.to_list() for column in pl.DataFrame(rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
