"""``microflow bench live``: JSON in and out in this process, and exactly once through a broker beside a bare loop.

The bare loop is what any program must do that reads a topic and writes another one in transactions: it copies the
values and does nothing else. Where there is no Java, the lines of the broker are left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from microflow.bench.harness import Case, Goal, Line, compared, fixed, rate
from microflow.bench.pipelines import spec_of
from microflow.datasets import generate
from microflow.engine.contract import ProcessingSpec
from microflow.engine.kernel import BatchKernel
from microflow.engine.messages import as_json
from microflow.engine.service import MessageService
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt
from microflow.errors import SetupError
from microflow.lab.trials import interleaved
from microflow.pipeline.stream_job import Progress, Stream
from microflow.settings import MICROFLOW_ROWS
from microflow.sources.json_lines import read_messages
from microflow.topics.broker import Broker
from microflow.topics.exchange import GroupSource, KafkaSink
from microflow.topics.kafka import KafkaReader, KafkaWriter, create_topic

__all__ = ["run"]

ROWS = 20_000
_IN_PROCESS_ROUNDS, _BROKER_ROUNDS = 7, 3
#: A backlog long enough that joining the group and the first fetch do not matter: so many times the rows.
_BACKLOG = 5
_PACED_S, _START_S = 10.0, 60.0
#: Of the schedule's beginning: the router learns, caches fill.
_WARM_UP_S = 2.0
_BARE = "a topic to a topic, bare loop"


def run(rows: int | None = None) -> list[Line]:
    """Rates in this process, then through a broker, then the latency at a third of that rate."""
    records = [record for batch in generate("healthcare", rows or ROWS, seed=1) for record in batch.rows.to_pylist()]
    messages = [json.dumps(record, separators=(",", ":")).encode() for record in records]
    return [*_in_process(messages), *_through_a_broker(messages)]


def _in_process(messages: Sequence[bytes]) -> list[Line]:
    spec = spec_of()
    services = {name: MessageService(spec, hybrid=name == "hybrid") for name in ("stream", "hybrid")}
    bare, batch = "JSON in and out, nothing done", "batch, JSON in and out"
    few = messages[: len(messages) // 4]
    arms = {
        bare: _case(bare, partial(_copied, few)),
        "stream, JSON in and out": _case("stream", partial(_served, services["stream"], few, MICROFLOW_ROWS)),
        "stream, records in memory": _case("records", _alone(spec, few)),
        "hybrid, JSON in and out, backlog": _case("hybrid", partial(_served, services["hybrid"], messages, 10_000)),
        batch: _case(batch, partial(_batch, spec, messages)),
    }
    rates = interleaved(arms, _IN_PROCESS_ROUNDS)
    p99_us = float(np.percentile(_service_ns(spec, few), 99)) / 1e3
    return [
        compared(bare, rates),
        compared("stream, records in memory", rates, bare, Goal(1e5, of_ratio=False)),
        fixed("stream, records in memory: service p99", p99_us, "µs", at_most=50),
        compared("stream, JSON in and out", rates, bare),
        compared(batch, rates, bare),
        compared("hybrid, JSON in and out, backlog", rates, batch, Goal(0.9)),
    ]


def _case(name: str, work: Callable[[], float]) -> Callable[[], float]:
    return partial(rate, Case(name, work))


def _copied(messages: Sequence[bytes]) -> float:
    encode = msgspec.json.Encoder().encode
    return float(sum(bool(encode(json.loads(message))) for message in messages))


def _served(service: MessageService, messages: Sequence[bytes], most: int) -> float:
    return float(sum(len(service(messages[at : at + most])) for at in range(0, len(messages), most)))


def _alone(spec: ProcessingSpec, messages: Sequence[bytes]) -> Callable[[], float]:
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    rows = read_messages(messages, spec.schema)
    assert rows is not None
    records = rows.to_pylist()
    return lambda: float(sum(anonymize(compliance(0, record)).ordinal == 0 for record in records))


def _service_ns(spec: ProcessingSpec, messages: Sequence[bytes]) -> list[int]:
    """What each record alone takes."""
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    rows, lengths, now = read_messages(messages, spec.schema), list[int](), time.perf_counter_ns
    assert rows is not None
    for record in rows.to_pylist():
        started = now()
        anonymize(compliance(0, record))
        lengths.append(now() - started)
    return lengths


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
    try:
        with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
            return _exactly_once(broker.address, messages)
    except SetupError:
        return []


def _exactly_once(address: str, messages: Sequence[bytes]) -> list[Line]:
    backlog = [*messages] * _BACKLOG
    create_topic(address, "in", partitions=2)
    for name in ("out", "dead"):
        create_topic(address, name, partitions=2)
    with KafkaWriter(address, "in") as writer:
        writer.send((b"%d" % number, message) for number, message in enumerate(backlog))
    spec, ours = spec_of(), "a topic to a topic, exactly once"
    cpu: dict[str, list[float]] = {_BARE: [], ours: []}

    def timed(name: str, work: Callable[[], float]) -> float:
        started = time.process_time()
        found = work()
        cpu[name].append((time.process_time() - started) / len(backlog) * 1e6)
        return found

    arms = {
        _BARE: lambda: timed(_BARE, lambda: _bare(address, len(backlog))),
        ours: lambda: timed(ours, lambda: _stream(address, spec, len(backlog))),
    }
    rates = interleaved(arms, _BROKER_ROUNDS, warm_ups=1)
    third = float(np.median(rates[ours])) / 3
    p99_ms = _latency_ms(address, messages, third)
    return [
        compared(_BARE, rates),
        compared(ours, rates, _BARE, Goal(0.5)),
        # On a machine that others use too, time of the processor says more than time on the wall.
        *(fixed(f"{name}: CPU", min(cpu[name]), "µs/record") for name in arms),
        fixed("the same, on this machine", float(np.median(rates[ours])), "records/s", at_least=30_000),
        fixed(f"append to committed p99 at {third:,.0f} records/s", p99_ms, "ms", at_most=250),
    ]


def _stream(address: str, spec: ProcessingSpec, enough: int) -> float:
    """Records a second from the first commit on."""
    source = GroupSource(address, "in", uuid.uuid4().hex)
    sink = KafkaSink(address, "out", source, dead="dead")
    marks: list[tuple[float, int]] = []

    def note(progress: Progress) -> None:
        if progress.committed:
            marks.append((time.perf_counter(), progress.committed))

    stream = Stream(source, sink, MessageService(spec, hybrid=True), observe=note)
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


def _latency_ms(address: str, messages: Sequence[bytes], per_second: float) -> float:
    """p99 from appending a record to seeing what became of it as a reader of committed records.

    A process of its own serves; a record's key says when it was appended.
    """
    for name in ("paced", "paced.safe", "paced.dead"):
        create_topic(address, name, partitions=2)
    place = f"kafka://{address}/paced"
    words = [place, f"{place}.safe", "--schema", "healthcare", "--method", "tokenization"]
    environment = os.environ | {"MICROFLOW_TOKEN_KEY": "07" * 32}
    command = [sys.executable, "-m", "microflow", "stream", *words]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    feeder = threading.Thread(target=_feed, args=(address, messages, per_second))
    latencies: list[tuple[int, int]] = []
    try:
        with KafkaReader(address, "paced.safe") as reader:
            _await_first(address, messages[0], reader)
            feeder.start()
            while (got := reader.poll(10_000, 0.5)) or feeder.is_alive():
                now = time.monotonic_ns()
                latencies += [(int(message.key or b"0"), now) for message in got]
    finally:
        process.terminate()
        process.wait()
    sent, seen = np.array(latencies).T
    later = sent > sent.min() + _WARM_UP_S * 1e9
    return float(np.percentile((seen - sent)[later], 99)) / 1e6


def _await_first(address: str, message: bytes, reader: KafkaReader) -> None:
    """Return when the process serves: while it starts, everything is late.

    Raises:
        SetupError: it does not within a minute.
    """
    with KafkaWriter(address, "paced") as writer:
        writer.send([(b"%d" % time.monotonic_ns(), message)])
    if not reader.poll(1, _START_S):
        raise SetupError("the stream's process did not start")


def _feed(address: str, messages: Sequence[bytes], per_second: float) -> None:
    turn = max(int(per_second * 0.01), 1)
    with KafkaWriter(address, "paced") as writer:
        started = time.monotonic()
        for number in count(0, turn):
            if number / per_second > _PACED_S + _WARM_UP_S:
                break
            time.sleep(max(started + number / per_second - time.monotonic(), 0))
            now = b"%d" % time.monotonic_ns()
            writer.send((now, messages[at % len(messages)]) for at in range(number, number + turn))
