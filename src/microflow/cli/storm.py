"""``microflow storm``: the stream topology on Apache Storm, in one JVM."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from microflow.cli.demonstration import generated, generator_options, require_equal, rows_text, tokenizing
from microflow.errors import SetupError
from microflow.jvm import jars
from microflow.lab.arrivals import poisson
from microflow.storm.local import TOPOLOGIES, flux, storm_trial

__all__ = ["storm"]

_PACED_S = 2.0


@click.group()
def storm() -> None:
    """Run the topology on Apache Storm, or write it down for a cluster."""


@storm.command()
@click.option("--topology", type=click.Choice(list(TOPOLOGIES)), default="stream", show_default=True)
@generator_options
@click.option("--rows", type=click.IntRange(1), default=5_000, show_default=True)
@click.option("--load", type=click.IntRange(1), default=300, show_default=True, help="Records/s latency is taken at.")
def run(topology: str, schema: str, rows: int, load: int, seed: int) -> None:
    """Tokenize generated records on Storm and check them against the in-process run.

    ROWS records come at once, which gives the rate, and then a Poisson stream of LOAD records a second for two
    seconds, which gives the latency: from when a record was due to its acknowledgement at the spout.

    \b
    Ends with exit status 1 unless rows out = rows in and all are equal.
      MICROFLOW_TOKEN_KEY_FILE=key microflow storm run --rows 10000
    """
    spec = tokenizing(schema)
    schedule = poisson(load, _PACED_S, seed)
    records = generated(schema, rows + len(schedule), seed)
    with tempfile.TemporaryDirectory() as folder:
        trial = storm_trial(
            Path(folder), spec, schema, spec.schema.policy, records, schedule=schedule, topology=TOPOLOGIES[topology]
        )
    click.echo(f"topology      {trial.topology}, JVM started {trial.starts}x")
    click.echo(rows_text(trial.rows_in, trial.rows_out, equal=trial.equal))
    click.echo(f"on Storm      {trial.acks.tuples_per_second:,.0f} tuples/s, first to last acknowledgement")
    p50, p99 = np.percentile(trial.acks.latency_ns, (50, 99)) / 1e6
    click.echo(f"latency       p50 {p50:.1f} ms, p99 {p99:.1f} ms from due to acknowledged, at {load:,} records/s")
    click.echo(f"in process    {trial.in_process_rate:,.0f} records/s, the same bolts")
    require_equal(trial.rows_in, trial.rows_out, equal=trial.equal)


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
