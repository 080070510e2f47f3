"""A topic processed record by record, its results and offsets committed together.

The three phases hold here too: receiving is pre-processing, the bolts are pure processing, the commit is
post-processing; the clock stands still between chunks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt
from microflow.processors.contract import ProcessingSpec
from microflow.records import coerce
from microflow.schema import Record
from microflow.settings import MICROFLOW_ROWS
from microflow.store.topics import TopicPlace, TopicStore
from microflow.timing.clock import PhaseClock, PhaseReport
from microflow.topics.contract import Reader, Received, Writer

__all__ = ["TopicReport", "consume", "produce"]


@dataclass(frozen=True, slots=True)
class TopicReport:
    """Records in, released and suppressed, and where the time went."""

    records: int
    released: int
    suppressed: int
    violations: int
    phases: PhaseReport


def produce(writer: Writer[bytes], records: Iterable[tuple[str, Record]]) -> int:
    """Send (key, record) pairs as JSON and wait until all are safe; returns how many."""
    sent = 0

    def encoded() -> Iterable[tuple[bytes, bytes]]:
        nonlocal sent
        for key, record in records:
            sent += 1
            yield key.encode(), json.dumps(record, separators=(",", ":")).encode()

    writer.send(encoded())
    writer.flush()
    return sent


def consume(
    reader: Reader[bytes], store: TopicStore, spec: ProcessingSpec, *, chunk: int = MICROFLOW_ROWS
) -> TopicReport:
    """Process everything in the topic, committing every chunk; begins where ``reader.offsets`` say.

    Returns when nothing is left. Whoever calls again, after whatever crash, goes on behind the last commit.
    """
    compliance, anonymize, clock = ComplianceBolt.of(spec), AnonymizeBolt.of(spec), PhaseClock()
    records = released = violations = 0
    while True:
        with clock.pre():
            received = reader.poll(chunk)
            typed = [_record(one, spec) for one in received]
        if not received:
            with clock.pre():
                left = reader.backlog()
            if not left:
                break
            continue
        with clock.pure():
            passed = [anonymize(compliance(position, record)) for position, record in enumerate(typed)]
        with clock.post():
            pairs = zip(received, passed, strict=True)
            places = [TopicPlace(at.partition, at.offset, len(one.violations), one.record) for at, one in pairs]
            store.commit(places, reader.offsets)
        records += len(places)
        released += sum(place.record is not None for place in places)
        violations += sum(place.violations for place in places)
    return TopicReport(records, released, records - released, violations, clock.report())


def _record(received: Received[bytes], spec: ProcessingSpec) -> Record:
    """A message that is no JSON object counts as a record of missing values: its offset must not be lost."""
    try:
        found = json.loads(received.value)
    except ValueError:
        found = None
    return coerce(found if isinstance(found, dict) else {}, spec.schema)
