"""``microflow jobs``, ``job``, ``resume``, ``cancel`` and ``report``: the jobs that the results database records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microflow.cli.options import OUTPUT, busy, job_argument, json_option, rows_bar
from microflow.cli.run import print_verdict
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.pipeline import PipelineOrchestrator
from microflow.sinks.whole_file import write_whole
from microflow.store.connector import PostgreSQLConnector
from microflow.store.jobs import INTERRUPTED, JobStore, JobView
from microflow.store.progress import LIVE, JobStatus

if TYPE_CHECKING:
    from microflow.assess import Assessment

__all__ = ["cancel", "job", "jobs", "report", "resume"]


_HEAD = ("JOB", "STATUS", "PIPELINE", "ENGINE", "ROWS", "RELEASED", "SUPPRESSED", "VIOLATIONS", "STARTED")
_LINE = "{:<24} {:<12} {:<8} {:<7} {:>13} {:>11} {:>11} {:>11}  {}"


@click.command()
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Number of jobs.")
@json_option("the list")
def jobs(limit: int, as_json: bool) -> None:
    """List the newest jobs and their progress.

    \b
    Examples:
      microflow jobs
      microflow jobs --limit 100 --json
    """
    with PostgreSQLConnector() as connector:
        found = JobStore(connector).newest(limit)
    if as_json:
        click.echo(json.dumps([_summary(view) for view in found], indent=2))
        return
    if not found:
        click.echo("no jobs yet: microflow run makes one")
        return
    click.echo(_LINE.format(*_HEAD))
    for view in found:
        click.echo(_line(view))


@click.command()
@job_argument
@json_option("the metrics document of a completed job")
def job(job_id: str, as_json: bool) -> None:
    """Show the settings, progress and error of a job.

    \b
    Examples:
      microflow job batch-20261124-1a2b3c
      microflow job batch-20261124-1a2b3c --json
    """
    with PostgreSQLConnector() as connector:
        view = JobStore(connector).load(job_id)
    if as_json:
        click.echo(json.dumps(view.metrics, indent=2))
        return
    for name, value in _facts(view).items():
        click.echo(f"{name:<12} {value}")


@click.command()
@job_argument
def resume(job_id: str) -> None:
    """Continue a job that was stopped.

    JOB was interrupted or cancelled, or it failed. Its output becomes the same as without the interruption. Input,
    schema, policy and key must be unchanged.

    \b
    Example:
      microflow resume batch-20261124-1a2b3c

    Exit status: 0 done, 2 the job cannot be resumed.
    """
    with PostgreSQLConnector() as connector, rows_bar() as follow:
        metrics = PipelineOrchestrator(connector, observe=follow).resume(job_id)
        view = JobStore(connector).load(job_id)
    quarantine = view.spec["quarantine"]
    print_verdict(metrics, view.spec["output"], Path(quarantine) if quarantine else None)


@click.command()
@job_argument
def cancel(job_id: str) -> None:
    """Ask a running job to stop.

    JOB stops at its next commit. It can be resumed.

    \b
    Example:
      microflow cancel batch-20261124-1a2b3c
    """
    with PostgreSQLConnector() as connector:
        view = JobStore(connector).request_cancel(job_id)
    if view.status == JobStatus.RUNNING:
        click.echo(f"job {job_id} stops at its next commit")
    else:
        click.echo(f"job {job_id} is {view.status}: nothing to cancel")


def _summary(view: JobView) -> dict[str, Any]:
    return {
        "job": view.id,
        "status": view.status,
        "pipeline": view.pipeline,
        "engine": view.engine,
        "total_rows": view.total_rows,
        "read": view.rows_read,
        "released": view.rows_released,
        "suppressed": view.rows_suppressed,
        "quarantined": view.rows_quarantined,
        "violations": view.violations,
        "started": view.created_at.isoformat(),
    }


def _line(view: JobView) -> str:
    counts = (view.rows_read, view.rows_released, view.rows_suppressed, view.violations)
    started = f"{view.created_at:%Y-%m-%d %H:%M}"
    return _LINE.format(view.id, view.status, view.pipeline, view.engine, *(f"{n:,}" for n in counts), started)


def _facts(view: JobView) -> dict[str, str]:
    of_total = "" if view.total_rows is None else f" of {view.total_rows:,}"
    facts = {
        "job": view.id,
        "status": view.status + (f": {view.error}" if view.error else ""),
        "input": view.spec["input"],
        "output": view.spec["output"],
        "work": f"{view.pipeline} on {view.engine}, {view.spec['method']['method']}",
        "read": f"{view.rows_read:,}{of_total} rows in {view.microflows:,} microflows",
        "released": f"{view.rows_released:,}",
        "suppressed": f"{view.rows_suppressed:,}",
        "quarantined": f"{view.rows_quarantined:,}",
        "violations": f"{view.violations:,}",
        "started": f"{view.created_at:%Y-%m-%d %H:%M:%S %Z}",
        "last seen": f"{view.updated_at:%Y-%m-%d %H:%M:%S %Z}",
    }
    if view.status in {INTERRUPTED, JobStatus.FAILED, JobStatus.CANCELLED}:
        facts["go on"] = "start the stream again" if view.engine == LIVE else f"microflow resume {view.id}"
    return facts


_BY_RULE = """
SELECT rule, regulation, article, severity, count(*), count(DISTINCT ordinal)
FROM violations WHERE job_id = %s GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1
"""
_ATTEMPTS = 500


@click.command()
@job_argument
@click.option("--output", type=OUTPUT, help="File for the report; by default JOB.html in the current folder.")
def report(job_id: str, output: Path | None) -> None:
    """Write the audit report of a job.

    The report is an HTML page with counts, violations by rule, times by phase, risk and utility. It contains no value
    of a record. Risk and utility are measured if input and output of the job still exist.

    \b
    Examples:
      microflow report batch-20261124-1a2b3c
      microflow report batch-20261124-1a2b3c --output audit.html
    """
    from microflow.advise.page import job_page

    with PostgreSQLConnector() as connector:
        view = JobStore(connector).load(job_id)
        violations = connector.query(_BY_RULE, (job_id,))
    path = output or Path(f"{job_id}.html")
    with busy("attacking the release"):
        page = job_page(view, violations, _assessed(view))
    write_whole(path, page)
    click.echo(str(path))


def _assessed(view: JobView) -> Assessment | str:
    """Assessment of the output, if input and output still exist; otherwise the reason why there is none."""
    from microflow.advise.release import compare_files

    original, released = Path(view.spec["input"]), Path(view.spec["output"])
    if not (original.is_file() and released.is_file()):
        return "the input or the output is no longer where it was"
    try:
        return compare_files(original, released, load_schema(view.spec["schema"]), attempts=_ATTEMPTS)
    except MicroflowError as error:
        return error.message
