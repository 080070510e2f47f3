"""``microflow storm``: the stream topology on Apache Storm."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import numpy as np

from microflow.cli.options import generator_options, require_equal, rows_text, tokenizing
from microflow.datasets import generate
from microflow.errors import SetupError
from microflow.jvm import jars
from microflow.lab.arrivals import poisson
from microflow.storm.local import TOPOLOGIES, flux, storm_trial

__all__ = ["storm"]

_PACED_S = 2.0


@click.group()
def storm() -> None:
    """Run the topology on Apache Storm."""


@storm.command()
@click.option("--topology", type=click.Choice(list(TOPOLOGIES)), default="stream", show_default=True,
              help="Topology with a bolt for each step, or with one bolt for all steps.")  # fmt: skip
@generator_options
@click.option("--rows", type=click.IntRange(1), default=5_000, show_default=True,
              help="Number of records that are sent at once.")  # fmt: skip
@click.option("--load", type=click.IntRange(1), default=300, show_default=True,
              help="Records per second while latency is measured.")  # fmt: skip
def run(topology: str, schema: str, rows: int, load: int, seed: int) -> None:
    """Tokenize generated records on Storm and compare them with the in-process run.

    First, all records of --rows are sent at once, to measure the rate. Then a Poisson stream of --load records per
    second is sent for two seconds, to measure the latency: from the time at which a record was due to its
    acknowledgement at the spout. A token key must be set.

    \b
    Example:
      MICROFLOW_TOKEN_KEY_FILE=key microflow storm run --rows 10000

    Exit status: 0 rows out = rows in and all are equal, 1 they are not, 2 error in the set-up or the settings.
    """
    spec = tokenizing(schema)
    schedule = poisson(load, _PACED_S, seed)
    blocks = generate(schema, rows + len(schedule), seed)
    records = [record for block in blocks for record in block.rows.to_pylist()]
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
