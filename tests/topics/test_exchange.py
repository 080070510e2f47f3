"""Three processes share a real topic, one is killed: every record once in PostgreSQL; and what Kafka keeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.store.connector import PostgreSQLConnector
from microflow.topics import Position, Result
from microflow.topics.broker import Broker
from microflow.topics.exchange import GroupSource, KafkaSink, _ahead_of, _until_done, places
from microflow.topics.kafka import KafkaReader, KafkaWriter, create_topic
from pipeline.alike import topic_results

ROWS = 10_000
KEY = bytes(range(32))
SCHEMA = load_schema("healthcare")
RECORDS = [row for block in generate("healthcare", ROWS, 1) for row in block.rows.to_pylist()]
MESSAGES = [json.dumps(record).encode() for record in RECORDS]
METHODS = {
    "tokenization": ("--method", "tokenization"),
    "k_anonymity": ("--method", "k_anonymity", "--delta", "300", "--max-delay", "2"),
}
POISON = [(b"bad", b"[" * 100_000), (b"worse", b"\xff"), (b"twice", MESSAGES[0][:-1] + b',"age":1,"age":2}')]


@pytest.fixture(scope="module")
def expected() -> list[bytes | None]:
    spec = ProcessingSpec(SCHEMA, load_policy(SCHEMA.policy), MethodSettings(Method.TOKENIZATION), key=KEY)
    return [one.released for one in MessageService(spec, hybrid=True)(MESSAGES)]


@contextmanager
def three(
    source: str, sink: str, folder: Path, *more: str, **environment: str
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes that notice soon when one of them is gone."""
    config = folder / "client.properties"
    config.write_text("# quick\nsession.timeout.ms=2000\nheartbeat.interval.ms=500\ntransaction.timeout.ms=4000\n")
    words = [source, sink, "--schema", "healthcare", "--client-config", str(config), *(more or METHODS["tokenization"])]
    command = [sys.executable, "-c", "from microflow.cli import main; main()", "stream", *words]
    given = {**os.environ, "MICROFLOW_TOKEN_KEY": KEY.hex(), **environment}
    running = [subprocess.Popen(command, env=given, stderr=subprocess.DEVNULL) for _ in range(3)]
    try:
        yield running
    finally:
        for process in running:
            process.kill()
            process.wait()


