"""The adaptive router is credited with what remains beside the best control, and with nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from lab.made_up import made_up
from microflow.engine.router import Costs
from microflow.experiments import bursts, load
from microflow.experiments.controls import HABITS, ORACLE, make_router, mean_latencies, remains
from microflow.lab.arrivals import bursts as burst_schedule
from microflow.lab.open_loop import simulate
from microflow.lab.report import UNKNOWN
from microflow.lab.trials import Planned

COSTS = Costs(single=12_000, fixed=300_000, each=600)
RNG = np.random.default_rng(1)


def noisy(value: float, blocks: int = 6) -> list[list[float]]:
    return [[value * float(RNG.lognormal(0, 0.005))] for _ in range(blocks)]


@pytest.mark.parametrize(
    ("hybrid", "verdict"), [(1.0, "equivalent"), (0.8, "different"), (1.2, "different")], ids=["same", "less", "more"]
)
def test_it_is_the_best_control_that_counts(hybrid: float, verdict: str) -> None:
    """Far ahead of a static pipeline says nothing where natural batching is as good."""
    found = remains({"batch": noisy(500), "hybrid": noisy(hybrid), "stream": noisy(30), "natural": noisy(1)})
    assert (found.best, found.verdict) == ("natural", verdict)
    assert found.ratio.low < hybrid < found.ratio.high
    assert found.comparison is not None
    assert found.comparison.p_different <= 1


def test_noise_is_undecided_and_one_block_too() -> None:
    """Neither a difference nor equivalence follows from a few noisy blocks; one block has no interval at all."""
    few = remains({"hybrid": [[1.0], [2.0]], "natural": [[1.4], [1.3]]})
    one = remains({"hybrid": [[1.0]], "natural": [[1.4]]})
    assert few.verdict == "undecided"
    assert one.verdict == "undecided, one block"
    assert np.isnan(one.ratio.low)
    assert one.cells()[3:] == [UNKNOWN, "", "", "undecided, one block"]


def test_every_habit_serves_all_and_none_beats_the_oracle() -> None:
    """In simulated time, on the same burst; the adaptive router is close to who knows the future, a coin is not."""
    schedule = burst_schedule(12_000, 120_000, 0.1, 1, period_s=0.1)
    for habit in HABITS:
        assert simulate(schedule, make_router(habit, COSTS, 1), COSTS).unserved == 0
    means = mean_latencies(schedule, COSTS, 1)
    assert min(means, key=lambda name: means[name]) == ORACLE
    assert means["hybrid"] < 1.2 * means[ORACLE] < means["coin"]
    assert means["linger"] < means["batch"]


def latencies(unserved: dict[str, int]) -> Callable[[Planned], object]:
    """By habit, how many were left over at the highest load."""

    def result(turn: Planned) -> dict[str, object]:
        loads, habit = turn.arm.config["loads"], turn.arm.config["pipeline"]
        own = {"natural": 1e6, "hybrid": 2e6, "stream": 9e5}.get(habit, 5e7)
        left = [0.0] * (len(loads) - 1) + [float(unserved.get(habit, 0))]
        flat = {"p50_ns": [own] * len(loads), "p99_ns": [own * (1 + turn.block / 1e4)] * len(loads)}
        return flat | {"load": [float(one) for one in loads], "slope": [0.0] * len(loads), "unserved": left}

    return result


def test_a_control_that_left_records_over_is_no_contest() -> None:
    """The stream's p99 of what it served is the lowest, but it did not serve everything at the highest load."""
    results = made_up(load.matrix("paper"), latencies({"stream": 1}))
    found = load.remaining(results)
    assert [one.best for one in found.values()] == ["stream"] * (len(found) - 1) + ["natural"]
    assert {one.verdict for one in found.values()} == {"different"}
    sentence = load.answer(results).sentence
    assert "at 256,000 records/s natural batching: 2× [2, 2] (different)" in sentence
    assert "a coin" not in load.table(results).caption


def test_where_the_hybrid_left_records_over_the_answer_says_so() -> None:
    """A load that it lost is not silently left out."""
    lost = made_up(load.matrix("quick"), latencies({"hybrid": 3, "stream": 3, "batch": 2, "linger": 1}))
    assert 128_000 not in load.remaining(lost)
    assert (
        "At 128,000 records/s the hybrid left records over, and natural batching did not." in load.answer(lost).sentence
    )
    alone = made_up(load.matrix("quick"), latencies(dict.fromkeys(("natural", "stream", "batch", "linger"), 1)))
    assert "At 128,000 records/s all others left records over." in load.answer(alone).sentence


def test_a_burst_is_told_with_controls_and_oracle() -> None:
    """Slices in real time, the mean in simulated time; the oracle's arm is in no figure."""

    def result(turn: Planned) -> dict[str, object]:
        habit = turn.arm.config["pipeline"]
        if habit == ORACLE:
            return {"mean_ns": {**dict.fromkeys(HABITS, 2e6), "hybrid": 1.1e6, ORACLE: 1e6}}
        p99 = {"hybrid": 2e6, "natural": 4e6}.get(habit, 9e6)
        slices = {"time_s": [0.0, 0.05], "offered": [1e4, 1e5], "size": [1.0, 9.0], "p99_ns": [p99, 2 * p99]}
        return slices | {"left_over": int(habit == "stream")}

    results = made_up(replace(bursts.matrix("paper"), blocks=3), result)
    assert ORACLE not in set(bursts.frame(results)["arm"])
    found = bursts.remaining(results)
    assert {kind: one.best for kind, one in found.items()} == {
        "median 50 ms": "natural", "worst 50 ms": "natural", "mean, simulated": "batch",
    }  # fmt: skip
    sentence = bursts.answer(results).sentence
    assert "in the worst 50 ms natural batching: 0.5× [0.5, 0.5] (different)" in sentence
    assert "stream left records over" in sentence
    assert "1.1× [1.1, 1.1] that of an offline oracle" in sentence


@pytest.mark.parametrize("habit", ["linger", "coin"])
def test_a_control_s_trial_runs(habit: str) -> None:
    """For real, briefly: all is served, and every record's service has a size."""
    arm = next(arm for arm in bursts.matrix("smoke").arms if arm.config["pipeline"] == habit)
    found = bursts.trial(arm.config | {"seconds": 0.3, "seed": 1})
    assert found["left_over"] == 0
    assert len(found["size"]) == len(found["p99_ns"]) == 6
