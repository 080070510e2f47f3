"""``microflow kafka``: records through a real broker, results and offsets in PostgreSQL."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.keys import read_key
from microflow.compliance import load_policy
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.pipeline.topic_job import consume, produce
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt
from microflow.processors.contract import ProcessingSpec
from microflow.settings import Settings
from microflow.store.connector import PostgreSQLConnector
from microflow.store.topics import TopicStore
from microflow.topics.broker import Broker
from microflow.topics.kafka import KafkaReader, KafkaWriter, TopicSettings, create_topic

__all__ = ["kafka"]


@click.group()
def kafka() -> None:
    """Process a Kafka topic; KAFKA_BOOTSTRAP_SERVERS names your broker, else one is started."""


@kafka.command()
@click.option("--schema", type=click.Choice(DATA_TYPES), default="healthcare", show_default=True)
@click.option("--rows", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--partitions", type=click.IntRange(1), default=2, show_default=True)
@click.option("--replication", type=click.IntRange(1), default=1, show_default=True)
@click.option("--retention-hours", type=click.IntRange(1), default=168, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def run(*, schema: str, rows: int, partitions: int, replication: int, retention_hours: int, seed: int) -> None:
    """Send generated records through a new topic and check what comes out against the in-process run.

    Ends with exit status 1 unless rows out = rows in and all are equal.
    """
    described = load_schema(schema)
    settings = MethodSettings(Method.TOKENIZATION)
    spec = ProcessingSpec(described, load_policy(described.policy), settings, key=read_key(settings.key_bits))
    records = [row for block in generate(schema, rows, seed) for row in block.rows.to_pylist()]
    topic = f"microflow-{uuid.uuid4().hex[:12]}"
    with _broker() as address, PostgreSQLConnector() as connector:
        create_topic(address, topic, TopicSettings(partitions, replication, retention_hours * 3_600_000))
        with KafkaWriter(address, topic) as writer:
            sent = produce(writer, ((str(row[described.record_id or ""]), row) for row in records))
        store = TopicStore(connector, "microflow-kafka-run", topic)
        with KafkaReader(address, topic, store.offsets()) as reader:
            report = consume(reader, store, spec)
        results = store.results()
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    expected = [anonymize(compliance(n, record)).record for n, record in enumerate(records)]
    equal = _same(expected, [record for *_, record in results])
    pure_s = report.phases.pure_ns / 1e9
    click.echo(f"rows in       {sent:,}")
    click.echo(f"rows out      {len(results):,}, equal to the in-process run: {'yes' if equal else 'NO'}")
    click.echo(f"end to end    {report.records / (report.phases.wall_ns / 1e9):,.0f} records/s, results committed")
    click.echo(f"pure phase    {report.records / pure_s:,.0f} records/s")
    if not equal or sent != len(results):
        raise click.exceptions.Exit(1)


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