def until(count: Callable[[], int], enough: int, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while count() < enough:
        assert time.monotonic() < deadline, f"{count()} of {enough}"
        time.sleep(0.1)


def ended(running: list[subprocess.Popen[bytes]]) -> list[int]:
    """SIGTERM drains and commits."""
    for process in running:
        process.send_signal(signal.SIGTERM)
    return [process.wait(30) for process in running]


def send(broker: Broker, topic: str, first: int, last: int) -> None:
    with KafkaWriter(broker.address, topic) as writer:
        writer.send((str(n).encode(), MESSAGES[n]) for n in range(first, last))
        writer.send(POISON if first == 0 else [])


@pytest.mark.timeout(150)
@pytest.mark.parametrize("method", METHODS)
def test_three_processes_to_postgresql_one_killed(
    broker: Broker, tmp_path: Path, database_url: str, expected: list[bytes | None], method: str
) -> None:
    """Rows, reasons and positions are one transaction: every message has one row, whatever was held back."""
    topic = f"rows-{method}"
    create_topic(broker.address, topic, partitions=3)
    source = f"kafka://{broker.address}/{topic}"
    with PostgreSQLConnector(database_url) as connector:

        def count() -> int:
            ((rows,),) = connector.query("SELECT count(*) FROM topic_results WHERE topic = %s", (topic,))
            return int(rows)

        with three(source, "postgresql", tmp_path, *METHODS[method], DATABASE_URL=database_url) as running:
            send(broker, topic, 0, ROWS // 2)
            until(count, 100)
            running[0].kill()
            send(broker, topic, ROWS // 2, ROWS)
            until(count, ROWS + 3)
            assert ended(running[1:]) == [0, 0]
        found = topic_results(connector, f"microflow-healthcare-{topic}", topic)
    if method == "tokenization":
        documents = Counter(json.dumps(row[3], sort_keys=True) for row in found if row[4] is None)
        assert documents == Counter(json.dumps(one and json.loads(one), sort_keys=True) for one in expected)
    else:
        names = [column.name for column in SCHEMA.quasi_identifiers]
        released = [row[3] for row in found if row[3] is not None]
        assert len(released) > 0.9 * ROWS
        assert min(Counter(tuple(one[name] for name in names) for one in released).values()) >= 5
    assert len({row[:2] for row in found}) == ROWS + 3
    assert sum(row[4] is not None for row in found) == 3


@pytest.mark.timeout(60)
def test_what_went_ahead_is_not_read_again(broker: Broker) -> None:
    """Urgent records are committed before their turn: Kafka keeps which, and a restart leaves them out."""
    for topic in ("ahead", "ahead.out"):
        create_topic(broker.address, topic)
    with KafkaWriter(broker.address, "ahead") as writer:
        writer.send((b"k", b"%d" % n) for n in range(10))
    first = GroupSource(broker.address, "ahead", "g")
    sink = KafkaSink(broker.address, "ahead.out", first)
    read: list[int] = []
    while len(read) < 10:
        read += [one.offset for one in first.poll(10, 5)]
    assert sink.commit([Result(0, 7, text=b"7")], {0: Position(2, frozenset({7, 9}))})
    first.close()
    second = GroupSource(broker.address, "ahead", "g")
    again: list[int] = []
    while len(again) < 6:
        again += [one.offset for one in second.poll(10, 5)]
    assert again == [2, 3, 4, 5, 6, 8]
    assert second.ahead(0) == {7, 9}
    second.close()


@pytest.mark.timeout(60)
def test_a_commit_under_way_is_refused_once_the_partitions_are_shared_anew(broker: Broker) -> None:
    """It carries the generation in which the records were read, though it begins when the next one is known."""
    for topic in ("late", "late.out"):
        create_topic(broker.address, topic, partitions=2)
    with KafkaWriter(broker.address, "late") as writer:
        writer.send((b"%d" % n, b"%d" % n) for n in range(10))
    first = GroupSource(broker.address, "late", "late")
    sink = KafkaSink(broker.address, "late.out", first)
    read: list[int] = []
    while len(read) < 10:
        read += [one.offset for one in first.poll(10, 5)]
    go_on = threading.Event()
    sink._thread.submit(go_on.wait)
    commit = sink.start([Result(0, 0, text=b"0")], {0: Position(1), 1: Position(1)})
    second = GroupSource(broker.address, "late", "late")
    rewinds, others = first.rewinds, list[int]()
    while first.rewinds == rewinds or not others:
        first.poll(10, 0.1)
        others += [one.offset for one in second.poll(10, 0.1)]
    go_on.set()
    assert commit.result() is False
    first.close()
    second.close()
    assert 0 in others


@pytest.mark.timeout(60)
def test_a_transaction_that_times_out_while_it_is_aborted_costs_no_process(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker has fenced its producer by then; the next commit has a producer of its own."""
    create_topic(broker.address, "fence")
    sink = KafkaSink(broker.address, "fence", client={"transaction.timeout.ms": "1000"})
    produce = sink._produce

    def late(results: Sequence[Result]) -> None:
        produce(results)
        sink._producer.flush(10)
        time.sleep(4)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, txn_requires_abort=True))

    with monkeypatch.context() as patch:
        patch.setattr(sink, "_produce", late)
        first = sink._producer
        assert sink.commit([Result(0, 0, text=b"0")], {}) is False
    assert sink._producer is not first
    assert sink.commit([Result(0, 0, text=b"1")], {})
    with KafkaReader(broker.address, "fence") as reader:
        assert [message.value for message in reader.poll(10, 5)] == [b"1"]


@given(st.integers(0, 10**12), st.sets(st.integers(1, 3_000)))
def test_what_stands_beside_an_offset_comes_back(offset: int, distances: set[int]) -> None:
    """And fits into the 4 KB that Kafka keeps."""
    ahead = frozenset(offset + distance for distance in distances)
    (place,) = places("t", {1: Position(offset, ahead)})
    assert (place.partition, place.offset, _ahead_of(offset, place.metadata)) == (1, offset, ahead)
    assert len(place.metadata or "") <= 4_096


def test_a_broker_that_has_just_come_back_is_asked_again() -> None:
    """It does not know yet that it is the coordinator; what it refuses for good is raised at once."""
    answers = [KafkaError.NOT_COORDINATOR, KafkaError.COORDINATOR_LOAD_IN_PROGRESS]

    def step(_left: float) -> None:
        if answers:
            raise KafkaException(KafkaError(answers.pop(0)))

    _until_done(step)
    assert not answers
    answers += [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.NOT_COORDINATOR]
    with pytest.raises(KafkaException):
        _until_done(step)
    assert len(answers) == 1
