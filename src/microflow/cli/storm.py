"""``microflow storm``: the stream topology on Apache Storm, in one JVM."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.keys import read_key
from microflow.compliance import load_policy
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.errors import SetupError
from microflow.jvm.maven import jars
from microflow.processors.contract import ProcessingSpec
from microflow.processors.topology import HYBRID_TOPOLOGY, STREAM_TOPOLOGY
from microflow.storm.flux import flux
from microflow.storm.trial import storm_trial
from microflow.timing.schedules import poisson

__all__ = ["storm"]

_PACED_S = 2.0
TOPOLOGIES = {"stream": STREAM_TOPOLOGY, "hybrid": HYBRID_TOPOLOGY}


@click.group()
def storm() -> None:
    """Run the topology on Apache Storm, or write it down for a cluster."""


@storm.command()
@click.option("--topology", type=click.Choice(list(TOPOLOGIES)), default="stream", show_default=True)
@click.option("--schema", type=click.Choice(DATA_TYPES), default="healthcare", show_default=True)
@click.option("--rows", type=click.IntRange(1), default=5_000, show_default=True)
@click.option("--load", type=click.IntRange(1), default=300, show_default=True, help="Records/s latency is taken at.")
@click.option("--seed", type=int, default=1, show_default=True)
def run(topology: str, schema: str, rows: int, load: int, seed: int) -> None:
    """Tokenize generated records on Storm and check them against the in-process run.

    ROWS records come at once, which gives the rate, and then a Poisson stream of LOAD records a second for two
    seconds, which gives the latency: from when a record was due to its acknowledgement at the spout.

    \b
    Ends with exit status 1 unless rows out = rows in and all are equal.
      MICROFLOW_TOKEN_KEY_FILE=key microflow storm run --rows 10000
    """
    described = load_schema(schema)
    settings = MethodSettings(Method.TOKENIZATION)
    spec = ProcessingSpec(described, load_policy(described.policy), settings, key=read_key(settings.key_bits))
    schedule = poisson(load, _PACED_S, seed)
    records = [row for block in generate(schema, rows + len(schedule), seed) for row in block.rows.to_pylist()]
    with tempfile.TemporaryDirectory() as folder:
        trial = storm_trial(
            Path(folder), spec, schema, described.policy, records, schedule=schedule, topology=TOPOLOGIES[topology]
        )
    click.echo(f"topology      {trial.topology}, JVM started {trial.starts}x")
    click.echo(f"rows in       {trial.rows_in:,}")
    click.echo(f"rows out      {trial.rows_out:,}, equal to the in-process run: {'yes' if trial.equal else 'NO'}")
    click.echo(f"on Storm      {trial.acks.tuples_per_second:,.0f} tuples/s, first to last acknowledgement")
    p50, p99 = np.percentile(trial.acks.latency_ns, (50, 99)) / 1e6
    click.echo(f"latency       p50 {p50:.1f} ms, p99 {p99:.1f} ms from due to acknowledged, at {load:,} records/s")
    click.echo(f"in process    {trial.in_process_rate:,.0f} records/s, the same bolts")
    if not trial.equal or trial.rows_in != trial.rows_out:
        raise click.exceptions.Exit(1)


@storm.command()
def fetch() -> None:
    """Put Storm's jars into the cache, so that no experiment waits for them; or say why it will go without.

    The set-up runs it. Storm is optional, so the exit status is 0 either way.
    """
    try:
        click.echo(f"Apache Storm: {len(jars('storm'))} jars in the cache")
    except SetupError as error:
        click.echo(f"Apache Storm will be skipped: {error.message}")


@storm.command("flux")
@click.argument("topology", type=click.Choice(list(TOPOLOGIES)))
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--python", default="python3", show_default=True, help="The interpreter on the workers.")
def write_flux(topology: str, job: Path, python: str) -> None:
    """Print a topology as Flux YAML, for 'storm jar … org.apache.storm.flux.Flux FILE'.

    \b
    JOB is the path, on every worker, of the JSON file that microflow.storm.shell describes.
      microflow storm flux stream /srv/microflow/job.json > stream.yaml
    """
    click.echo(flux(TOPOLOGIES[topology], job, python=python), nl=False)
