"""``microflow figures``: draw everything again from the database."""

from __future__ import annotations

from pathlib import Path

import click

from microflow.errors import MicroflowError
from microflow.experiments.matrix import PROFILES

__all__ = ["figures"]


@click.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="quick", show_default=True, help="Which trials to read."
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="figures", show_default=True)
@click.option("--readme", is_flag=True, help="Print the results table for the README and write nothing.")
def figures(profile: str, folder: Path, readme: bool) -> None:
    """Draw figures, LaTeX tables and numbers.tex from the results database; exit 1 if trials are missing.

    \b
    Examples:
      microflow figures                        figures/*.pdf, *.png, *.tex
      microflow figures --profile paper
      microflow figures --readme               a Markdown table
    """
    from microflow.figures.catalogue import draw_all
    from microflow.figures.paper import readme_table, write_tables
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        if readme:
            table = readme_table(profile, store)
            if not table.rows:
                raise MicroflowError(f"no question of profile {profile!r} has run yet", hint="make experiments")
            click.echo(table.to_markdown())
            return
        drawn = [*draw_all(profile, store, folder), *write_tables(profile, store, folder)]
    for one in drawn:
        click.echo(f"{one.name:<24} {', '.join(str(path) for path in one.files) or one.missing}")
    if any(one.missing for one in drawn):
        raise SystemExit(1)
