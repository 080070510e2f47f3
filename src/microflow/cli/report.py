"""``microflow report``: one job as one HTML page, with nothing to load from anywhere else."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microflow.errors import MicroflowError
from microflow.sinks.whole_file import write_whole

if TYPE_CHECKING:
    from microflow.store.jobs import JobView

__all__ = ["report"]

_PHASES = ("pre_processing", "pure_processing", "post_processing", "residual")
_BY_RULE = """
SELECT rule, regulation, article, severity, count(*), count(DISTINCT ordinal)
FROM violations WHERE job_id = %s GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC, 1
"""
_ATTEMPTS = 500


@dataclass(frozen=True, slots=True)
class _Risk:
    """The lines of ``microflow assess``, or why there are none."""

    text: str = ""
    missing: str = ""


@click.command()
@click.argument("job_id", metavar="JOB")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="By default JOB.html in this folder.")
def report(job_id: str, output: Path | None) -> None:
    r"""Write one HTML page about JOB: counts, violations by rule, phases, risk and utility.

    No value of a record is in it.

    \b
    Examples:
      microflow report batch-20261124-1a2b3c
      microflow report batch-20261124-1a2b3c --output audit.html
    """
    from microflow.store import PostgreSQLConnector
    from microflow.store.jobs import JobStore

    with PostgreSQLConnector() as connector:
        view = JobStore(connector).load(job_id)
        violations = connector.query(_BY_RULE, (job_id,))
    page = _page(view, violations)
    path = output or Path(f"{job_id}.html")
    write_whole(path, page)
    click.echo(str(path))


def _page(view: JobView, violations: list[tuple[Any, ...]]) -> str:
    from jinja2 import Environment, PackageLoader

    # Everything is escaped: names of files and columns are whatever their owner chose.
    environment = Environment(loader=PackageLoader("microflow.cli", "templates"), autoescape=True, trim_blocks=True)
    metrics = view.metrics or {}
    return environment.get_template("report.html").render(
        job=view,
        metrics=metrics,
        violations=violations,
        phases=_phases_image(view.pipeline, metrics),
        risk=_risk(view),
    )


def _phases_image(name: str, metrics: dict[str, Any]) -> str:
    """The phase breakdown as a data address; nothing before the job is complete."""
    measured = metrics.get("timing_separation")
    if not measured:
        return ""
    import pandas as pd

    from microflow.figures.charts import draw_phases
    from microflow.figures.style import ieee, png

    pre, pure, post, residual = (measured[phase] for phase in _PHASES)
    columns = {"pre_s": pre, "pure_s": pure - measured["overlap"], "post_s": post, "residual_s": residual}
    with ieee():
        image = png(draw_phases(pd.DataFrame([{"arm": name, **columns}])))
    return f"data:image/png;base64,{base64.b64encode(image).decode('ascii')}"


def _risk(view: JobView) -> _Risk:
    """Attack the output as ``microflow assess`` does, where input and output are still at hand."""
    from microflow.assess import render
    from microflow.cli.assess import compare_files

    original, released = Path(view.spec["input"]), Path(view.spec["output"])
    if not (original.is_file() and released.is_file()):
        return _Risk(missing="the input or the output is no longer where it was")
    try:
        return _Risk(text=render(compare_files(original, released, view.spec["schema"], attempts=_ATTEMPTS)))
    except MicroflowError as error:
        return _Risk(missing=error.message)
