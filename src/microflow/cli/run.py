"""``microflow run``: check and anonymize a file."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from microflow.cli.options import FILE, OUTPUT, counts_text, method_options, method_settings, rows_bar, schema_option
from microflow.pipeline import JobSpec, PipelineOrchestrator, StoreRecords
from microflow.processors import ENGINES, PIPELINES
from microflow.store import PostgreSQLConnector

__all__ = ["run"]


@click.command()
@click.argument("input_file", metavar="INPUT", type=FILE)
@click.argument("output", type=OUTPUT)
@schema_option
@click.option("--policy", help="Which rules: a shipped name or your YAML file; by default the schema's.")
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
def run(
    *, input_file: Path, output: Path, store: str, no_database: bool, quarantine: Path | None, **options: Any
) -> None:
    """Check INPUT against a policy, anonymize it, and write OUTPUT with an audit trail.

    CSV, Parquet and JSON Lines are told apart by their suffix. OUTPUT appears whole or not at all.

    \b
    Examples:
      microflow run adult.csv out.csv --schema adult --method k_anonymity --k 5
      microflow run visits.parquet out.parquet --schema healthcare --method differential_privacy --epsilon 1
      MICROFLOW_TOKEN_KEY_FILE=key microflow run orders.csv out.csv --schema ecommerce --method tokenization
      microflow run mine.csv out.csv --schema mine.yaml --policy gdpr --method k_anonymity --no-database

    Exit status: 0 done, 2 something is wrong with the input or the settings.
    """
    settings = method_settings(options)
    job = JobSpec(
        input=input_file,
        output=output,
        method=settings,
        quarantine=quarantine or output.with_name(f"{output.name}.quarantine.csv"),
        store_records=StoreRecords(store),
        **options,
    )
    with nullcontext() if no_database else PostgreSQLConnector() as connector, rows_bar() as follow:
        metrics = PipelineOrchestrator(connector, observe=follow).run(job)
    click.echo(counts_text(metrics, output))
    if metrics["processing_metrics"]["quarantined"]:
        click.echo(f"reasons for the quarantine are in {job.quarantine}")
    if not no_database:
        click.echo(f"job {metrics['job_id']}: microflow report {metrics['job_id']}")
