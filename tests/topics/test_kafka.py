"""A real broker, killed and started again on the way."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.pipeline.topic_job import consume, produce
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt
from microflow.processors.contract import ProcessingSpec
from microflow.store.connector import PostgreSQLConnector
from microflow.store.topics import TopicPlace, TopicStore
from microflow.topics.broker import Broker
from microflow.topics.kafka import KafkaReader, KafkaWriter, TopicSettings, create_topic

ROWS = 4_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, needs_jars: Callable[[str], None]) -> Iterator[Broker]:
    needs_jars("kafka")
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="module")
def spec() -> ProcessingSpec:
    schema = load_schema("healthcare")
    settings = MethodSettings(Method.TOKENIZATION)
    return ProcessingSpec(schema, load_policy(schema.policy), settings, key=secrets.token_bytes(32))


@pytest.mark.timeout(240)
def test_a_broker_killed_while_writing_loses_and_doubles_nothing(
    broker: Broker, spec: ProcessingSpec, database_url: str
) -> None:
    """The writer waits for the broker to come back; committed results equal the in-process run's, each once."""
    records = [row for block in generate("healthcare", ROWS, 1) for row in block.rows.to_pylist()]
    create_topic(broker.address, "killed", TopicSettings(partitions=2))

    def kill_and_restart() -> None:
        broker.kill()
        broker.start()

    restart = threading.Timer(0.1, kill_and_restart)
    restart.start()
    with KafkaWriter(broker.address, "killed") as writer:
        assert produce(writer, ((str(row["record_id"]), row) for row in records)) == ROWS
    restart.join()
    with PostgreSQLConnector(database_url) as connector:
        store = TopicStore(connector, "test", "killed")
        with KafkaReader(broker.address, "killed", store.offsets()) as reader:
            report = consume(reader, store, spec)
        found = store.results()
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    expected = [anonymize(compliance(n, record)).record for n, record in enumerate(records)]
    assert report.records == len(found) == ROWS
    assert sorted(json.dumps(r, sort_keys=True) for *_, r in found) == sorted(
        json.dumps(r, sort_keys=True) for r in expected
    )


class DiedBeforeCommitError(Exception):
    pass


@pytest.mark.timeout(120)
def test_a_consumer_that_died_goes_on_behind_its_last_commit(
    broker: Broker, spec: ProcessingSpec, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Results and offsets are one transaction: what was not committed is read again, what was is not."""
    create_topic(broker.address, "resumed")
    records = [row for block in generate("healthcare", 500, 2) for row in block.rows.to_pylist()]
    with KafkaWriter(broker.address, "resumed") as writer:
        produce(writer, ((str(row["record_id"]), row) for row in records))
    commit, commits = TopicStore.commit, []

    def die_at_the_third(self: TopicStore, places: list[TopicPlace], offsets: dict[int, int]) -> None:
        commits.append(len(places))
        if len(commits) == 3:
            raise DiedBeforeCommitError
        commit(self, places, offsets)

    with PostgreSQLConnector(database_url) as connector:
        store = TopicStore(connector, "test", "resumed")
        monkeypatch.setattr(TopicStore, "commit", die_at_the_third)
        with KafkaReader(broker.address, "resumed", store.offsets()) as reader, pytest.raises(DiedBeforeCommitError):
            consume(reader, store, spec, chunk=100)
        assert len(store.results()) == sum(commits[:2])
        with KafkaReader(broker.address, "resumed", store.offsets()) as reader:
            report = consume(reader, store, spec, chunk=100)
        found = store.results()
    assert report.records == 500 - sum(commits[:2])
    assert [offset for _, offset, *_ in found] == list(range(500))


def test_spark_reads_the_same_topic(broker: Broker, needs_jars: Callable[[str], None], tmp_path: Path) -> None:
    """What one client wrote, Spark's own connector reads, in a session of its own."""
    needs_jars("spark-kafka")
    import subprocess
    import sys

    create_topic(broker.address, "spark")
    with KafkaWriter(broker.address, "spark") as writer:
        writer.send((str(n).encode(), b"value") for n in range(1_000))
    code = (
        "import os; from microflow.jvm.java import java_environment;"
        "os.environ.update(java_environment());"
        "from pyspark.sql import SparkSession; from microflow.topics.spark import connector_jars, read_topic;"
        "session = SparkSession.builder.master('local[1]').config('spark.jars', connector_jars())"
        ".config('spark.ui.enabled', 'false').getOrCreate();"
        f"print('rows', read_topic(session, '{broker.address}', 'spark').select('key').distinct().count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120
    )
    assert "rows 1000" in done.stdout
