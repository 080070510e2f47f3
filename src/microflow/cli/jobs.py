"""``microflow jobs``, ``job``, ``resume`` and ``cancel``: what other processes are doing, and going on with it."""

from __future__ import annotations

import click

from microflow.cli.options import counts_text, rows_bar
from microflow.errors import CheckpointError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.store import PostgreSQLConnector
from microflow.store.jobs import JobStore, JobView
from microflow.store.models import JobStatus

__all__ = ["cancel", "job", "jobs", "resume"]


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
def jobs(limit: int) -> None:
    """List the newest jobs: state, rows done, when it last moved."""
    with PostgreSQLConnector() as connector:
        found = JobStore(connector).newest(limit)
    if not found:
        click.echo("no jobs yet: microflow run --help")
    for view in found:
        moved = f"{view.updated_at:%Y-%m-%d %H:%M:%S}"
        click.echo(f"{view.id:<24} {view.status:<12} {view.pipeline:<8} {view.rows_read:>13,} rows  {moved}")


@click.command()
@click.argument("job_id")
def job(job_id: str) -> None:
    """Show one job: how far it has come and what became of its rows."""
    with PostgreSQLConnector() as connector:
        view = JobStore(connector).load(job_id)
    for name, value in _lines(view):
        click.echo(f"{name:<14}{value}")


@click.command()
@click.argument("job_id")
def resume(job_id: str) -> None:
    """Continue a job that was interrupted, failed or cancelled; it ends as if it never had been."""
    with PostgreSQLConnector() as connector, rows_bar() as follow:
        metrics = PipelineOrchestrator(connector, observe=follow).resume(job_id)
        spec = JobSpec.from_document(JobStore(connector).load(job_id).spec)
    click.echo(counts_text(metrics, spec.output))


@click.command()
@click.argument("job_id")
def cancel(job_id: str) -> None:
    """Ask a running job to stop at its next commit; it can be resumed."""
    with PostgreSQLConnector() as connector:
        view = JobStore(connector).request_cancel(job_id)
    if view.status == JobStatus.COMPLETED:
        raise CheckpointError(f"job {job_id} is completed", hint="there is nothing to cancel")
    click.echo(f"job {job_id} is {view.status} and was asked to stop")


def _lines(view: JobView) -> list[tuple[str, str]]:
    lines = [
        ("job", view.id),
        ("state", f"{view.status}{' (asked to stop)' if view.cancel_requested else ''}"),
        ("pipeline", f"{view.pipeline}, engine {view.engine}"),
        ("read", f"{view.rows_read:,} rows in {view.microflows:,} microflows"),
        ("released", f"{view.rows_released:,}"),
        ("suppressed", f"{view.rows_suppressed:,}"),
        ("quarantined", f"{view.rows_quarantined:,}"),
        ("violations", f"{view.violations:,}"),
        ("last moved", f"{view.updated_at:%Y-%m-%d %H:%M:%S %Z}"),
    ]
    return [*lines, ("error", view.error)] if view.error else lines
