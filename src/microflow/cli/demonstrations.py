"""``microflow storm`` and ``microflow kafka``: generated records through Storm, and through Kafka while parts fail.

Both compare what comes out with the same work in this process.
"""

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
import numpy as np

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.tokenization import read_key
from microflow.cli.options import together
from microflow.compliance import load_policy
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.errors import SetupError
from microflow.jvm import jars
from microflow.lab.arrivals import poisson
from microflow.settings import Settings
from microflow.storm.local import TOPOLOGIES, flux, storm_trial
from microflow.topics.broker import Broker

__all__ = ["kafka", "storm", "tokenization_of"]

_PACED_S = 2.0
# fmt: off
_GENERATOR = together(
    click.option("--schema", type=click.Choice(DATA_TYPES), default="healthcare", show_default=True,
                 help="Type of the generated records."),
    click.option("--seed", type=int, default=1, show_default=True, help="Seed of the generator."),
)
_FEED = together(
    click.option("--rows", type=click.IntRange(1), default=60_000, show_default=True, help="Number of messages."),
    click.option("--rate", type=click.IntRange(1), default=4_000, show_default=True, help="Messages per second."),
)
# fmt: on


def tokenization_of(schema: str) -> ProcessingSpec:
    """Specification of a demonstration: a data type under its own policy, tokenized with the key of the environment.

    Raises:
        KeyMaterialError: there is no key; other processes of the demonstration must be able to read the same one.
    """
    described, settings = load_schema(schema), MethodSettings(Method.TOKENIZATION)
    return ProcessingSpec(described, load_policy(described.policy), settings, key=read_key(settings.key_bits))


def _rows_text(rows_in: int, rows_out: int, *, equal: bool) -> str:
    """Two lines that compare the rows with those of the same work in this process."""
    answer = "yes" if equal else "NO"
    return f"rows in       {rows_in:,}\nrows out      {rows_out:,}, equal to the in-process run: {answer}"


def _require_equal(rows_in: int, rows_out: int, *, equal: bool) -> None:
    """End with exit status 1 unless rows out = rows in and all are equal."""
    if not equal or rows_in != rows_out:
        raise click.exceptions.Exit(1)


@click.group()
def storm() -> None:
    """Run the topology on Apache Storm."""


@storm.command("run")
@click.option("--topology", type=click.Choice(list(TOPOLOGIES)), default="stream", show_default=True,
              help="Topology with a bolt for each step, or with one bolt for all steps.")  # fmt: skip
@_GENERATOR
@click.option("--rows", type=click.IntRange(1), default=5_000, show_default=True,
              help="Number of records that are sent at once.")  # fmt: skip
@click.option("--load", type=click.IntRange(1), default=300, show_default=True,
              help="Records per second while latency is measured.")  # fmt: skip
def run_storm(topology: str, schema: str, rows: int, load: int, seed: int) -> None:
    """Tokenize generated records on Storm and compare them with the in-process run.

    First, all records of --rows are sent at once, to measure the rate. Then a Poisson stream of --load records per
    second is sent for two seconds, to measure the latency: from the time at which a record was due to its
    acknowledgement at the spout. A token key must be set.

    \b
    Example:
      MICROFLOW_TOKEN_KEY_FILE=key microflow storm run --rows 10000

    Exit status: 0 rows out = rows in and all are equal, 1 they are not, 2 error in the set-up or the settings.
    """
    spec = tokenization_of(schema)
    schedule = poisson(load, _PACED_S, seed)
    blocks = generate(schema, rows + len(schedule), seed)
    records = [record for block in blocks for record in block.rows.to_pylist()]
    with tempfile.TemporaryDirectory() as folder:
        trial = storm_trial(
            Path(folder), spec, schema, spec.schema.policy, records, schedule=schedule, topology=TOPOLOGIES[topology]
        )
    click.echo(f"topology      {trial.topology}, JVM started {trial.starts}x")
    click.echo(_rows_text(trial.rows_in, trial.rows_out, equal=trial.equal))
    click.echo(f"on Storm      {trial.acks.tuples_per_second:,.0f} tuples/s, first to last acknowledgement")
    p50, p99 = np.percentile(trial.acks.latency_ns, (50, 99)) / 1e6
    click.echo(f"latency       p50 {p50:.1f} ms, p99 {p99:.1f} ms from due to acknowledged, at {load:,} records/s")
    click.echo(f"in process    {trial.in_process_rate:,.0f} records/s, the same bolts")
    _require_equal(trial.rows_in, trial.rows_out, equal=trial.equal)


