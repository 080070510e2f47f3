"""``make bench SUITE=live``: JSON in and out in this process, and exactly once through a broker beside a bare loop.

The bare loop is what any program must do that reads a topic and writes another one in transactions: it copies the
values and does nothing else. Where there is no Java, the lines of the broker are left out.
"""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks.harness import Case, Goal, Line, fixed, measure
from benchmarks.pipelines import WORK
from microflow.datasets import generate
from microflow.engine.contract import ProcessingSpec
from microflow.engine.kernel import BatchKernel
from microflow.engine.messages import as_json
from microflow.engine.service import MessageService
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt
from microflow.errors import SetupError
from microflow.experiments.kafka import through_a_broker
from microflow.experiments.work import spec_of
from microflow.pipeline.stream_job import Progress, Stream
from microflow.settings import MICROFLOW_ROWS
from microflow.sources.json_lines import read_messages
from microflow.topics.broker import Broker
from microflow.topics.exchange import GroupSource, KafkaSink
from microflow.topics.kafka import KafkaWriter, create_topic

__all__ = ["run"]

ROWS = 20_000
_IN_PROCESS_ROUNDS, _BROKER_ROUNDS = 7, 3
#: A backlog long enough that joining the group and the first fetch do not matter: so many times the rows.
_BACKLOG = 5
_PACED_S = 12.0


def run(rows: int | None = None) -> list[Line]:
    """Rates in this process, then through a broker, then the latency at a third of that rate."""
    records = [record for batch in generate("healthcare", rows or ROWS, seed=1) for record in batch.rows.to_pylist()]
    messages = [json.dumps(record, separators=(",", ":")).encode() for record in records]
    return [*_in_process(messages), *_through_a_broker(messages)]


