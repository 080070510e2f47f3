"""``microflow run``: check and anonymize a file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microflow.cli.options import (
    OUTPUT,
    PLACE,
    FiniteRange,
    method_options,
    method_settings,
    policy_option,
    rows_bar,
    schema_option,
)
from microflow.engine import ENGINES, PIPELINES
from microflow.pipeline import JobSpec, PipelineOrchestrator, StoreRecords
from microflow.pipeline.orchestrator import UNWRITTEN
from microflow.pipeline.verdict import JobVerdict, quarantine_reasons
from microflow.sources.files import STANDARD, is_url

if TYPE_CHECKING:
    from microflow.store.connector import PostgreSQLConnector

__all__ = ["connected", "run"]


@click.command()
@click.argument("input_file", metavar="INPUT", type=PLACE)
@click.argument("output", type=PLACE)
@schema_option
@policy_option
@click.option("--pipeline", type=click.Choice(PIPELINES), default="batch", show_default=True)
@click.option("--engine", type=click.Choice(ENGINES), default="local", show_default=True, help="'local' needs no Java.")
@method_options
@click.option("--quarantine", type=OUTPUT, help="Where unusable rows go; by default OUTPUT.quarantine.csv.")
@click.option("--quarantine-raw", is_flag=True, help="Keep their raw text too; it may be personal data.")
@click.option("--metrics", type=OUTPUT, help="Write what the run was and cost as JSON.")
@click.option("--store", type=click.Choice([str(s) for s in StoreRecords]), default="none", show_default=True,
              help="Which values go to the database; 'none' keeps it free of personal data.")  # fmt: skip
@click.option("--no-database", is_flag=True, help="Work without PostgreSQL; the job cannot be resumed.")
@click.option("--job", "job_id", help="A name for the job, for 'microflow resume'.")
@click.option(
    "--workers", type=click.IntRange(1), help="Worker processes; by default one a core, none for small files."
)
@click.option("--overwrite", is_flag=True, help="Replace OUTPUT and the files beside it if they are there.")
@click.option("--min-released", type=FiniteRange(0, 1), default=0.0, show_default=True,
              help="End with status 1 where a smaller part of the rows is released, or none.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def run(
    *,
    input_file: Path | str,
    output: Path | str,
    store: str,
    no_database: bool,
    quarantine: Path | None,
    min_released: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Check INPUT against a policy, anonymize it, and write OUTPUT with an audit trail.

    INPUT is a file, a folder, a pattern such as 'visits/*.csv', an address (s3://... or
    postgresql://host/name?table=visits), or - for standard input. CSV, Parquet, JSON and spreadsheets are recognised by
    their suffix, text may be compressed (.gz, .zst); standard input and output are CSV. OUTPUT appears whole or not at
    all; where it ends with a slash it is a folder of parts, one for each split of the input, in the format of the
    folder's name (safe.parquet/) or of the input (safe/).

    \b
    Examples:
      microflow run adult.csv out.csv --schema adult --method k_anonymity --k 5
      microflow run visits.parquet out.parquet --schema healthcare --method differential_privacy --epsilon 1
      MICROFLOW_TOKEN_KEY_FILE=key microflow run orders.csv out.csv --schema ecommerce --method tokenization
      microflow run 'visits/*.csv.gz' out.csv.zst --schema healthcare --method k_anonymity --workers 4
      zcat mine.csv.gz | microflow run - - --schema mine.yaml --method k_anonymity --no-database > out.csv
      microflow run mine.csv out.csv --schema mine.yaml --policy gdpr --method k_anonymity --no-database

    Exit status: 0 done; 1 less was released than --min-released asks for, or nothing; 2 something is wrong with the
    input or the settings.
    """
    settings = method_settings(options, is_recorded=not no_database)
    job = JobSpec(
        input=input_file,
        output=output,
        method=settings,
        quarantine=quarantine or beside(output, "quarantine.csv"),
        store_records=StoreRecords(store),
        **options,
    )
    with connected(no_database=no_database) as connector, rows_bar() as follow:
        metrics = PipelineOrchestrator(connector, observe=follow).run(job)
    say = partial(click.echo, err=str(output) == STANDARD)
    found = judged(metrics, job)
    if as_json:
        say(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        say("\n".join([*found.lines(), f"written to {output}"]))
        if found.quarantined:
            say(f"each quarantined row: {job.quarantine}" if job.quarantine else "nothing says why: --quarantine")
    if not no_database and not as_json:
        say(f"job {metrics['job_id']}: microflow report {metrics['job_id']}")
    if UNWRITTEN in metrics:
        click.echo(f"warning: {metrics[UNWRITTEN]}", err=True)
    if found.read and (found.share_released < min_released or not found.released):
        wanted = f"--min-released asks for {min_released:.0%}" if found.released else "nothing was released"
        click.echo(f"error: {found.share_released:.1%} of the rows were released, and {wanted}", err=True)
        raise click.exceptions.Exit(1)


def judged(metrics: dict[str, Any], job: JobSpec) -> JobVerdict:
    """The verdict of a finished job, with the reasons that its quarantine gives."""
    found = JobVerdict.from_dict(metrics["verdict"])
    most = Counter(quarantine_reasons(job.quarantine) if job.quarantine else {}).most_common(3)
    return replace(found, quarantine_reasons=dict(most))


def beside(output: Path | str, suffix: str) -> Path | None:
    """The file of this suffix beside an output on this machine."""
    if str(output) == STANDARD or is_url(output):
        return None
    path = Path(output)
    # A folder by itself has no name; that it is one is said by the job.
    return path.with_name(f"{path.name}.{suffix}") if path.name else None


@contextmanager
def connected(*, no_database: bool) -> Iterator[PostgreSQLConnector | None]:
    """The results database, or nothing; its driver is imported only when it is used."""
    if no_database:
        yield None
        return
    from microflow.store.connector import PostgreSQLConnector

    with PostgreSQLConnector() as connector:
        yield connector
