"""``microflow kafka``: records through a real broker, results and offsets in PostgreSQL."""

from __future__ import annotations

import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from microflow.cli.demonstration import generated, generator_options, require_equal, rows_text, tokenizing
from microflow.pipeline.stream_job import Stream
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt
from microflow.processors.service import MessageService
from microflow.settings import Settings
from microflow.store.connector import PostgreSQLConnector
from microflow.store.topics import TopicStore
from microflow.topics.broker import Broker
from microflow.topics.exchange import GroupSource
from microflow.topics.kafka import KafkaWriter, TopicSettings, create_topic

__all__ = ["kafka"]


@click.group()
def kafka() -> None:
    """Process a Kafka topic; KAFKA_BOOTSTRAP_SERVERS names your broker, else one is started."""


@kafka.command()
@generator_options
@click.option("--rows", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--partitions", type=click.IntRange(1), default=2, show_default=True)
@click.option("--replication", type=click.IntRange(1), default=1, show_default=True)
@click.option("--retention-hours", type=click.IntRange(1), default=168, show_default=True)
def run(*, schema: str, rows: int, partitions: int, replication: int, retention_hours: int, seed: int) -> None:
    """Send generated records through a new topic and check what comes out against the in-process run.

    Ends with exit status 1 unless rows out = rows in and all are equal.
    """
    spec = tokenizing(schema)
    records = generated(schema, rows, seed)
    topic = f"microflow-{uuid.uuid4().hex[:12]}"
    with _broker() as address, PostgreSQLConnector() as connector:
        create_topic(address, topic, TopicSettings(partitions, replication, retention_hours * 3_600_000))
        with KafkaWriter(address, topic) as writer:
            writer.send((str(row[spec.schema.record_id or ""]).encode(), json.dumps(row).encode()) for row in records)
        store = TopicStore(connector, "microflow-kafka-run", topic)
        source, service = GroupSource(address, topic, "microflow-kafka-run", kept=store.kept), MessageService(spec)
        Stream(source, store, service).run(until_idle_s=5)
        source.close()
        results = store.results()
        report = service.clock.report()
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    expected = [anonymize(compliance(n, record)).record for n, record in enumerate(records)]
    equal = _same(expected, [row[3] for row in results])
    sent = len(records)
    click.echo(rows_text(sent, len(results), equal=equal))
    click.echo(f"end to end    {len(results) / (report.wall_ns / 1e9):,.0f} records/s, results committed")
    require_equal(sent, len(results), equal=equal)


@contextmanager
def _broker() -> Iterator[str]:
    if address := Settings.read().kafka_bootstrap_servers:
        yield address
        return
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
        yield broker.address


def _same(expected: Sequence[Mapping[str, object] | None], found: Sequence[Mapping[str, object] | None]) -> bool:
    """Equal as multisets: partitions are read in any order."""
    return sorted(map(repr, map(_sorted, expected))) == sorted(map(repr, map(_sorted, found)))


def _sorted(record: Mapping[str, object] | None) -> list[tuple[str, object]]:
    return sorted((record or {}).items())
