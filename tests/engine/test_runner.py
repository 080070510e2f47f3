"""The topology in this process loses nothing and gives nothing twice, whatever fails."""

import random
from collections.abc import Callable, Sequence

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method
from microflow.engine import LocalBatchProcessor, ProcessingSpec
from microflow.engine.bolts import ComplianceBolt, Passing
from microflow.engine.runner import LocalTopology, Message
from microflow.errors import StoreError
from microflow.records import microflows
from microflow.schema import Record
from microflow.timing.clock import PhaseClock
from microflow.topics.delivery import Delivery
from microflow.topics.memory import MemoryTopic

ROWS = 400


class Clock:
    """A clock that a test sets."""

    ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def spec(make_spec: Callable[..., ProcessingSpec]) -> ProcessingSpec:
    return make_spec("healthcare")


@pytest.fixture
def rows(spec: ProcessingSpec, make_rows: Callable[..., pa.RecordBatch]) -> pa.RecordBatch:
    return make_rows(spec.schema, ROWS)


def topic_of(rows: pa.RecordBatch) -> MemoryTopic[Message]:
    topic = MemoryTopic[Message]("records", partitions=3)
    topic.send((b"%d" % ordinal, (ordinal, record)) for ordinal, record in enumerate(rows.to_pylist()))
    return topic


class Results:
    """A sink that notes what it is given, and how often."""

    def __init__(self) -> None:
        self.records: dict[int, Record | None] = {}
        self.given = 0

    def __call__(self, results: Sequence[Passing]) -> None:
        self.given += len(results)
        self.records |= {one.ordinal: one.record for one in results}


def expected(spec: ProcessingSpec, rows: pa.RecordBatch) -> dict[int, Record | None]:
    (done,) = LocalBatchProcessor(spec).process(microflows([rows]), PhaseClock())
    released = dict(zip(done.ordinals.tolist(), done.released.to_pylist(), strict=True))
    return {ordinal: released.get(ordinal) for ordinal in range(rows.num_rows)}


def test_bolts_that_fail_are_given_the_record_again(spec: ProcessingSpec, rows: pa.RecordBatch) -> None:
    """One in five checks fails: every result arrives, once, and equal to batch processing."""
    chance, bolt, results = random.Random(1), ComplianceBolt.of(spec), Results()

    def flaky(ordinal: int, record: Record) -> Passing:
        if chance.random() < 0.2:
            raise StoreError("injected")
        return bolt(ordinal, record)

    delivery = Delivery(topic_of(rows).reader(), attempts=50)
    LocalTopology(spec, delivery, results, compliance=flaky).finish()
    assert results.records == expected(spec, rows)
    assert results.given == ROWS
    assert delivery.replayed > 20
    assert delivery.in_flight == 0


def test_a_killed_run_continues_where_it_was_committed(spec: ProcessingSpec, rows: pa.RecordBatch) -> None:
    """The sink fails for good in the middle; a second run from the released offsets completes the results."""
    topic, results = topic_of(rows), Results()

    def failing(batch: Sequence[Passing]) -> None:
        if len(results.records) > ROWS // 2:
            raise StoreError("injected")
        results(batch)

    delivery = Delivery(topic.reader())
    first = LocalTopology(spec, delivery, failing)
    with pytest.raises(StoreError, match="injected"):
        _drain(first)
    topic.release(delivery.committed)
    assert len(results.records) < ROWS
    LocalTopology(spec, Delivery(topic.reader()), results).finish()
    assert results.records == expected(spec, rows)
    assert results.given == ROWS, "what was acknowledged is not given again"


def test_late_records_are_not_released_twice(make_spec: Callable[..., ProcessingSpec], rows: pa.RecordBatch) -> None:
    """CASTLE holds records longer than the message time-out: they are given again, and leave once."""
    spec, results, clock = make_spec("healthcare", Method.K_ANONYMITY, k=3, delta=100), Results(), Clock()
    delivery = Delivery(topic_of(rows).reader(), timeout_ns=10, attempts=1, now=clock)
    topology = LocalTopology(spec, delivery, results)
    for _ in range(60):
        topology.step(most=20)
        clock.ns += 3
    topology.finish()
    assert delivery.replayed > 0
    assert set(results.records) == set(range(ROWS))
    assert results.given == ROWS


def test_back_pressure_reaches_the_topic(make_spec: Callable[..., ProcessingSpec], rows: pa.RecordBatch) -> None:
    """What is held back counts as in flight: the reader stops at the bound, the topic keeps the rest."""
    spec = make_spec("healthcare", Method.K_ANONYMITY, k=3, delta=10_000)
    topic = topic_of(rows)
    reader = topic.reader()
    topology = LocalTopology(spec, Delivery(reader, most_in_flight=50), Results())
    for _ in range(20):
        topology.step(most=30)
    assert reader.backlog() >= ROWS - 50 - 40, "beyond the bound only records that were suppressed at once have left"


def _drain(topology: LocalTopology) -> None:
    while topology.step(most=30):
        pass
