"""``microflow figures``: figures and tables of the recorded trials."""

from __future__ import annotations

from pathlib import Path

import click

from microflow.cli.options import EXISTING, profile_option
from microflow.sinks.whole_file import write_whole

__all__ = ["figures"]


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
