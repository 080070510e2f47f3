"""``microflow experiments``, ``figures`` and ``bench``: run the research questions, draw them, measure our speeds."""

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

from microflow.bench import SUITES, measured
from microflow.errors import InputError, MicroflowError
from microflow.experiments import NOTEBOOKS
from microflow.lab.experiment import PREVIEWS, PROFILES
from microflow.sinks.whole_file import write_whole

if TYPE_CHECKING:
    from microflow.lab.reproduction import Difference
    from microflow.lab.results import Progress

__all__ = ["bench", "execute", "experiments", "figures", "parameters_of"]


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
        for question in questions:
            done = run_experiment(question, profile, store, force=force, observer=_count)
            click.echo(f"\r{done}" if sys.stderr.isatty() else str(done))


def _say_answers(profile: str, notebooks: Sequence[str], chosen: Sequence[str]) -> None:
    """The answers of what these notebooks or experiments ran, as far as the database holds them."""
    from microflow.figures.catalogue import answers
    from microflow.store.experiments import ExperimentStore

    with ExperimentStore() as store:
        for experiment, answer in answers(profile, store):
            if experiment.name in chosen if chosen else experiment.notebook in notebooks or "figures" in notebooks:
                click.echo("\n" + click.wrap_text(f"{experiment.asks} {answer.sentence}", 100, "", "  "))


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
      microflow experiments reproduce results.zip                     an hour and more
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
        found = [forecast(question, profile, store, cores=cores) for question in all_experiments()]
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
      microflow experiments audit --profile paper --bundle data/paper.zip
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
    unfounded = [claim for claim in found if not claim.evidence]
    click.echo(f"{len(found)} claims, {len(unfounded)} without evidence", err=into is None)
    if unfounded:
        raise SystemExit(1)


@click.command()
@click.option(
    "--profile", type=click.Choice(PROFILES), default="quick", show_default=True, help="Which trials to read."
)
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default="figures", show_default=True)
@click.option("--readme", is_flag=True, help="Print the README's results block instead; draw nothing.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="With --readme: write results, or headlines, between the marks of this file.",
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
    from microflow.bench.harness import document, render, save
    from microflow.figures.catalogue import peers_block, with_block

    lines = measured(suite, rows)
    click.echo(render(lines))
    if json_file is not None:
        save(lines, json_file)
    if into is not None:
        write_whole(into, with_block(into.read_text("utf-8"), peers_block(document(lines))))


def parameters_of(notebook: Path) -> dict[str, str]:
    """The parameters that a notebook declares in its ``parameters`` cell, with their defaults as source text.

    Raises:
        InputError: there is no such notebook.
    """
    if not notebook.is_file():
        raise InputError("no such notebook", path=notebook, hint="run this from the folder that holds notebooks/")
    from papermill import inspect_notebook

    return {name: found["default"] for name, found in inspect_notebook(str(notebook)).items()}


def execute(notebook: Path, parameters: dict[str, Any], folder: Path) -> Path:
    """Run one notebook with these parameters, write the executed copy into ``folder`` and return its path.

    Raises:
        InputError: there is no such notebook, or it does not declare one of the parameters.
        MicroflowError: a cell failed; the executed copy shows which.
    """
    # Papermill itself only logs an unknown parameter, and the run would be another than the one asked for.
    if unknown := parameters.keys() - parameters_of(notebook).keys():
        raise InputError(f"parameter {min(unknown)!r} does not reach its notebook", path=notebook)
    from papermill import PapermillExecutionError, execute_notebook

    logging.getLogger("papermill").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    copy = folder / notebook.name
    try:
        with _aside() as said:
            execute_notebook(
                str(notebook), str(copy), parameters, cwd=str(notebook.parent.parent), progress_bar=False,
                extra_arguments=["--log-level=40"],  # a kernel on this machine need not warn about its own socket
            )  # fmt: skip
    except PapermillExecutionError as error:
        sys.stderr.write(said.getvalue())
        raise MicroflowError(f"{notebook.name} failed: {error.ename}: {error.evalue}", hint=f"see {copy}") from error
    return copy


@contextmanager
def _aside() -> Iterator[io.StringIO]:
    """Keep what a kernel writes on standard error: Jupyter interrupts it to end it, and it says so on its way out."""
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
