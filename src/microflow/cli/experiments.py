"""``microflow experiments``: the trials of the research questions, and what the database holds of them."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microflow.cli.options import EXISTING, OUTPUT, profile_option
from microflow.errors import InputError, MicroflowError
from microflow.experiments import NOTEBOOKS
from microflow.lab.experiment import PREVIEWS
from microflow.sinks.whole_file import write_whole

if TYPE_CHECKING:
    from microflow.lab.reproduction import Difference
    from microflow.lab.results import Progress

__all__ = ["execute", "experiments", "parameters_of"]


#: Folders in the current folder, which must be the repository: notebooks are not part of the package.
FOLDER = Path("notebooks")
FIGURES = "figures"
_MINUTE_S = 60


@click.group()
def experiments() -> None:
    """Run the experiments and manage their results.

    The profile decides the size: smoke takes seconds, quick minutes, and paper an hour or more. The results of smoke
    and quick are previews.
    """


@experiments.command()
@profile_option("quick", "Size of the experiments.")
@click.option("--force", is_flag=True, help="Run trials again that the database already contains.")
@click.option("--only", type=click.Choice(NOTEBOOKS), multiple=True, help="Run only this notebook (repeatable).")
@click.option(
    "--experiment", "chosen", multiple=True, help="Run only this experiment, without a notebook (repeatable)."
)
def run(profile: str, force: bool, only: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    """Run the notebooks of the experiments.

    Papermill executes the notebooks; copies with results are written to notebooks/executed. At the end, the answers,
    the folder of the figures and the duration are printed. Each trial is stored when it ends, so that a stopped run can
    be continued.

    \b
    Examples:
      microflow experiments run                       # a few minutes on two cores
      microflow experiments run --only rq1 --force    # one question, measured again
      microflow experiments run --profile paper       # for print; an hour or more
      microflow experiments run --profile paper --experiment rq1-storm

    Exit status: 0 done, 2 a notebook or trial failed, or error in the settings.
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
    _print_answers(profile, only or NOTEBOOKS, chosen)
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
        for question in questions:
            done = run_experiment(question, profile, store, force=force, observer=_count)
            click.echo(f"\r{done}" if sys.stderr.isatty() else str(done))


def _print_answers(profile: str, notebooks: Sequence[str], chosen: Sequence[str]) -> None:
    """Print the answers of these notebooks or experiments that the database contains."""
    from microflow.figures.catalogue import answers
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        for experiment, answer in answers(profile, store):
            if experiment.name in chosen if chosen else experiment.notebook in notebooks or "figures" in notebooks:
                click.echo("\n" + click.wrap_text(f"{experiment.asks} {answer.sentence}", 100, "", "  "))


@experiments.command()
@click.argument("bundle", type=EXISTING, required=False)
@profile_option("paper", "Profile of the recorded trials.")
@click.option(
    "--only",
    "chosen",
    multiple=True,
    help="Only this experiment, as 'microflow experiments plan' names it (repeatable).",
)
@click.option("--keep", type=OUTPUT, help="Also write the new trials as a bundle to this file.")
def reproduce(bundle: Path | None, profile: str, chosen: tuple[str, ...], keep: Path | None) -> None:
    """Run recorded trials again and list every difference.

    The recorded trials are those of BUNDLE, or of the database; they are not changed. Checksums, counts, privacy and
    utility must be equal, and the intervals of timing ratios must overlap. A stopped reproduction can be continued.

    \b
    Examples:
      microflow experiments reproduce results.zip                     # an hour or more
      microflow experiments reproduce --profile quick                 # minutes
      microflow experiments reproduce --profile quick --only rq2-privacy --keep mine.zip

    Exit status: 0 all results agree, 1 a result differs, 2 error in the bundle or the settings.
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
        for agreement in reproduce(recorded, again, profile, questions, _count):
            differences += agreement.differences
            trials, answered, ratios = agreement.trials, agreement.answers, agreement.ratios
            click.echo(f"{agreement.experiment:<20} {trials:>4} trials, {answered:>5} answers, {ratios:>3} ratios")
        if keep is not None:
            click.echo(f"{export_bundle(again, keep):,} trials to {keep}")
    click.echo("\n".join(["", *map(str, differences), f"{len(differences)} difference{'s' * (len(differences) != 1)}"]))
    if differences:
        raise SystemExit(1)


def _count(progress: Progress) -> None:
    """Show the progress of an experiment on one line of a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r{progress.experiment:<20} {progress.ran} of {progress.cells} ", nl=False, err=True)


