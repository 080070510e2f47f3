"""``microflow figures`` and ``bench``: figures and tables of the recorded trials, and benchmarks."""

from __future__ import annotations

from pathlib import Path

import click

from microflow.bench import SUITES, measured
from microflow.cli.options import EXISTING, OUTPUT, profile_option
from microflow.sinks.whole_file import write_whole

__all__ = ["bench", "figures"]


@click.command()
@profile_option("quick", "Profile of the trials.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="figures", show_default=True,
              help="Folder to write to.")  # fmt: skip
@click.option("--readme", is_flag=True, help="Print the results as Markdown instead of drawing.")
@click.option("--into", type=EXISTING, help="With --readme: write results or headlines between the marks of this file.")
def figures(profile: str, folder: Path, readme: bool, into: Path | None) -> None:
    """Draw figures and tables from the results database.

    The folder then contains figures (PDF and PNG), tables and numbers for LaTeX.

    \b
    Examples:
      microflow figures                           # figures/*.pdf, *.png, *.tex
      microflow figures --profile paper
      microflow figures --readme                  # prints Markdown
      microflow figures --readme --into RESULTS.md

    Exit status: 0 done, 1 trials are missing, 2 error in the settings.
    """
    from microflow.figures.catalogue import draw_all, results_block, with_blocks, write_tables
    from microflow.store.experiments import ExperimentStore

    if into is not None and not readme:
        raise click.UsageError("--into says where the results of --readme go")
    with ExperimentStore() as store:
        if readme:
            if into is None:
                click.echo(results_block(profile, store))
            else:
                write_whole(into, with_blocks(into.read_text("utf-8"), profile, store))
            return
        drawn = [*draw_all(profile, store, folder), *write_tables(profile, store, folder)]
    for figure in drawn:
        click.echo(f"{figure.name:<24} {', '.join(str(path) for path in figure.files) or figure.missing}")
    if any(figure.missing and figure.needed for figure in drawn):
        raise SystemExit(1)


@click.command()
@click.argument("suite", type=click.Choice(SUITES))
@click.option(
    "--rows", type=click.IntRange(1_000), help="Rows to process; by default as many as fit into 50 s on two cores."
)
@click.option("--soak", type=click.FloatRange(0.01), metavar="MINUTES",
              help="With live: run the service for so long at half load, and watch its memory.")  # fmt: skip
@click.option("--json", "json_file", type=OUTPUT, help="Also write the results as JSON to this file.")
@click.option("--into", type=EXISTING, help="With peers: write the table between the marks of this file.")
def bench(suite: str, rows: int | None, soak: float | None, json_file: Path | None, into: Path | None) -> None:
    """Measure speeds beside their references.

    Each SUITE prints a table of rates, ratios with intervals, and whether each goal is reached.

    \b
    Examples:
      microflow bench compliance
      microflow bench k_anonymity                 # information loss beside that of ARX and anonypy
      microflow bench store --rows 100000 --json store.json
      microflow bench live --soak 10              # ten minutes
      microflow bench peers --into docs/peers.md
    """
    if soak is not None and suite != "live":
        raise click.UsageError("--soak says for how many minutes the live service runs")
    if into is not None and suite != "peers":
        raise click.UsageError("--into says where the table of peers goes")
    from microflow.bench.harness import document, render, save
    from microflow.figures.catalogue import peers_block, with_block

    if soak is None:
        lines = measured(suite, rows)
    else:
        from microflow.bench import soak as soaking

        lines = soaking.soak(soak, rows)
    click.echo(render(lines))
    if json_file is not None:
        save(lines, json_file)
    if into is not None:
        write_whole(into, with_block(into.read_text("utf-8"), peers_block(document(lines))))
