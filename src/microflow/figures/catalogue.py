"""What is shown of an experiment: its figure, tables and answer, read from the results database and nothing else."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from microflow.errors import MicroflowError
from microflow.experiments import all_experiments, experiment
from microflow.figures import charts
from microflow.figures.style import ieee, png, save
from microflow.lab.experiment import PREVIEWS, Experiment
from microflow.lab.report import Answer, Table, design
from microflow.lab.results import IncompleteError, Results, Skipped
from microflow.store.experiments import ExperimentStore

__all__ = ["Drawn", "Note", "Plate", "answer", "caption_of", "draw_all", "plan", "plate", "table"]


@dataclass(frozen=True)
class Plate:
    """A figure with its name and caption; Jupyter shows both."""

    name: str
    caption: str
    figure: Figure

    def _repr_png_(self) -> bytes:
        return png(self.figure)

    def _repr_html_(self) -> str:
        image = base64.b64encode(png(self.figure)).decode()
        said = html.escape(self.caption)
        return (
            f"<figure style='max-width:760px'><img alt='{html.escape(self.name)}' style='max-width:100%' "
            f"src='data:image/png;base64,{image}'/><figcaption>{said}</figcaption></figure>"
        )


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure's files, or why there are none."""

    name: str
    files: tuple[Path, ...]
    missing: str = ""


@dataclass(frozen=True)
class Note:
    """Generated prose: what a design is, so that no notebook states a number of its own."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


def plan(name: str, profile: str) -> Note:
    """How many arms an experiment has in a profile, how often each runs, on how many rows."""
    matrix = experiment(name).matrix(profile)
    sizes = sorted({int(arm.config["rows"]) for arm in matrix.arms if "rows" in arm.config})
    rows = f" on {' and '.join(f'{one:,}' for one in sizes)} rows" if sizes else ""
    preview = " Results of this profile are a preview, not to be cited." if profile in PREVIEWS else ""
    return Note(f"*Profile `{profile}`: {len(matrix.arms)} arms{rows}, {matrix.repetitions}.{preview}*")


def plate(name: str, profile: str, store: ExperimentStore) -> Plate | Skipped:
    """Draw the figure of an experiment.

    Raises:
        MicroflowError: there is no such experiment, or it has no figure.
        IncompleteError: not all of its trials have run.
    """
    one = experiment(name)
    if one.plot is None:
        raise MicroflowError(f"{name} has no figure", hint="it has tables: microflow.figures.catalogue.table")
    results = Results.read(one.matrix(profile), store)
    frame = one.frame(results)
    with ieee():
        figure: Figure = getattr(charts, f"draw_{one.plot.drawing}")(frame)
    return Plate(one.plot.name, caption_of(one, profile, results), figure)


def caption_of(one: Experiment, profile: str, results: Results) -> str:
    """A figure's caption with rows, blocks, trials and machine; a preview says that it is one."""
    assert one.plot is not None
    preview = f"Preview ({profile}). " if profile in PREVIEWS else ""
    return f"{preview}{one.plot.caption} {design(results)[:1].upper()}{design(results)[1:]}."


def table(name: str, profile: str, store: ExperimentStore, which: str = "") -> Table | Skipped:
    """A table of an experiment, its first by default; or why there is none, where this machine cannot run it.

    Raises:
        MicroflowError: there is no such experiment or table.
        IncompleteError: not all of its trials have run, although they could.
    """
    one = experiment(name)
    tables = one.tables or {}
    if not tables or (which and which not in tables):
        raise MicroflowError(f"{name} has no table {which!r}", hint=f"its tables are: {', '.join(tables) or 'none'}")
    try:
        results = Results.read(one.matrix(profile), store)
    except IncompleteError as error:
        return _skipped(one, error)
    return tables[which or next(iter(tables))](results).of(profile)


def answer(name: str, profile: str, store: ExperimentStore) -> Answer | Skipped:
    """The answer of an experiment, or why there is none, where this machine cannot run it.

    Raises:
        IncompleteError: not all of its trials have run, although they could.
    """
    one = experiment(name)
    try:
        return one.answer(Results.read(one.matrix(profile), store)).of(profile)
    except IncompleteError as error:
        return _skipped(one, error)


def _skipped(one: Experiment, error: IncompleteError) -> Skipped:
    if one.optional:
        return Skipped(one.name, one.missing() or error.reason)
    raise error


def draw_all(profile: str, store: ExperimentStore, folder: Path) -> list[Drawn]:
    """Draw and save every figure whose trials are complete; say of the others what is missing."""
    drawn = []
    for one in all_experiments():
        if one.plot is None:
            continue
        try:
            found = plate(one.name, profile, store)
        except IncompleteError as error:
            drawn.append(Drawn(one.plot.name, (), error.message))
        else:
            assert isinstance(found, Plate)
            drawn.append(Drawn(one.plot.name, save(found.figure, folder, one.plot.name)))
    return drawn