@storm.command()
def fetch() -> None:
    """Download the libraries of Storm into the cache.

    'make' runs this command during the set-up. Storm is optional: if the download fails, the reason is printed.

    \b
    Example:
      microflow storm fetch

    Exit status: always 0.
    """
    try:
        click.echo(f"Apache Storm: {len(jars('storm'))} jars in the cache")
    except SetupError as error:
        click.echo(f"Apache Storm will be skipped: {error.message}")


@storm.command("flux")
@click.argument("topology", type=click.Choice(list(TOPOLOGIES)))
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--python", default="python3", show_default=True, help="Python interpreter on the workers.")
def write_flux(topology: str, job: Path, python: str) -> None:
    """Print a topology as Flux YAML for a Storm cluster.

    JOB is the path, on every worker, of the JSON file that microflow.storm.shell describes. Submit the YAML with
    'storm jar flux-core.jar org.apache.storm.flux.Flux FILE'.

    \b
    Example:
      microflow storm flux stream /srv/microflow/job.json > stream.yaml
    """
    click.echo(flux(TOPOLOGIES[topology], job, python=python), nl=False)


@click.group()
def kafka() -> None:
    """Feed a Kafka topic, and test the recovery of streams."""


@kafka.command()
@click.argument("topic")
@_GENERATOR
@_FEED
@click.option("--broken", type=click.IntRange(1), default=1_000_000_000, metavar="N",
              help="Cut off the end of every N-th message, so that it cannot be read; by default none.")  # fmt: skip
def feed(*, topic: str, schema: str, rows: int, rate: int, broken: int, seed: int) -> None:
    """Send generated records to a topic at a fixed rate.

    TOPIC is kafka://HOST:PORT/TOPIC and must exist.

    \b
    Example:
      microflow kafka feed kafka://host:9092/visits --rows 60000 --rate 4000
    """
    from microflow.cli.rehearsal import Work, messages  # needs the extra kafka
    from microflow.topics.kafka import KafkaWriter

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


@kafka.command("run")
@_GENERATOR
@_FEED
@click.option("--partitions", type=click.IntRange(1), default=3, show_default=True, help="Partitions of the topics.")
@click.option("--processes", type=click.IntRange(2), default=3, show_default=True, help="Stream processes.")
@click.option("--figures", type=click.Path(path_type=Path, file_okay=False), default=Path("figures"), show_default=True,
              help="Folder for the figure.")  # fmt: skip
def run_kafka(*, schema: str, rows: int, rate: int, partitions: int, processes: int, figures: Path, seed: int) -> None:
    """Test the recovery of streams: kill one process and the broker.

    One process feeds a topic, and several stream processes serve it. One of them is killed, and later the broker,
    unless KAFKA_BOOTSTRAP_SERVERS names your own. The results are compared with the same work in one process. How many
    messages waited is drawn as kafka-lag.pdf. A token key must be set.

    \b
    Example:
      MICROFLOW_TOKEN_KEY_FILE=key microflow kafka run --rows 60000

    Exit status: 0 every record arrived once and is equal, 1 one did not, 2 error in the set-up or the settings.
    """
    from microflow.cli.rehearsal import Rehearsal, Work, same  # needs the extra kafka
    from microflow.figures.charts import draw_lag  # slow to load, and a feeder draws nothing
    from microflow.figures.style import ieee, save

    spec = tokenization_of(schema)
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
    click.echo(_rows_text(len(expected), len(found), equal=equal))
    _require_equal(len(expected), len(found), equal=equal)


@contextmanager
def _broker() -> Iterator[tuple[str, Broker | None]]:
    if address := Settings.read().kafka_bootstrap_servers:
        yield address, None
        return
    with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
        yield broker.address, broker
