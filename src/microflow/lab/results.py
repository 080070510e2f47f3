"""Results of a matrix: its trials are run and read back, complete and of one machine.

What the database holds is kept, everything else runs, one fresh process after another.
"""

from __future__ import annotations

import html
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from microflow.errors import MicroflowError, SetupError
from microflow.lab.experiment import Experiment, Matrix, config_hash, settled
from microflow.lab.launch import Launch, Machine, refuse_unlike
from microflow.lab.trials import Arm, Planned, Trial, by_group, gather, run_trials
from microflow.timing.meters import ResourceUsage

if TYPE_CHECKING:
    import pandas as pd

    from microflow.store.experiments import ExperimentStore

__all__ = [
    "Frame", "IncompleteError", "Progress", "Results", "Skipped", "commit_of", "data_frame", "is_series",
    "results_or_missing", "run_experiment", "run_matrix", "series_of",
]  # fmt: skip

#: pandas and the database are loaded where they are used: a trial's process has no use for them.
Frame: TypeAlias = "pd.DataFrame"


def data_frame(rows: Sequence[Any], columns: list[str] | None = None) -> Frame:
    """Rows, each a tuple or a dictionary, as pandas has them."""
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)


class IncompleteError(MicroflowError):
    """The database does not hold every trial of a matrix yet: of which ``experiment``, and for what ``reason``."""

    def __init__(self, experiment: str, reason: str) -> None:
        super().__init__(f"{experiment}: {reason}", hint="make experiments")
        self.experiment = experiment
        self.reason = reason


@dataclass(frozen=True)
class Results:
    """The trials of one matrix, block after block.

    Others of the same experiment (other sizes, other profiles) are not among them.
    """

    matrix: Matrix
    trials: tuple[Trial, ...]

    @classmethod
    def read(cls, matrix: Matrix, store: ExperimentStore) -> Self:
        """The trials of every cell; of as many blocks as the matrix's precision takes, where it asks for one.

        An absent arm that was not recorded is left out of the matrix.

        Raises:
            IncompleteError: some cells have not run yet.
            MicroflowError: the trials ran on unlike machines.
        """
        pilot = cls._of_cells(matrix, store)
        whole = settled(matrix, pilot.trials)
        return cls(whole, pilot.trials) if whole.blocks == matrix.blocks else cls._of_cells(whole, store)

    @classmethod
    def _of_cells(cls, matrix: Matrix, store: ExperimentStore) -> Self:
        rows = store.trials(matrix.experiment).set_index("config_hash")
        recorded = {turn.arm.name for found, turn in matrix.cells().items() if found in rows.index}
        matrix = replace(matrix, arms=tuple(arm for arm in matrix.arms if not arm.absent or arm.name in recorded))
        cells = matrix.cells()
        if missing := len(cells) - len(cells.keys() & set(rows.index)):
            raise IncompleteError(matrix.experiment, f"{missing} of {len(cells)} trials have not run yet")
        series = series_of(store, matrix.experiment)
        held = rows.loc[list(cells)].reset_index().to_dict("records")
        trials = [_trial(cells[row["config_hash"]], row, series.get(row["trial_id"], {})) for row in held]
        refuse_unlike(trial.run.machine for trial in trials)
        return cls(matrix, tuple(trials))

    @cached_property
    def frame(self) -> Frame:
        """One row a trial: ``arm``, ``block``, the configuration, and the result with nested names joined by dots.

        Resources are of the whole process and its children: ``cpu_s``, ``peak_rss_bytes``, and, where the
        configuration has ``rows``, ``bytes_per_record``, the memory that was added for each.
        """
        import pandas as pd

        rows = [
            {"arm": trial.planned.arm.name, "block": trial.planned.block}
            | trial.planned.arm.config
            | trial.run.result
            | _resources(trial)
            for trial in self.trials
        ]
        return pd.json_normalize(rows)

    def of(self, arm: Arm) -> list[dict[str, Any]]:
        """Results of the trials of an arm, block by block."""
        return [trial.run.result for trial in self.trials if trial.planned.arm == arm]

    @cached_property
    def samples(self) -> dict[str, dict[str, list[npt.NDArray[np.float64]]]]:
        """Steady samples by group and arm, in the matrix's order; arms without a group under the empty name.

        Raises:
            MicroflowError: the arms of a group read or released other rows; see `gather`.
        """
        gathered = {name: blocks for own in by_group(self.trials).values() for name, blocks in gather(own).items()}
        found: dict[str, dict[str, list[npt.NDArray[np.float64]]]] = defaultdict(dict)
        for arm in self.matrix.arms:
            group, _, name = arm.name.rpartition(": ")
            found[group][name] = gathered[arm.name]
        return found

    def purity(self) -> tuple[list[str], list[str]]:
        """The arms whose every trial shows that the clock ran on memory only, and the arms that do not show it.

        Shown means: the guard watched at least one span of each pass, and neither it nor the kernel saw anything. A
        trial without evidence, or with evidence of no span, shows nothing.
        """
        shown: dict[str, bool] = {}
        for trial in self.trials:
            name = trial.planned.arm.name
            shown[name] = shown.get(name, True) and _shows_purity(trial.run.result)
        return [name for name, pure in shown.items() if pure], [name for name, pure in shown.items() if not pure]


