"""``microflow experiments``: run the research questions, notebook by notebook."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from microflow.cli.notebooks import execute, parameters_of
from microflow.experiments import NOTEBOOKS
from microflow.lab.experiment import PREVIEWS, PROFILES
from microflow.whole_file import write_whole

if TYPE_CHECKING:
    from microflow.lab.reproduction import Difference
    from microflow.lab.results import Progress

__all__ = ["experiments"]

#: Of the current folder, which must be the repository: notebooks are not part of the package.
FOLDER = Path("notebooks")
FIGURES = "figures"
_MINUTE_S = 60


@click.group()
def experiments() -> None:
    """Run the research questions, and see what the database holds of them."""


@experiments.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="quick", show_default=True, help="How long it may take."
)
@click.option("--force", is_flag=True, help="Run again what the database already holds.")
@click.option("--only", type=click.Choice(NOTEBOOKS), multiple=True, help="Only these notebooks (repeatable).")
@click.option("--experiment", "chosen", multiple=True, help="Measure this experiment alone, no notebook (repeatable).")
def run(profile: str, force: bool, only: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    """Execute the notebooks by Papermill; copies with results go to notebooks/executed.

    Ends with the answers, where the figures are, and how long it took. What smoke and quick measure is a preview. Each
    trial is kept as it ends: a run that was stopped goes on where it was.

    \b
    Examples:
      microflow experiments run                       a few minutes on two cores
      microflow experiments run --only rq1 --force    one question, measured again
      microflow experiments run --profile paper       an hour and more; for print (experiments plan says how long)
      microflow experiments run --profile paper --experiment rq1-storm
    """
    if chosen and only:
        raise click.UsageError("--only names notebooks, --experiment what is measured without one: choose")
    began = time.perf_counter_ns()
    if chosen:
        _measure(profile, chosen, force=force)
    for name in () if chosen else only or NOTEBOOKS:
        notebook = FOLDER / f"{name}.ipynb"
        given = {"profile": profile, "force": force, "folder": FIGURES}
        # Only what the notebook knows: one that measures has no folder, one that draws has nothing to force.
        parameters = {key: value for key, value in given.items() if key in parameters_of(notebook)}
        click.echo(f"{name:<20}", nl=False)
        started = time.perf_counter_ns()
        copy = execute(notebook, parameters, FOLDER / "executed")
        click.echo(f"{(time.perf_counter_ns() - started) / 1e9:5.0f} s  {copy}")
    _say_answers(profile, only or NOTEBOOKS, chosen)
    if "figures" in (only or NOTEBOOKS) and not chosen:
        click.echo(f"\nFigures, tables and numbers: {Path(FIGURES).resolve()}")
    seconds = (time.perf_counter_ns() - began) / 1e9
    took = f"{seconds:.0f} s" if seconds < _MINUTE_S else f"{seconds / _MINUTE_S:.1f} minutes"
    preview = "; a preview, not to be cited (--profile paper is)" if profile in PREVIEWS else ""
    click.echo(f"Profile {profile}, {took}{preview}.")


def _measure(profile: str, chosen: Sequence[str], *, force: bool) -> None:
    from microflow.experiments import select
    from microflow.lab.results import run_experiment
    from microflow.store.experiments import ExperimentStore

    questions = select(chosen)
    with ExperimentStore() as store:
        for one in questions:
            done = run_experiment(one, profile, store, force=force, observer=_count)
            click.echo(f"\r{done}" if sys.stderr.isatty() else str(done))


def _say_answers(profile: str, notebooks: Sequence[str], chosen: Sequence[str]) -> None:
    """The answers of what these notebooks or experiments ran, as far as the database holds them."""
    from microflow.figures.documents import answers
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        for one, answer in answers(profile, store):
            if one.name in chosen if chosen else one.notebook in notebooks or "figures" in notebooks:
                click.echo("\n" + click.wrap_text(f"{one.asks} {answer.sentence}", 100, "", "  "))


@experiments.command()
@click.argument("bundle", type=click.Path(path_type=Path, dir_okay=False, exists=True), required=False)
@click.option(
    "--profile", type=click.Choice(PROFILES), default="paper", show_default=True, help="Which recorded trials."
)
@click.option("--only", "chosen", multiple=True, help="Only these experiments, as `experiments list` names them.")
@click.option("--keep", type=click.Path(path_type=Path, dir_okay=False), help="Write the repetition's own bundle here.")
def reproduce(bundle: Path | None, profile: str, chosen: tuple[str, ...], keep: Path | None) -> None:
    """Run recorded trials again and list every difference: exit 0 if all agree, 1 if not.

    The recording is BUNDLE, or what the database holds; it is only read. Checksums, counts, privacy and utility must
    be the same, and the intervals of timing ratios must overlap. One that was stopped continues.

    \b
    Examples:
      microflow experiments reproduce results.zip                     hours
      microflow experiments reproduce --profile quick                 minutes
      microflow experiments reproduce --profile quick --only rq2-privacy --keep mine.zip
    """
    from microflow.experiments import select
    from microflow.lab.bundle import export_bundle
    from microflow.lab.reproduction import bundled, repeated, reproduce
    from microflow.store.experiments import ExperimentStore

    questions = select(chosen)
    differences: list[Difference] = []
    with ExitStack() as stack:
        recorded = stack.enter_context(ExperimentStore())
        again = stack.enter_context(repeated(recorded, profile))
        if bundle is not None:
            recorded = stack.enter_context(bundled(recorded, bundle))
        for one in reproduce(recorded, again, profile, questions, _count):
            differences += one.differences
            click.echo(f"{one.experiment:<20} {one.trials:>4} trials, {one.answers:>5} answers, {one.ratios:>3} ratios")
        if keep is not None:
            click.echo(f"{export_bundle(again, keep):,} trials to {keep}")
    click.echo("\n".join(["", *map(str, differences), f"{len(differences)} difference{'s' * (len(differences) != 1)}"]))
    if differences:
        raise SystemExit(1)


def _count(progress: Progress) -> None:
    """On a terminal: how far the running experiment is, on one line."""
    if sys.stderr.isatty():
        click.echo(f"\r{progress.experiment:<20} {progress.ran} of {progress.cells} ", nl=False, err=True)


@experiments.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="paper", show_default=True, help="Which trials are counted."
)
def plan(profile: str) -> None:
    """Say how many trials a profile has and how many minutes they take here; nothing is run.

    Minutes rest on what each experiment declares of a trial, scaled by what the database holds of it.

    \b
    Examples:
      microflow experiments plan                       what make experiments PROFILE=paper would take
      microflow experiments plan --profile quick
    """
    from microflow.experiments import all_experiments
    from microflow.lab.forecast import forecast, forecast_table
    from microflow.lab.machine import Machine
    from microflow.store.experiments import ExperimentStore

    cores = Machine.here().cores
    with ExperimentStore() as store:
        found = [forecast(one, profile, store, cores=cores) for one in all_experiments()]
    click.echo(forecast_table(found, profile, cores).to_text())


@experiments.command("list")
def show() -> None:
    """What the database holds: experiments, their trials, and when the last one ran."""
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        for name in store.experiments():
            trials = store.trials(name)
            last = trials["created_at"].max()
            click.echo(f"{name:<20} {len(trials):>6} trials   last {last:%Y-%m-%d %H:%M}")


@experiments.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False))
def export(path: Path) -> None:
    """Write all results to PATH, a bundle from which others draw every figure without running anything."""
    from microflow.lab.bundle import export_bundle
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        click.echo(f"{export_bundle(store, path):,} trials to {path}")


@experiments.command("import")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, exists=True))
def import_(path: Path) -> None:
    """Read a bundle's trials into the database; those it already holds are kept as they are."""
    from microflow.lab.bundle import import_bundle
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        click.echo(f"{import_bundle(store, path):,} trials from {path}")