def _in_process(messages: Sequence[bytes]) -> list[Line]:
    spec, few = spec_of(WORK), messages[: len(messages) // 4]
    bare, batch = "JSON in and out, nothing done", "batch, JSON in and out"
    stream, hybrid = (MessageService(spec, hybrid=hybrid) for hybrid in (False, True))
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    rows = read_messages(few, spec.schema)
    assert rows is not None
    records = rows.to_pylist()

    def alone() -> float:
        return float(sum(anonymize(compliance(0, record)).ordinal == 0 for record in records))

    lines = measure(
        [
            Case(bare, partial(_copied, few)),
            Case("stream, records in memory", alone, reference=bare, goal=Goal(1e5, of_ratio=False)),
            Case("stream, JSON in and out", partial(_served, stream, few, MICROFLOW_ROWS), reference=bare),
            Case(batch, partial(_batch, spec, messages), reference=bare),
            Case(
                "hybrid, JSON in and out, backlog",
                partial(_served, hybrid, messages, 10_000),
                reference=batch,
                goal=Goal(0.9),
            ),
        ],
        rounds=_IN_PROCESS_ROUNDS,
        warmups=0,
    )
    took_ns = []
    for record in records:
        started = time.perf_counter_ns()
        anonymize(compliance(0, record))
        took_ns.append(time.perf_counter_ns() - started)
    p99_us = float(np.percentile(took_ns, 99)) / 1e3
    return [*lines, fixed("stream, records in memory: service p99", p99_us, "µs", at_most=50)]


def _copied(messages: Sequence[bytes]) -> float:
    encode = msgspec.json.Encoder().encode
    return float(sum(bool(encode(json.loads(message))) for message in messages))


def _served(service: MessageService, messages: Sequence[bytes], most: int) -> float:
    return float(sum(len(service(messages[at : at + most])) for at in range(0, len(messages), most)))


def _batch(spec: ProcessingSpec, messages: Sequence[bytes]) -> float:
    """What the hybrid cannot be faster than: read by columns, a microflow at a time, write."""
    kernel, done = BatchKernel(spec), 0
    for at in range(0, len(messages), MICROFLOW_ROWS):
        rows = read_messages(messages[at : at + MICROFLOW_ROWS], spec.schema)
        assert rows is not None
        released, findings = kernel.run(rows)
        as_json(released.rows)
        done += findings.checked
    return float(done)


def _through_a_broker(messages: Sequence[bytes]) -> list[Line]:
    """What a broker carries, and how late a record is at a third of that: as the experiment about Kafka measures it."""
    try:
        with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
            lines, rate = _exactly_once(broker.address, messages)
        late_ns = through_a_broker({**WORK, "load": rate / 3, "seconds": _PACED_S})["latency_ns"]
    except SetupError:
        return []
    p99_ms = float(np.percentile(late_ns, 99)) / 1e6
    return [*lines, fixed(f"append to committed p99 at {rate / 3:,.0f} records/s", p99_ms, "ms", at_most=250)]


def _exactly_once(address: str, messages: Sequence[bytes]) -> tuple[list[Line], float]:
    backlog = [*messages] * _BACKLOG
    for name in ("in", "out", "dead"):
        create_topic(address, name, partitions=2)
    with KafkaWriter(address, "in") as writer:
        writer.send((b"%d" % number, message) for number, message in enumerate(backlog))
    bare, ours = "a topic to a topic, bare loop", "a topic to a topic, exactly once"
    ways = {bare: _bare, ours: _stream}
    cpu: dict[str, list[float]] = {name: [] for name in ways}

    def timed(name: str) -> float:
        started = time.process_time()
        found = ways[name](address, len(backlog))
        cpu[name].append((time.process_time() - started) / len(backlog) * 1e6)
        return found

    lines = measure(
        [
            Case(bare, partial(timed, bare), timed=True),
            Case(ours, partial(timed, ours), reference=bare, goal=Goal(0.5), timed=True),
        ],
        rounds=_BROKER_ROUNDS,
    )
    rate = lines[-1].value
    # On a machine that others use too, time of the processor says more than time on the wall.
    lines += [fixed(f"{name}: CPU", min(spent), "µs/record") for name, spent in cpu.items()]
    return [*lines, fixed("the same, on this machine", rate, "records/s", at_least=30_000)], rate


def _stream(address: str, enough: int) -> float:
    """Records a second from the first commit on."""
    source = GroupSource(address, "in", uuid.uuid4().hex)
    sink = KafkaSink(address, "out", source, dead="dead")
    marks: list[tuple[float, int]] = []

    def note(progress: Progress) -> None:
        if progress.committed:
            marks.append((time.perf_counter(), progress.committed))

    stream = Stream(source, sink, MessageService(spec_of(WORK), hybrid=True), observe=note)
    stream.run(stopping=lambda: stream.progress.committed >= enough)
    source.close()
    return _rate(marks)


def _bare(address: str, enough: int) -> float:
    """The same transactions of as many records, and nothing else."""
    shared = {"bootstrap.servers": address, "log_level": 0}
    group = {"group.id": uuid.uuid4().hex, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
    consumer = Consumer({**shared, **group, "isolation.level": "read_committed", "queued.max.messages.kbytes": 16_384})
    producer = Producer({**shared, "transactional.id": uuid.uuid4().hex, "linger.ms": 5, "compression.type": "lz4"})
    producer.init_transactions()
    consumer.subscribe(["in"])
    marks: list[tuple[float, int]] = []
    done = 0
    while done < enough:
        if not (some := consumer.consume(1, 1.0)):
            continue
        some += consumer.consume(10_000, 0)
        producer.begin_transaction()
        ends: dict[int, int] = {}
        for message in some:
            producer.produce("out", message.value(), message.key())
            ends[message.partition() or 0] = (message.offset() or 0) + 1
        places = [TopicPartition("in", partition, end) for partition, end in ends.items()]
        producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata())
        producer.commit_transaction()
        done += len(some)
        marks.append((time.perf_counter(), done))
    consumer.close()
    return _rate(marks)


def _rate(marks: Sequence[tuple[float, int]]) -> float:
    (first, begun), (last, done) = marks[0], marks[-1]
    return (done - begun) / (last - first)