def results_or_missing(experiment: Experiment, profile: str, store: ExperimentStore) -> Results | IncompleteError:
    """Results of an experiment in a profile, or what is missing of them."""
    try:
        return Results.read(experiment.matrix(profile), store)
    except IncompleteError as error:
        return error


def _shows_purity(result: dict[str, Any]) -> bool:
    evidence = result.get("evidence") or result.get("purity")
    passes = [evidence] if isinstance(evidence, dict) else evidence or []
    calls = ("read_calls", "write_calls", "helper_calls", "helper_events")
    return bool(passes) and all(
        measured.get("spans", 0) > 0
        and measured.get("is_pure", True) is not False
        and not measured.get("refused")
        and not any(measured.get(name) for name in calls)
        for measured in passes
    )


def _resources(trial: Trial) -> dict[str, float]:
    usage, rows = trial.run.usage, trial.planned.arm.config.get("rows")
    found: dict[str, float] = {"cpu_s": usage.cpu_s, "peak_rss_bytes": usage.peak_rss_bytes}
    return found if rows is None else found | {"bytes_per_record": usage.bytes_per_record(rows)}


def series_of(store: ExperimentStore, experiment: str) -> dict[int, dict[str, list[float]]]:
    """Raw samples by trial and name."""
    series: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    samples = store.samples(experiment)
    for trial_id, name, value in zip(samples["trial_id"], samples["name"], samples["value"], strict=True):
        series[trial_id][name].append(value)
    return series


def _trial(turn: Planned, row: dict[Any, Any], series: dict[str, list[float]]) -> Trial:
    metrics = row["metrics"]
    run = Launch(
        result=metrics["result"] | series,
        machine=Machine(**row["machine"]),
        load_before=metrics["load_before"],
        load_after=metrics["load_after"],
        usage=ResourceUsage(**metrics["usage"]),
    )
    return Trial(turn, run)


class _Line:
    """A line that begins with the name of an experiment, which Jupyter shows in bold."""

    def _repr_html_(self) -> str:
        name, _, rest = str(self).partition(": ")
        return f"<b>{html.escape(name)}</b>: {html.escape(rest)}"


@dataclass(frozen=True)
class Progress(_Line):
    """Progress of a matrix: all cells, cells that ran now, and cells that the database already held."""

    experiment: str
    cells: int
    ran: int
    kept: int

    def __str__(self) -> str:
        return f"{self.experiment}: {self.cells} trials, {self.ran} run now, {self.kept} kept from before"


