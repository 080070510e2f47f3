"""Runs a matrix: what the database holds is kept, everything else runs, one fresh process after another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from microflow.experiments.matrix import Matrix, config_hash
from microflow.store.experiments import ExperimentStore
from microflow.timing.machine import Machine
from microflow.timing.trials import Trial, run_trials

__all__ = ["Progress", "commit_of", "is_series", "run_matrix"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a matrix is: cells in all, cells that ran now, and cells that the database already held."""

    experiment: str
    cells: int
    ran: int
    kept: int

    def _repr_html_(self) -> str:
        return f"<b>{self.experiment}</b>: {self.cells} trials, {self.ran} run now, {self.kept} kept from before"


def run_matrix(
    matrix: Matrix, store: ExperimentStore, *, force: bool = False, observer: Callable[[Progress], None] | None = None
) -> Progress:
    """Run every cell that is not complete in the database (with ``force``: every cell); each is stored as it ends.

    A run that was stopped continues where it was: blocks and orders are those of the first run.
    """
    cells = matrix.cells()
    held = set() if force else cells.keys() & set(store.trials(matrix.experiment)["config_hash"])
    progress = Progress(matrix.experiment, len(cells), 0, len(held))
    done = {(cells[found].arm.name, cells[found].block) for found in held}
    for trial in run_trials(cells.values(), done=done, timeout_s=matrix.timeout_s):
        _record(store, matrix.experiment, trial)
        progress = Progress(matrix.experiment, len(cells), progress.ran + 1, len(held))
        if observer is not None:
            observer(progress)
    return progress


def is_series(value: object) -> bool:
    """Whether a value of a result is a list of numbers, to be stored as raw samples."""
    return isinstance(value, list) and all(
        isinstance(one, int | float | np.number) and not isinstance(one, bool) for one in value
    )


def commit_of(machine: Machine) -> str:
    """The commit of the code on a machine, as it is recorded; one with changes of its own says so."""
    commit = machine.commit or "unknown"
    return f"{commit} (dirty)" if machine.dirty else commit


def _record(store: ExperimentStore, experiment: str, trial: Trial) -> None:
    turn, run = trial.planned, trial.run
    machine = asdict(run.machine)
    series = {name: value for name, value in run.result.items() if is_series(value)}
    store.record_trial(
        experiment,
        config=asdict(turn.arm) | {"block": turn.block, "position": turn.position},
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
