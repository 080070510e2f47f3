"""Runs a matrix: what the database holds is kept, everything else runs, one fresh process after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from microflow.experiments.matrix import Matrix, config_hash
from microflow.experiments.repetitions import plan_of, settled
from microflow.experiments.results import Results
from microflow.store.experiments import ExperimentStore
from microflow.timing.machine import Machine
from microflow.timing.trials import Trial, run_trials

__all__ = ["Progress", "Skipped", "commit_of", "is_series", "run_matrix"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a matrix is: cells in all, cells that ran now, and cells that the database already held."""

    experiment: str
    cells: int
    ran: int
    kept: int

    def _repr_html_(self) -> str:
        return f"<b>{self.experiment}</b>: {self.cells} trials, {self.ran} run now, {self.kept} kept from before"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An experiment that cannot run here, and why."""

    experiment: str
    reason: str

    def _repr_html_(self) -> str:
        return f"<b>{self.experiment}</b>: skipped on this machine: {self.reason}"


def run_matrix(
    matrix: Matrix, store: ExperimentStore, *, force: bool = False, observer: Callable[[Progress], None] | None = None
) -> Progress:
    """Run every cell that is not complete in the database (with ``force``: every cell); each is stored as it ends.

    A run that was stopped continues where it was: blocks and orders are those of the first run. Where the matrix asks
    for a precision, its blocks come first, and then as many more as their noise says.
    """
    progress = Progress(matrix.experiment, 0, 0, 0)
    for part in _parts(matrix, store):
        cells = dict(list(part.cells().items())[progress.cells :])
        held = set() if force else cells.keys() & set(store.trials(matrix.experiment)["config_hash"])
        progress = replace(progress, cells=progress.cells + len(cells), kept=progress.kept + len(held))
        done = {(cells[found].arm.name, cells[found].block) for found in held}
        for trial in run_trials(cells.values(), done=done, timeout_s=matrix.timeout_s):
            _record(store, matrix.experiment, trial, plan_of(matrix, part.blocks))
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
    """Whether a value of a result is a list of numbers, to be stored as raw samples."""
    return isinstance(value, list) and all(
        isinstance(one, int | float | np.number) and not isinstance(one, bool) for one in value
    )


def commit_of(machine: Machine) -> str:
    """The commit of the code on a machine, as it is recorded; one with changes of its own says so."""
    commit = machine.commit or "unknown"
    return f"{commit} (dirty)" if machine.dirty else commit


def _record(store: ExperimentStore, experiment: str, trial: Trial, repetitions: dict[str, Any]) -> None:
    turn, run = trial.planned, trial.run
    machine = asdict(run.machine)
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
        machine=machine,
        seed=turn.seed,
        git=commit_of(run.machine),
        versions=run.machine.libraries,
    )
