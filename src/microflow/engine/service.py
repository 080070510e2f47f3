"""Service for records that arrive: bolts or kernel do what a router decides.

`Service` is one server on records that are at hand. Experiments and benchmarks offer it a schedule
(`microflow.lab.open_loop`) and a `Workload`, which holds every record in both forms, because which form a broker's
client hands over is not part of the pure phase. `MessageService` is the same server for ``microflow stream``: it reads
messages, asks the router about what has arrived, and writes what is released.

Methods that release a record by itself give equal rows either way. k-anonymity goes by CASTLE alone, and by microflow
together: each record leaves among k.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.castle import StreamKAnonymity
from microflow.anonymize.contract import Method, RecordAnonymizer, Released, Scope
from microflow.compliance.findings import Findings, Targets
from microflow.engine.contract import ProcessingSpec, with_scope
from microflow.engine.kernel import BatchKernel
from microflow.engine.messages import Messages, as_json
from microflow.engine.router import AdaptiveRouter, Costs, Objectives, Route
from microflow.engine.stream import ComplianceBolt, Passing
from microflow.engine.urgency import Urgency
from microflow.schema import Record, UrgencyRule
from microflow.settings import MICROFLOW_ROWS, MORSEL_ROWS
from microflow.timing.clock import PhaseClock

__all__ = ["MessageService", "Outcome", "Service", "Workload", "measured_costs"]

_now = time.perf_counter_ns
#: Results are seen once their batch is committed: a smaller microflow would make none of them earlier.
_OBJECTIVES = Objectives(service_ns=200_000_000)
#: What to believe before anything was served, writing JSON included.
_COSTS = Costs(single=30_000, fixed=900_000, each=6_000)
_encode = msgspec.json.Encoder().encode


class Workload:
    """Endless sequence of records: ordinal ``i`` is record ``i`` modulo their number. Made in pre-processing."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self._records: list[Record] = rows.to_pylist()
        # A morsel may begin at the last record: the head is repeated behind the end.
        head = [rows.slice(0, MORSEL_ROWS)] * -(-MORSEL_ROWS // rows.num_rows)
        self._rows = pa.concat_batches([rows, *head])

    def record(self, ordinal: int) -> Record:
        """One record as a mapping."""
        return self._records[ordinal % len(self._records)]

    def rows(self, ordinals: Sequence[int]) -> pa.RecordBatch:
        """Up to a morsel of records as rows; copied only where they do not follow each other."""
        if isinstance(ordinals, range):
            return self._rows.slice(ordinals.start % len(self._records), len(ordinals))
        return self._rows.take(pa.array(np.asarray(ordinals, np.int64) % len(self._records)))


class Service:
    """Server of records; k-anonymity holds each back for ``delta`` further records and ``seconds`` at most.

    Args:
        spec: The work.
        workload: The records that a route names, where it is called with routes.
        seconds: The bound in time; looked at whenever a record comes, and by `due`.
        vectorised: Whether records are ever served together: what that needs takes a while to compile.
    """

    def __init__(
        self,
        spec: ProcessingSpec,
        workload: Workload | None = None,
        *,
        seconds: float | None = None,
        vectorised: bool = True,
    ) -> None:
        self._spec, self._workload, self._seconds = spec, workload, seconds
        self._check = ComplianceBolt.of(spec)
        self._kernel = BatchKernel(with_scope(spec, Scope.MICROFLOW)) if vectorised else None
        self.reset()

    def reset(self) -> None:
        """Drop what is held back: the caller gives it again."""
        spec = with_scope(self._spec, Scope.STREAM)
        self._holding: StreamKAnonymity | None = None
        if spec.method.method is Method.K_ANONYMITY:
            now = None if self._seconds is None else time.monotonic
            self._holding = StreamKAnonymity(spec.method, spec.schema, seconds=self._seconds, now=now)
        else:
            alone = build_anonymizer(spec.method, spec.schema, spec.key)
            assert isinstance(alone, RecordAnonymizer)
            self._anonymize = alone.anonymize_record
        self._held: dict[int, Passing] = {}
        self._suppressed = 0

    @property
    def holds(self) -> bool:
        """True if the method holds records back."""
        return self._holding is not None

    @property
    def held(self) -> int:
        """Records that are held back."""
        return len(self._held)

    def __call__(self, route: Route) -> Sequence[int]:
        """Serve one route of the workload; the ordinals that are done."""
        assert self._workload is not None
        if route.together:
            self.together(self._workload.rows(route.records))
            return route.records
        record = self._workload.record
        if self._holding is None:
            for ordinal in route.records:
                self.alone(ordinal, record(ordinal))
            return route.records
        return [passing.ordinal for ordinal in route.records for passing in self.alone(ordinal, record(ordinal))]

    def alone(self, ordinal: int, record: Record) -> Sequence[Passing]:
        """Serve one record; those that leave now, which are others where a method holds records back."""
        passing = self._check(ordinal, record)
        if passing.record is None:
            return (passing,)
        if self._holding is None:
            return (Passing(ordinal, self._anonymize(passing.record), passing.violations),)
        self._held[ordinal] = passing
        return self._leaving(self._holding.push(ordinal, passing.record))

    def together(self, rows: pa.RecordBatch) -> tuple[Released, Findings]:
        """Serve a microflow."""
        assert self._kernel is not None
        return self._kernel.run(rows)

    def due(self) -> Sequence[Passing]:
        """Records whose longest delay has passed; asked for while no record arrives."""
        return () if self._holding is None else self._leaving(self._holding.release_due())

    def finish(self) -> Sequence[Passing]:
        """Records that leave at the end of the stream; those without a group of k are suppressed."""
        return () if self._holding is None else self._leaving(self._holding.flush())

    def flush(self) -> Sequence[int]:
        """Ordinals of a workload's records that leave at the end of the stream."""
        return [passing.ordinal for passing in self.finish()]

    def _leaving(self, released: Sequence[tuple[int, Record]]) -> Sequence[Passing]:
        assert self._holding is not None
        suppressed = self._holding.suppressed[self._suppressed :]
        self._suppressed += len(suppressed)
        left = [self._held.pop(ordinal)._replace(record=record) for ordinal, record in released]
        return left + [self._held.pop(ordinal)._replace(record=None) for ordinal in suppressed]


def measured_costs(service: Service, *, rounds: int = 15) -> Costs:
    """Measured costs of serving single records, few records and a morsel (medians); part of pre-processing."""

    def median(size: int, *, together: bool) -> float:
        times = []
        for turn in range(rounds):
            # Ordinals of their own: a service that holds records back knows each by its ordinal.
            route = Route(range(turn * size, (turn + 1) * size), together, "calibration")
            started = _now()
            service(route)
            times.append(_now() - started)
        return float(np.median(times))

    some, few, many = 100, 10, MORSEL_ROWS
    alone = median(some, together=False) / some
    low, high = median(few, together=True), median(many, together=True)
    each = max((high - low) / (many - few), 0.0)
    return Costs(alone, max(low - few * each, 0.0), each)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one message: released as JSON, suppressed (neither is set), or unreadable for a reason.

    ``violations`` were found in it, and ``route`` is why the router served it as it did.
    """

    released: bytes | None = None
    unreadable: str | None = None
    violations: int = 0
    route: str = field(default="", compare=False)


class MessageService:
    """Server of JSON messages: reads, checks and anonymizes them, numbered from 0 in the order they are given.

    Args:
        spec: The work.
        hybrid: Let the adaptive router decide; otherwise one record at a time.
        urgency: Which records cannot wait (`hybrid` only); by default what the schema says.
        ordered: Whether an urgent record takes the earlier ones of its key along.
        seconds: How long a record may be held back (k-anonymity only).
    """

    def __init__(
        self,
        spec: ProcessingSpec,
        *,
        hybrid: bool = False,
        urgency: Sequence[UrgencyRule] | None = None,
        ordered: bool = False,
        seconds: float | None = None,
    ) -> None:
        self._schema = spec.schema
        self._service = Service(spec, seconds=seconds, vectorised=hybrid)
        self._urgency = Urgency(spec.schema, urgency, spec.policy.reference_date)
        self._rules = [target.rule.id for target in Targets(spec.policy, spec.schema).all]
        self._router: AdaptiveRouter | None = None
        if hybrid:
            # Who is held back for company does not overtake, and a small microflow is poor company.
            holds = spec.method.method is Method.K_ANONYMITY
            self._router = AdaptiveRouter(
                _OBJECTIVES,
                _COSTS,
                urgent=None if holds else self._urgent,
                ahead=self._earlier if ordered else None,
                fewest=MICROFLOW_ROWS if holds else 1,
            )
        self._arrived = Messages(spec.schema, (), ())
        #: Records before those that have arrived, and messages given before theirs.
        self._first = self._given = 0
        #: Of records under way: which message each was.
        self._numbers: dict[int, int] = {}
        #: How many messages are best given at a time, at most.
        self.most = 10 * MICROFLOW_ROWS if hybrid else MICROFLOW_ROWS
        #: Messages by what became of them, and violations by rule.
        self.counts: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()
        self.clock = PhaseClock()

    @property
    def reasons(self) -> Counter[str]:
        """Number of records by the router's reason; in a `stream` all are alone."""
        return self._router.reasons if self._router else Counter(alone=self._first)

    @property
    def held(self) -> int:
        """Records that are held back."""
        return self._service.held

    def __call__(self, messages: Sequence[bytes]) -> list[Outcome]:
        """One outcome per message, in order, as if no more came; an unreadable one leaves its neighbours alone."""
        first, outcomes = self._given, dict[int, Outcome]()
        for part in (*self.serve(messages), self.finish()):
            outcomes.update(part)
        return [outcomes[first + place] for place in range(len(messages))]

    def serve(self, messages: Sequence[bytes], keys: Sequence[bytes | None] = ()) -> Iterator[dict[int, Outcome]]:
        """Serve what has arrived; by number what became of each message that leaves now.

        It comes in parts that may be committed one by one: urgent records first where they would be late.
        """
        with self.clock.pre():
            self._arrived = arrived = Messages(self._schema, messages, keys)
        outcomes = {self._given + place: Outcome(unreadable=why) for place, why in arrived.unreadable.items()}
        self.counts["unreadable"] += len(outcomes)
        ways: dict[bool, list[int]] = {True: [], False: []}
        for route in self._routes(self._first + len(arrived.places)):
            if route.reason == "urgent":
                yield self._serve(route)
            else:
                # Nothing urgent is left that would wait for them: all of one way are served in one go.
                ways[route.together].extend(route.records)
        if ways[True] and ways[False]:
            self._go_along(ways)
        for together, records in ways.items():
            if records:
                reason = "high load" if together else "low load" if self._router else "alone"
                outcomes.update(self._serve(Route(records, together, reason)))
        self._first, self._given = self._first + len(arrived.places), self._given + len(messages)
        yield outcomes if self._service.holds else dict(sorted(outcomes.items()))

    def due(self) -> dict[int, Outcome]:
        """Outcomes of records whose longest delay has passed; asked for while no message arrives."""
        with self.clock.pure():
            passed = self._service.due()
        return self._outcomes(passed, "held back")

    def finish(self) -> dict[int, Outcome]:
        """Outcomes of all held records at the end of the stream."""
        with self.clock.pure():
            passed = self._service.finish()
        return self._outcomes(passed, "held back")

    def reset(self) -> None:
        """Drop what is held back: its messages are given again, with numbers of their own."""
        self._service.reset()
        self._numbers.clear()

    def _go_along(self, ways: dict[bool, list[int]]) -> None:
        """Put the tail of the backlog into a microflow that is served anyway: it costs less in it than alone."""
        assert self._router is not None
        ways[True] = sorted(ways[True] + ways[False])
        self._router.reasons["low load"] -= len(ways[False])
        self._router.reasons["high load"] += len(ways[False])
        ways[False] = []

    def _routes(self, arrived: int) -> Iterator[Route]:
        if self._router is None:
            yield Route(range(self._first, arrived), together=False, reason="alone")
        else:
            while (route := self._router.route(arrived)) is not None:
                yield route

    def _serve(self, route: Route) -> dict[int, Outcome]:
        started = _now()
        served = self._together(route) if route.together else self._alone(route)
        if self._router is not None:
            self._router.observe(route, _now() - started)
        return served

    def _alone(self, route: Route) -> dict[int, Outcome]:
        with self.clock.pre():
            numbers = self._numbered(route)
            self._numbers.update(zip(route.records, numbers, strict=True))
            records = self._arrived.records([ordinal - self._first for ordinal in route.records])
            alone = self._service.alone
        with self.clock.pure():
            passed = [passing for pair in zip(route.records, records, strict=True) for passing in alone(*pair)]
        return self._outcomes(passed, route.reason)

    def _outcomes(self, passed: Sequence[Passing], reason: str) -> dict[int, Outcome]:
        with self.clock.post():
            self.findings.update(violation.rule for passing in passed for violation in passing.violations)
            released = sum(passing.record is not None for passing in passed)
            self._count(released, len(passed) - released)
            return {
                self._numbers.pop(passing.ordinal): Outcome(
                    None if passing.record is None else _encode(passing.record), None, len(passing.violations), reason
                )
                for passing in passed
            }

    def _together(self, route: Route) -> dict[int, Outcome]:
        with self.clock.pre():
            rows = self._arrived.rows([ordinal - self._first for ordinal in route.records])
        with self.clock.pure():
            released, findings = self._service.together(rows)
        with self.clock.post():
            for target, count in enumerate(np.bincount(findings.targets).tolist()):
                if count:
                    self.findings[self._rules[target]] += count
            self._count(released.rows.num_rows, rows.num_rows - released.rows.num_rows)
            texts: list[bytes | None] = [None] * rows.num_rows
            for row, text in zip(released.kept.tolist(), as_json(released.rows), strict=True):
                texts[row] = text
            found = np.bincount(findings.rows, minlength=rows.num_rows).tolist()
            return {
                number: Outcome(text, None, violations, route.reason)
                for number, text, violations in zip(self._numbered(route), texts, found, strict=True)
            }

    def _count(self, released: int, suppressed: int) -> None:
        self.counts["released"] += released
        self.counts["suppressed"] += suppressed

    def _numbered(self, route: Route) -> list[int]:
        places, first, given = self._arrived.places, self._first, self._given
        return [given + places[ordinal - first] for ordinal in route.records]

    def _urgent(self, first: int, stop: int) -> list[int]:
        is_urgent = self._arrived.urgent(self._urgency)
        return [ordinal for ordinal in range(first, stop) if is_urgent[ordinal - self._first]]

    def _earlier(self, first: int, ordinal: int) -> list[int]:
        """Records of the same key that came before."""
        same = self._arrived.same_key(ordinal - self._first)
        return [self._first + row for row in same if first <= self._first + row < ordinal]
