"""What a profile takes is worked out from what experiments declare and what the database holds."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from microflow.experiments import all_experiments, experiment_named
from microflow.lab.experiment import Matrix, Precision, forecast, forecast_table
from microflow.lab.launch import START_S
from microflow.lab.trials import Arm

ARMS = (Arm("short", "builtins:dict", {"s": 29.0}), Arm("long", "builtins:dict", {"s": 89.0}))
MATRIX = Matrix("echo", ARMS, blocks=3)
ONE = replace(
    experiment_named("detection"), name="echo", matrix=lambda _: MATRIX, seconds=lambda config: float(config["s"])
)


class Held:
    """A database that holds these cells, and trials that took so many seconds."""

    def __init__(self, hashes: list[str] | None = None, took: dict[float, float] | None = None) -> None:
        took = took or {}
        hashes = (hashes or []) + ["other"] * (len(took) - len(hashes or []))
        self._frame = pd.DataFrame(
            {
                "config_hash": hashes,
                "config": [{"config": {"s": declared}} for declared in took],
                "metrics": [{"usage": {"wall_s": wall}} for wall in took.values()],
            }
        )

    def trials(self, _: str) -> pd.DataFrame:
        return self._frame


def test_with_nothing_recorded_the_declared_seconds_stand() -> None:
    """Every arm in every block, each with the start of its process."""
    found = forecast(ONE, "paper", Held(), cores=2)
    assert found.minutes == found.left == pytest.approx((3 * (29 + 89 + 2 * START_S) / 60,) * 2)
    assert (found.arms, found.blocks, found.trials, found.held, found.recorded) == (2, (3, 3), (6, 6), 0, 0)


def test_recorded_trials_say_how_fast_this_machine_is() -> None:
    """Long trials count for more: 30 s were 10 declared, 90 were 90, so that a second takes 1.2."""
    found = forecast(ONE, "paper", Held(took={10.0: 30.0, 90.0: 90.0}), cores=2)
    assert found.minutes[0] == pytest.approx(3 * (1.2 * (29 + 89) + 2 * START_S) / 60)
    assert found.recorded == 2


def test_what_is_held_is_not_left() -> None:
    """Of the cells that the database holds nothing is left to do; minutes in all stay what they are."""
    held = [cell for cell, turn in MATRIX.cells().items() if turn.arm.name == "long"]
    found = forecast(ONE, "paper", Held(held, {89.0: 89.0, 89.1: 89.1, 89.2: 89.2}), cores=2)
    assert found.held == 3
    assert found.left[0] == pytest.approx(3 * (29 + START_S) / 60)
    assert found.minutes[0] == pytest.approx(3 * (29 + 89 + 2 * START_S) / 60)


def test_a_pilot_has_a_least_and_a_most_and_cores_are_shared() -> None:
    """As many blocks as there may be; trials side by side take as long as those of one core."""
    one = replace(ONE, matrix=lambda _: replace(MATRIX, precision=Precision(0.05, "short", most=6), side_by_side=True))
    found = forecast(one, "paper", Held(), cores=4)
    assert (found.blocks, found.trials) == ((3, 6), (6, 12))
    assert found.minutes[1] == pytest.approx(2 * found.minutes[0]) == pytest.approx(6 * 120 / 60 / 4)
    table = forecast_table([found, found], "paper", 4)
    assert [row[0] for row in table.rows] == ["echo", "echo", "in all"]
    assert table.rows[-1][3:6] == ["12–24", "0", "3–6"]


def test_the_paper_fits_into_an_hour_and_a_quarter() -> None:
    """By the declared seconds on two cores, at most; and it keeps what intervals need."""
    every = [forecast(one, "paper", Held(), cores=2) for one in all_experiments()]
    assert sum(one.minutes[1] for one in every) <= 75
    blocks = {one.experiment: one.blocks[0] for one in every}
    assert blocks["rq1-sustained"] >= 5
    assert blocks["rq2-privacy"] >= 20
    assert blocks["scalability"] >= 3
