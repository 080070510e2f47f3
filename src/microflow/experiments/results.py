"""Reads a matrix's trials back from the database: whole, of one machine, and ready to compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import pandas as pd

from microflow.errors import MicroflowError
from microflow.experiments.matrix import Matrix
from microflow.experiments.repetitions import settled
from microflow.store.experiments import ExperimentStore
from microflow.timing.launch import Launch
from microflow.timing.machine import Machine, refuse_unlike
from microflow.timing.resources import ResourceUsage
from microflow.timing.trials import Planned, Trial

__all__ = ["IncompleteError", "Results", "series_of"]


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

        Raises:
            IncompleteError: some cells have not run yet.
            MicroflowError: the trials ran on unlike machines.
        """
        pilot = cls._of_cells(matrix, store)
        whole = settled(matrix, pilot.trials)
        return cls(whole, pilot.trials) if whole.blocks == matrix.blocks else cls._of_cells(whole, store)

    @classmethod
    def _of_cells(cls, matrix: Matrix, store: ExperimentStore) -> Self:
        cells = matrix.cells()
        rows = store.trials(matrix.experiment).set_index("config_hash")
        if missing := len(cells) - len(cells.keys() & set(rows.index)):
            raise IncompleteError(matrix.experiment, f"{missing} of {len(cells)} trials have not run yet")
        series = series_of(store, matrix.experiment)
        held = rows.loc[list(cells)].reset_index().to_dict("records")
        trials = [_trial(cells[row["config_hash"]], row, series.get(row["trial_id"], {})) for row in held]
        refuse_unlike(trial.run.machine for trial in trials)
        return cls(matrix, tuple(trials))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a trial: ``arm``, ``block``, the configuration, and the result with nested names joined by dots.

        Resources are of the whole process and its children: ``cpu_s``, ``peak_rss_bytes``, and, where the
        configuration has ``rows``, ``bytes_per_record``, the memory that was added for each.
        """
        rows = [
            {"arm": trial.planned.arm.name, "block": trial.planned.block}
            | trial.planned.arm.config
            | trial.run.result
            | _resources(trial)
            for trial in self.trials
        ]
        return pd.json_normalize(rows)

    def where(self, keep: Callable[[dict[str, Any]], bool]) -> list[Trial]:
        """Trials whose configuration passes."""
        return [trial for trial in self.trials if keep(trial.planned.arm.config)]


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
        machine=Machine.from_dict(row["machine"]),
        load_before=metrics["load_before"],
        load_after=metrics["load_after"],
        usage=ResourceUsage(**metrics["usage"]),
    )
    return Trial(turn, run)
