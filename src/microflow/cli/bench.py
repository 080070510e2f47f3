"""``microflow bench``: every speed we claim, measured beside its reference."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import click

from microflow.bench.harness import render, save

__all__ = ["SUITES", "bench"]

#: Each is a module of `microflow.bench` with ``run(rows: int | None) -> list[Line]``.
SUITES = ("compliance", "anonymize", "timing", "pipelines", "store")


@click.command()
@click.argument("suite", type=click.Choice(SUITES))
@click.option("--rows", type=click.IntRange(1_000), help="Rows to process; by default what fits 50 s on two cores.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write JSON here.")
def bench(suite: str, rows: int | None, json_file: Path | None) -> None:
    """Measure one suite: a table of rates, ratios with intervals, and whether each goal holds.

    \b
    Examples:
      microflow bench compliance
      microflow bench store --rows 100000 --json store.json
    """
    lines = import_module(f"microflow.bench.{suite}").run(rows)
    click.echo(render(lines))
    if json_file is not None:
        save(lines, json_file)
