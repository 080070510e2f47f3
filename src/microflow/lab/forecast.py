"""Forecast of a profile's duration: trials and minutes by experiment, before anything runs.

An experiment declares what a trial of a configuration takes (`Experiment.seconds`), on a core like those of a small
server. What the database holds of it, in whatever profile, says by which factor this machine differs. A pilot decides
how many blocks follow, so that an experiment with a precision has a least and a most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from microflow.lab.experiment import Experiment
from microflow.lab.launch import START_S
from microflow.lab.report import Table, from_to

if TYPE_CHECKING:
    from microflow.store.experiments import ExperimentStore

__all__ = ["Forecast", "forecast", "forecast_table"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast of one experiment in one profile.

    Attributes:
        experiment: Its name.
        arms: How many there are.
        blocks: The least and the most.
        trials: The least and the most.
        held: Trials that the database holds already.
        minutes: The least and the most, of all trials.
        left: The same, of those that it does not hold.
        recorded: How many recorded trials say how fast this machine is; with none the declared seconds stand.
    """

    experiment: str
    arms: int
    blocks: tuple[int, int]
    trials: tuple[int, int]
    held: int
    minutes: tuple[float, float]
    left: tuple[float, float]
    recorded: int


def forecast(experiment: Experiment, profile: str, store: ExperimentStore, *, cores: int) -> Forecast:
    """Forecast of an experiment on this machine; trials that run side by side share its ``cores``."""
    matrix, recorded = experiment.matrix(profile), store.trials(experiment.name)
    declared = [experiment.seconds(config["config"]) for config in recorded["config"]]
    factor = sum(row["usage"]["wall_s"] for row in recorded["metrics"]) / sum(declared) if declared else 1.0
    each = {arm.name: (experiment.seconds(arm.config) * factor + START_S) / 60 for arm in matrix.arms}
    most = max(matrix.blocks, matrix.precision.most) if matrix.precision else matrix.blocks
    cells = [replace(matrix, blocks=blocks).cells() for blocks in (matrix.blocks, most)]
    held, at_once = set(recorded["config_hash"]), cores if matrix.side_by_side else 1

    def minutes(without: set[str]) -> tuple[float, float]:
        low, high = (
            sum(each[turn.arm.name] for cell, turn in part.items() if cell not in without) / at_once for part in cells
        )
        return low, high

    return Forecast(
        experiment.name, len(matrix.arms), (matrix.blocks, most), (len(cells[0]), len(cells[1])),
        len(cells[1].keys() & held), minutes(set()), minutes(held), len(declared),
    )  # fmt: skip


def forecast_table(found: Sequence[Forecast], profile: str, cores: int) -> Table:
    """Table by experiment and in all: blocks, trials, minutes, and the remaining part of them."""
    rows = [
        [
            entry.experiment, str(entry.arms), _between(entry.blocks), _between(entry.trials), str(entry.held),
            _between(entry.minutes, digits=1), _between(entry.left, digits=1),
            f"{entry.recorded} trials" if entry.recorded else "declared",
        ]
        for entry in found
    ]  # fmt: skip
    trials, minutes, left = (
        _between([sum(getattr(entry, name)[end] for entry in found) for end in (0, 1)])
        for name in ("trials", "minutes", "left")
    )
    rows.append(["in all", "", "", trials, str(sum(entry.held for entry in found)), minutes, left, ""])
    return Table(
        ["experiment", "arms", "blocks", "trials", "held", "minutes", "left", "by"],
        rows,
        f"Profile {profile} on {cores} cores; a pilot decides between least and most. Minutes rest on declared seconds "
        "of a trial, scaled by what the database holds of the experiment.",
    )


def _between(ends: Sequence[float], digits: int = 0) -> str:
    first, last = (f"{end:.{digits}f}" for end in ends)
    return from_to(first, last, "–")
