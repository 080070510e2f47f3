"""``microflow bench``: every speed we claim, measured beside its reference."""

from __future__ import annotations

from pathlib import Path

import click

from microflow.bench import SUITES, measured
from microflow.bench.harness import document, render, save
from microflow.figures.documents import peers_block, with_block
from microflow.whole_file import write_whole

__all__ = ["bench"]


@click.command()
@click.argument("suite", type=click.Choice(SUITES))
@click.option("--rows", type=click.IntRange(1_000), help="Rows to process; by default what fits 50 s on two cores.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Also write JSON here.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With peers: write the table between the marks of this file.",
)
def bench(suite: str, rows: int | None, json_file: Path | None, into: Path | None) -> None:
    """Measure one suite: a table of rates, ratios with intervals, and whether each goal holds.

    \b
    Examples:
      microflow bench compliance
      microflow bench k_anonymity                 information loss beside ARX's and anonypy's
      microflow bench store --rows 100000 --json store.json
      microflow bench peers --into docs/peers.md
    """
    if into is not None and suite != "peers":
        raise click.UsageError("--into says where the table of peers goes")
    lines = measured(suite, rows)
    click.echo(render(lines))
    if json_file is not None:
        save(lines, json_file)
    if into is not None:
        write_whole(into, with_block(into.read_text("utf-8"), peers_block(document(lines))))
