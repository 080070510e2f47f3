"""``microflow kafka``: a load generator for a topic, and a test of the recovery of ``microflow stream``."""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import click

from microflow.cli.options import generator_options, require_equal, rows_text, tokenizing
from microflow.cli.rehearsal import Rehearsal, Work, messages, same
from microflow.errors import SetupError
from microflow.settings import Settings
from microflow.topics.broker import Broker
from microflow.topics.kafka import KafkaWriter

__all__ = ["kafka"]


@click.group()
def kafka() -> None:
    """Feed a Kafka topic, and test the recovery of streams."""


@kafka.command()
@click.argument("topic")
@generator_options
@click.option("--rows", type=click.IntRange(1), default=60_000, show_default=True, help="Number of messages.")
@click.option("--rate", type=click.IntRange(1), default=4_000, show_default=True, help="Messages per second.")
@click.option("--broken", type=click.IntRange(1), default=1_000_000_000, metavar="N",
              help="Cut off the end of every N-th message, so that it cannot be read; by default none.")  # fmt: skip
def feed(*, topic: str, schema: str, rows: int, rate: int, broken: int, seed: int) -> None:
    """Send generated records to a topic at a fixed rate.

    TOPIC is kafka://HOST:PORT/TOPIC and must exist.

    \b
    Example:
      microflow kafka feed kafka://host:9092/visits --rows 60000 --rate 4000
    """
    place = urlsplit(topic)
    if place.scheme != "kafka" or not place.path.strip("/"):
        raise SetupError(f"{topic!r} names no topic", hint="kafka://HOST:PORT/TOPIC")
    started = time.monotonic()
    with KafkaWriter(place.netloc, place.path.strip("/")) as writer:
        # Twenty times a second, by a clock that does not wait for the broker.
        left, turn = messages(Work(schema, rows, rate, seed, broken)), max(rate // 20, 1)
        sent = 0
        while some := list(islice(left, turn)):
            time.sleep(max(started + sent / rate - time.monotonic(), 0))
            writer.send(some)
            sent += len(some)


@kafka.command()
@generator_options
@click.option("--rows", type=click.IntRange(1), default=60_000, show_default=True, help="Number of messages.")
@click.option("--rate", type=click.IntRange(1), default=4_000, show_default=True, help="Messages per second.")
@click.option("--partitions", type=click.IntRange(1), default=3, show_default=True, help="Partitions of the topics.")
@click.option("--processes", type=click.IntRange(2), default=3, show_default=True, help="Stream processes.")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False), default=Path("figures"), show_default=True,
              help="Folder for the figure.")  # fmt: skip
def run(*, schema: str, rows: int, rate: int, partitions: int, processes: int, figures: Path, seed: int) -> None:
    """Test the recovery of streams: kill one process and the broker.

    One process feeds a topic, and several stream processes serve it. One of them is killed, and later the broker,
    unless KAFKA_BOOTSTRAP_SERVERS names your own. The results are compared with the same work in one process. How many
    messages waited is drawn as kafka-lag.pdf. A token key must be set.

    \b
    Example:
      MICROFLOW_TOKEN_KEY_FILE=key microflow kafka run --rows 60000

    Exit status: 0 every record arrived once and is equal, 1 one did not, 2 error in the set-up or the settings.
    """
    from microflow.figures.charts import draw_lag  # slow to load, and a feeder draws nothing
    from microflow.figures.style import ieee, save

    spec = tokenizing(schema)
    with tempfile.TemporaryDirectory() as folder, _broker() as (address, broker):
        rehearsal = Rehearsal(address, Work(schema, rows, rate, seed), Path(folder), broker, partitions, processes)
        expected, broken = rehearsal.expected(spec)
        rehearsal.run(f"microflow-{uuid.uuid4().hex[:12]}")
        found, dead = rehearsal.results(len(expected), broken)
    equal = same(expected, found) and dead == broken
    with ieee():
        pdf, _ = save(draw_lag(rehearsal.samples, rehearsal.events), figures, "kafka-lag")
    for at, word in rehearsal.events:
        click.echo(f"{word:<16}at {at:.1f} s")
    if broker is None:
        click.echo("broker          yours, so it was not killed")
    overall, best = rehearsal.rates
    click.echo(f"committed       {overall:,.0f} messages/s at {rate:,} fed, {best:,.0f} in the best two seconds")
    click.echo(f"waiting         {max(fed - done for _, fed, done in rehearsal.samples):,} messages at most: {pdf}")
    click.echo(f"dead letters    {dead:,} of {broken:,} messages that cannot be read, each once")
    click.echo(rows_text(len(expected), len(found), equal=equal))
    require_equal(len(expected), len(found), equal=equal)


@contextmanager
def _broker() -> Iterator[tuple[str, Broker | None]]:
    if address := Settings.read().kafka_bootstrap_servers:
        yield address, None
        return
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
        yield broker.address, broker
