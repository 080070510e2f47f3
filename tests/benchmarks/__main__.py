"""``make bench SUITE=...``: speeds beside their references, on this machine and now."""

from __future__ import annotations

from pathlib import Path

import click

from benchmarks import SUITES, measured, soak
from benchmarks.harness import document, peers_block, render, save
from microflow.cli.options import EXISTING, OUTPUT
from microflow.figures.catalogue import with_block
from microflow.sinks.whole_file import write_whole

__all__ = ["bench"]


@click.command()
@click.argument("suite", type=click.Choice(SUITES))
@click.option(
    "--rows", type=click.IntRange(1_000), help="Rows to process; by default as many as fit into 50 s on two cores."
)
@click.option("--soak", "minutes", type=click.FloatRange(0.01), metavar="MINUTES",
              help="With live: run the service for so long at half load, and watch its memory.")  # fmt: skip
@click.option("--json", "json_file", type=OUTPUT, help="Also write the results as JSON to this file.")
@click.option("--into", type=EXISTING, help="With peers: write the table between the marks of this file.")
def bench(suite: str, rows: int | None, minutes: float | None, json_file: Path | None, into: Path | None) -> None:
    """Measure speeds beside their references.

    Each SUITE prints a table of rates, ratios with intervals, and whether each goal is reached.
    """
    if minutes is not None and suite != "live":
        raise click.UsageError("--soak says for how many minutes the live service runs")
    if into is not None and suite != "peers":
        raise click.UsageError("--into says where the table of peers goes")
    lines = measured(suite, rows) if minutes is None else soak.soak(minutes, rows)
    click.echo(render(lines))
    if json_file is not None:
        save(lines, json_file)
    if into is not None:
        write_whole(into, with_block(into.read_text("utf-8"), peers_block(document(lines))))


if __name__ == "__main__":
    bench()