@experiments.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="paper", show_default=True, help="Which recorded trials."
)
@click.option("--bundle", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Read these instead.")
@click.option("--into", type=click.Path(path_type=Path, dir_okay=False), help="Write the page here, as Markdown.")
def audit(profile: str, bundle: Path | None, into: Path | None) -> None:
    """List each claim of what is published with its evidence; exit 1 if a sentence has none.

    Published are README.md, RESULTS.md, docs/*.md and figures/paper.tex.

    Evidence is an experiment's trials (rows, blocks, kind of interval) or the output of a command.

    \b
    Examples:
      microflow experiments audit --profile quick --bundle data/preview.zip
      microflow experiments audit --into audit.md
    """
    from microflow.figures.audit import audited, documents, page
    from microflow.lab.reproduction import bundled
    from microflow.store.experiments import ExperimentStore

    with ExitStack() as stack:
        store = stack.enter_context(ExperimentStore())
        if bundle is not None:
            store = stack.enter_context(bundled(store, bundle))
        found = audited(documents(Path()), profile, store)
    if into is None:
        click.echo(page(found))
    else:
        write_whole(into, page(found) + "\n")
    unfounded = [one for one in found if not one.evidence]
    click.echo(f"{len(found)} claims, {len(unfounded)} without evidence", err=into is None)
    if unfounded:
        raise SystemExit(1)