@experiments.command()
@profile_option("paper", "Profile to plan.")
def plan(profile: str) -> None:
    """Predict the trials and minutes of a profile.

    Nothing is run. The minutes come from the time that each experiment declares for a trial, corrected by the trials
    that the database contains.

    \b
    Examples:
      microflow experiments plan                       # the duration of 'make experiments PROFILE=paper'
      microflow experiments plan --profile quick
    """
    from microflow.experiments import all_experiments
    from microflow.lab.experiment import forecast, forecast_table
    from microflow.lab.launch import Machine
    from microflow.store.experiments import ExperimentStore

    cores = Machine.here().cores
    with ExperimentStore() as store:
        found = [forecast(question, profile, store, cores=cores) for question in all_experiments()]
    click.echo(forecast_table(found, profile, cores).to_text())


@experiments.command("list")
def show() -> None:
    """List the experiments in the database, with the number of trials and the time of the last one.

    \b
    Example:
      microflow experiments list
    """
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        for name in store.experiments():
            trials = store.trials(name)
            last = trials["created_at"].max()
            click.echo(f"{name:<20} {len(trials):>6} trials   last {last:%Y-%m-%d %H:%M}")


@experiments.command()
@click.argument("path", type=OUTPUT)
def export(path: Path) -> None:
    """Write all trials to a bundle.

    Another person can import the bundle PATH and draw every figure without running a trial.

    \b
    Example:
      microflow experiments export results.zip
    """
    from microflow.lab.bundle import export_bundle
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        click.echo(f"{export_bundle(store, path):,} trials to {path}")


@experiments.command("import")
@click.argument("path", type=EXISTING)
def import_(path: Path) -> None:
    """Read the trials of a bundle into the database.

    Trials that the database already contains are not changed.

    \b
    Example:
      microflow experiments import results.zip
    """
    from microflow.lab.bundle import import_bundle
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        click.echo(f"{import_bundle(store, path):,} trials from {path}")


@experiments.command()
@profile_option("paper", "Profile of the recorded trials.")
@click.option("--bundle", type=EXISTING, help="Use the trials of this bundle instead of the database.")
@click.option("--into", type=OUTPUT, help="Write the list as Markdown to this file instead of printing it.")
def audit(profile: str, bundle: Path | None, into: Path | None) -> None:
    """List the evidence of each published number.

    A claim is a sentence with a number in README.md, RESULTS.md, docs/*.md or figures/paper.tex. Its evidence is the
    trials of an experiment (rows, blocks, kind of interval) or the output of a command.

    \b
    Examples:
      microflow experiments audit --profile paper --bundle data/paper.zip
      microflow experiments audit --into audit.md

    Exit status: 0 every claim has evidence, 1 a claim has none, 2 error in the settings.
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
    unfounded = [claim for claim in found if not claim.evidence]
    click.echo(f"{len(found)} claims, {len(unfounded)} without evidence", err=into is None)
    if unfounded:
        raise SystemExit(1)


def parameters_of(notebook: Path) -> dict[str, str]:
    """Parameters that a notebook declares in its ``parameters`` cell, with their defaults as source text.

    Raises:
        InputError: the notebook does not exist.
    """
    if not notebook.is_file():
        raise InputError("no such notebook", path=notebook, hint="run this from the folder that holds notebooks/")
    from papermill import inspect_notebook

    return {name: found["default"] for name, found in inspect_notebook(str(notebook)).items()}


def execute(notebook: Path, parameters: dict[str, Any], folder: Path) -> Path:
    """Run a notebook with these parameters, write the executed copy into ``folder`` and return its path.

    Raises:
        InputError: the notebook does not exist, or it does not declare one of the parameters.
        MicroflowError: a cell failed; the executed copy shows which one.
    """
    # Papermill itself only logs an unknown parameter, and the run would have other settings than requested.
    if unknown := parameters.keys() - parameters_of(notebook).keys():
        raise InputError(f"parameter {min(unknown)!r} does not reach its notebook", path=notebook)
    from papermill import PapermillExecutionError, execute_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / notebook.name
    try:
        with _collected_errors() as said:
            execute_notebook(
                str(notebook), str(copy), parameters, cwd=str(notebook.parent.parent), progress_bar=False,
                extra_arguments=["--log-level=40"],  # a kernel on this machine need not warn about its own socket
            )  # fmt: skip
    except PapermillExecutionError as error:
        sys.stderr.write(said.getvalue())
        raise MicroflowError(f"{notebook.name} failed: {error.ename}: {error.evalue}", hint=f"see {copy}") from error
    return copy


@contextmanager
def _collected_errors() -> Iterator[io.StringIO]:
    """Block that collects standard error: Jupyter ends a kernel by an interrupt, which the kernel reports there."""
    said, kept = io.StringIO(), os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            said.write(file.read().decode(errors="replace"))
