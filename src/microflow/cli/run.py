"""``microflow run``: a job that checks and anonymizes a file."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microflow.cli.options import (
    OUTPUT,
    PLACE,
    FiniteRange,
    json_option,
    method_options,
    method_settings,
    overwrite_option,
    policy_option,
    rows_bar,
    schema_option,
)
from microflow.engine import ENGINES, PIPELINES
from microflow.pipeline import JobSpec, PipelineOrchestrator, StoreRecords
from microflow.pipeline.metrics import JobVerdict, quarantine_reasons
from microflow.pipeline.orchestrator import UNWRITTEN
from microflow.sources.files import STANDARD, is_url

if TYPE_CHECKING:
    from microflow.store.connector import PostgreSQLConnector

__all__ = ["print_verdict", "run"]


@click.command()
@click.argument("input_file", metavar="INPUT", type=PLACE)
@click.argument("output", type=PLACE)
@schema_option
@policy_option
@click.option("--pipeline", type=click.Choice(PIPELINES), default="batch", show_default=True,
              help="Whether rows are processed together, one by one, or as a router decides.")  # fmt: skip
@click.option("--engine", type=click.Choice(ENGINES), default="local", show_default=True,
              help="Run the batch pipeline on this machine, or on Spark, which needs Java.")  # fmt: skip
@method_options
@click.option("--quarantine", type=OUTPUT, help="File for rows that cannot be used; by default OUTPUT.quarantine.csv.")
@click.option("--quarantine-raw", is_flag=True, help="Write the text of these rows too; it may contain personal data.")
@click.option("--metrics", type=OUTPUT, help="Also write the metrics document as JSON to this file.")
@click.option("--store", type=click.Choice([str(s) for s in StoreRecords]), default="none", show_default=True,
              help="Values to write to the database; with 'none' it contains no personal data.")  # fmt: skip
@click.option("--no-database", is_flag=True, help="Work without PostgreSQL; then the job cannot be resumed.")
@click.option("--job", "job_id", help="Name of the job, for 'microflow resume'; by default one is generated.")
@click.option(
    "--workers", type=click.IntRange(1), help="Worker processes; by default one per core, and none for small files."
)
@overwrite_option("OUTPUT, the quarantine or the metrics document")
@click.option("--min-released", type=FiniteRange(0, 1), default=0.0, show_default=True,
              help="End with exit status 1 if a smaller share of the rows is released, or none.")  # fmt: skip
@json_option("the verdict")
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
    """Check a file against a policy and anonymize it.

    INPUT is a file, a folder, a pattern such as 'visits/*.csv', an address (s3://... or
    postgresql://host/name?table=visits), or - for standard input. The suffix decides the format: CSV, Parquet, JSON or
    a spreadsheet; text may be compressed (.gz, .zst). Standard input and output are CSV.

    OUTPUT is written completely or not at all. If it ends with a slash, it is a folder with one part for each split of
    the input, in the format of the folder's name (safe.parquet/) or of the input (safe/).

    \b
    Examples:
      microflow run adult.csv out.csv --schema adult --method k_anonymity --k 5
      microflow run visits.parquet out.parquet --schema healthcare --method differential_privacy --epsilon 1
      MICROFLOW_TOKEN_KEY_FILE=key microflow run orders.csv out.csv --schema ecommerce --method tokenization
      microflow run 'visits/*.csv.gz' out.csv.zst --schema healthcare --method k_anonymity --workers 4
      zcat mine.csv.gz | microflow run - - --schema mine.yaml --method k_anonymity --no-database > out.csv
      microflow run mine.csv out.csv --schema mine.yaml --policy gdpr --method k_anonymity --no-database

    Exit status: 0 done, 1 fewer rows were released than --min-released requires, or none, 2 error in the input or the
    settings.
    """
    settings = method_settings(options, is_recorded=not no_database)
    job = JobSpec(
        input=input_file,
        output=output,
        method=settings,
        quarantine=quarantine or _beside(output, "quarantine.csv"),
        store_records=StoreRecords(store),
        **options,
    )
    connection: AbstractContextManager[PostgreSQLConnector | None] = nullcontext()
    if not no_database:
        from microflow.store.connector import PostgreSQLConnector  # needs the extra database

        connection = PostgreSQLConnector()
    with connection as connector, rows_bar() as follow:
        metrics = PipelineOrchestrator(connector, observe=follow).run(job)
    found = print_verdict(metrics, output, job.quarantine, as_json=as_json, is_stored=not no_database)
    if found.read and (found.share_released < min_released or not found.released):
        wanted = f"--min-released asks for {min_released:.0%}" if found.released else "nothing was released"
        click.echo(f"error: {found.share_released:.1%} of the rows were released, and {wanted}", err=True)
        raise click.exceptions.Exit(1)


def print_verdict(
    metrics: dict[str, Any],
    output: Path | str,
    quarantine: Path | None,
    *,
    as_json: bool = False,
    is_stored: bool = True,
) -> JobVerdict:
    """Print the verdict of a finished job; on standard error if the rows went to standard output.

    Returns:
        The verdict, with the most frequent reasons in the quarantine.
    """
    most = Counter(quarantine_reasons(quarantine) if quarantine else {}).most_common(3)
    found = replace(JobVerdict.from_dict(metrics["verdict"]), quarantine_reasons=dict(most))
    lines = [*found.lines(), f"written to {output}"]
    if found.quarantined:
        lines.append(f"quarantined rows: {quarantine}" if quarantine else "--quarantine would list these rows")
    if is_stored:
        lines.append(f"job {metrics['job_id']}: microflow report {metrics['job_id']}")
    text = json.dumps(found.to_dict(), indent=2, ensure_ascii=False) if as_json else "\n".join(lines)
    click.echo(text, err=str(output) == STANDARD)
    if UNWRITTEN in metrics:
        click.echo(f"warning: {metrics[UNWRITTEN]}", err=True)
    return found


def _beside(output: Path | str, suffix: str) -> Path | None:
    """Path of a file beside the output, with one more suffix; ``None`` if the output is not a local file."""
    if str(output) == STANDARD or is_url(output):
        return None
    path = Path(output)
    # A folder by itself has no name; that it is one is said by the job.
    return path.with_name(f"{path.name}.{suffix}") if path.name else None
