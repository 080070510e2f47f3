"""Messages in, released messages out: what ``microflow stream`` does with each batch that has arrived.

A `stream` service works record by record. A `hybrid` service asks `microflow.processors.router.AdaptiveRouter`: urgent
records that would be late first, a backlog vectorised, a low load one by one. Both give equal rows for methods that
release a record by itself; results are in the order of arrival.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from microflow.ingest.json_lines import UnreadableError, read_message
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt
from microflow.processors.contract import ProcessingSpec
from microflow.processors.kernel import BatchKernel
from microflow.processors.router import AdaptiveRouter, Route
from microflow.processors.urgency import Urgency
from microflow.schema import Record

__all__ = ["MessageService", "Outcome", "encoded"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: released, suppressed (neither field is set), or unreadable for a reason."""

    released: Record | None = None
    unreadable: str | None = None


class MessageService:
    """Reads, checks and anonymizes JSON messages.

    Args:
        spec: The work; its method must release a record by itself.
        hybrid: Let the adaptive router decide; otherwise one record at a time.

    Raises:
        MicroflowError: the method needs other records (k-anonymity).
    """

    def __init__(self, spec: ProcessingSpec, *, hybrid: bool = False) -> None:
        self._schema = spec.schema
        self._compliance, self._anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
        self._kernel = BatchKernel(spec) if hybrid else None
        self._urgency = Urgency(spec.schema, reference=spec.policy.reference_date)
        self._records: list[Record] = []
        self._first = 0
        self._router = AdaptiveRouter(urgent=self._urgent) if hybrid else None
        #: Messages by what became of them.
        self.counts: Counter[str] = Counter()

    @property
    def reasons(self) -> Counter[str]:
        """Records by why the router sent them the way they went; all are alone in a `stream`."""
        return (
            self._router.reasons if self._router else Counter(alone=self.counts["released"] + self.counts["suppressed"])
        )

    def __call__(self, messages: Sequence[bytes]) -> list[Outcome]:
        """One outcome per message, in order; a message that cannot be read leaves its neighbours alone."""
        outcomes = [Outcome()] * len(messages)
        positions, self._records = [], []
        for position, message in enumerate(messages):
            try:
                self._records.append(read_message(message, self._schema))
                positions.append(position)
            except UnreadableError as error:
                outcomes[position] = Outcome(unreadable=str(error))
        for position, record in zip(positions, self._released(), strict=True):
            outcomes[position] = Outcome(released=record)
        released = sum(one.released is not None for one in outcomes)
        self.counts["released"] += released
        self.counts["unreadable"] += len(messages) - len(positions)
        self.counts["suppressed"] += len(positions) - released
        return outcomes

    def _released(self) -> list[Record | None]:
        if self._router is None:
            return [self._alone(record) for record in self._records]
        done: list[Record | None] = [None] * len(self._records)
        arrived = self._first + len(self._records)
        while (route := self._router.route(arrived)) is not None:
            started = time.perf_counter_ns()
            places = [ordinal - self._first for ordinal in route.records]
            for place, record in zip(places, self._serve(route, places), strict=True):
                done[place] = record
            self._router.observe(route, time.perf_counter_ns() - started)
        self._first = arrived
        return done

    def _serve(self, route: Route, places: Sequence[int]) -> list[Record | None]:
        records = [self._records[place] for place in places]
        return self._together(records) if route.together else [self._alone(record) for record in records]

    def _alone(self, record: Record) -> Record | None:
        return self._anonymize(self._compliance(0, record)).record

    def _together(self, records: list[Record]) -> list[Record | None]:
        assert self._kernel is not None
        released, screened = self._kernel.run(pa.RecordBatch.from_pylist(records, self._schema.arrow))
        results: list[Record | None] = [None] * len(records)
        for place, record in zip(screened.kept[released.kept].tolist(), released.rows.to_pylist(), strict=True):
            results[place] = record
        return results

    def _urgent(self, first: int, stop: int) -> list[int]:
        is_urgent = self._urgency.of_record
        return [i for i in range(first, stop) if is_urgent(self._records[i - self._first])]


def encoded(record: Record) -> bytes:
    """A released record as JSON."""
    return json.dumps(record, separators=(",", ":")).encode()