@dataclass(frozen=True)
class Skipped(_Line):
    """An experiment that cannot run here, and why."""

    experiment: str
    reason: str

    def __str__(self) -> str:
        return f"{self.experiment}: skipped on this machine: {self.reason}"


def run_experiment(
    experiment: Experiment,
    profile: str,
    store: ExperimentStore,
    *,
    force: bool = False,
    observer: Callable[[Progress], None] | None = None,
) -> Progress | Skipped:
    """Run an experiment's matrix, or say why this machine cannot; an optional one that will not start is left out.

    Raises:
        MicroflowError: a trial failed, or its answer is not to be recorded.
    """
    if reason := experiment.missing():
        return Skipped(experiment.name, reason)
    try:
        return run_matrix(experiment.matrix(profile), store, force=force, observer=observer)
    except SetupError as error:
        if not experiment.optional:
            raise
        return Skipped(experiment.name, str(error))


def run_matrix(
    matrix: Matrix, store: ExperimentStore, *, force: bool = False, observer: Callable[[Progress], None] | None = None
) -> Progress:
    """Run every cell that is not complete in the database (with ``force``: every cell); each is stored as it ends.

    A run that was stopped continues where it was: blocks and orders are those of the first run. Where the matrix asks
    for a precision, its blocks come first, and then as many more as their noise says.
    """
    progress = Progress(matrix.experiment, 0, 0, 0)
    asked = {} if matrix.precision is None else {"pilot": matrix.blocks, **asdict(matrix.precision)}
    for part in _parts(matrix, store):
        cells = {found: turn for found, turn in part.cells().items() if not turn.arm.absent}
        cells = dict(list(cells.items())[progress.cells :])
        held = set() if force else cells.keys() & set(store.trials(matrix.experiment)["config_hash"])
        progress = replace(progress, cells=progress.cells + len(cells), kept=progress.kept + len(held))
        done = {(cells[found].arm.name, cells[found].block) for found in held}
        at_once = Machine.here().cores if matrix.side_by_side else 1
        for trial in run_trials(cells.values(), done=done, timeout_s=matrix.timeout_s, at_once=at_once):
            _record(store, matrix.experiment, trial, {"blocks": part.blocks, **asked})
            progress = replace(progress, ran=progress.ran + 1)
            if observer is not None:
                observer(progress)
    return progress


def _parts(matrix: Matrix, store: ExperimentStore) -> Iterator[Matrix]:
    """The matrix and, once that has run, the whole that its pilot asks for, whose first blocks are the pilot's."""
    yield matrix
    if matrix.precision is not None:
        yield settled(matrix, Results.read(replace(matrix, precision=None), store).trials)


def is_series(value: object) -> bool:
    """True if a value of a result is a list of numbers, to be stored as raw samples.

    An empty list is none: no row of samples would say that it was there.

    >>> is_series([1, 2.5]), is_series([]), is_series([True]), is_series(["a"])
    (True, False, False, False)
    """
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, int | float | np.number) and not isinstance(item, bool) for item in value)
    )


def commit_of(machine: Machine) -> str:
    """The commit of the code on a machine, as it is recorded; one with changes of its own says so."""
    commit = machine.commit or "unknown"
    return f"{commit} (dirty)" if machine.dirty else commit


def _record(store: ExperimentStore, experiment: str, trial: Trial, repetitions: dict[str, Any]) -> None:
    turn, run = trial.planned, trial.run
    series = {name: value for name, value in run.result.items() if is_series(value)}
    store.record_trial(
        experiment,
        config=asdict(turn.arm) | {"block": turn.block, "position": turn.position, "repetitions": repetitions},
        config_hash=config_hash(experiment, turn),
        samples=series,
        metrics={
            "result": {name: value for name, value in run.result.items() if name not in series},
            "load_before": run.load_before,
            "load_after": run.load_after,
            "usage": asdict(run.usage),
        },
        machine=asdict(run.machine),
        seed=turn.seed,
        git=commit_of(run.machine),
        versions=run.machine.libraries,
    )
