"""``microflow figures``: draw everything again from the database."""

from __future__ import annotations

from pathlib import Path

import click

from microflow.lab.experiment import PROFILES
from microflow.sinks.whole_file import write_whole

__all__ = ["figures"]


@click.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="quick", show_default=True, help="Which trials to read."
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="figures", show_default=True)
@click.option("--readme", is_flag=True, help="Print the README's results block instead; draw nothing.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With --readme: write it between the marks of this file.",
)
def figures(profile: str, folder: Path, readme: bool, into: Path | None) -> None:
    """Draw figures, LaTeX tables and numbers.tex from the results database; exit 1 if trials are missing.

    \b
    Examples:
      microflow figures                           figures/*.pdf, *.png, *.tex
      microflow figures --profile paper
      microflow figures --readme                  Markdown, on the screen
      microflow figures --readme --into RESULTS.md
    """
    from microflow.figures.catalogue import draw_all
    from microflow.figures.documents import results_block, with_block, write_tables
    from microflow.store.experiments import ExperimentStore

    if into is not None and not readme:
        raise click.UsageError("--into says where the results of --readme go")
    with ExperimentStore() as store:
        if readme:
            block = results_block(profile, store)
            if into is None:
                click.echo(block)
            else:
                write_whole(into, with_block(into.read_text("utf-8"), block))
            return
        drawn = [*draw_all(profile, store, folder), *write_tables(profile, store, folder)]
    for one in drawn:
        click.echo(f"{one.name:<24} {', '.join(str(path) for path in one.files) or one.missing}")
    if any(one.missing for one in drawn):
        raise SystemExit(1)
