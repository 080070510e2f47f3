"""The highest load that is kept up with is found, and said with what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from lab.made_up import made_up
from microflow.experiments import sustained
from microflow.lab.trials import Planned


def test_a_trial_never_goes_above_saturation() -> None:
    """Real loads on a real pipeline: every probe is kept, none exceeds what the engine does at saturation."""
    arm = next(arm for arm in sustained.matrix("smoke").arms if arm.name == "stream")
    easy = {"search_s": 0.2, "confirm_s": 0.2, "p99_ms": 60_000, "slope": 10}
    found = sustained.trial(arm.config | easy | {"seed": 1})
    assert 0 < found["rate"] <= found["capacity"]
    assert max(probe["rate"] for probe in found["probes"]) <= found["capacity"]
    assert found["probes"][-1]["sustained"]


def test_print_allows_one_per_cent_over_thirty_seconds() -> None:
    """The declared objective of the paper profile, over at least five blocks; short profiles are previews."""
    paper = sustained.matrix("paper")
    for arm in paper.arms:
        assert (arm.config["slope"], arm.config["confirm_s"]) == (0.01, 30.0)
    assert paper.blocks >= 5
    assert {arm.config["slope"] for arm in sustained.matrix("quick").arms} == {0.05}


def test_rates_are_typical_values_over_blocks() -> None:
    """An interval from all blocks; a pipeline that once sustained nothing has none; the search's end is told."""
    rng = np.random.default_rng(1)

    def result(turn: Planned) -> dict[str, object]:
        arm = turn.arm.name
        typical = {"batch": 100_000.0, "stream": 0.0 if turn.block == 2 else 40_000.0, "hybrid": 1_000_000.0}[arm]
        rate = typical * rng.lognormal(0, 0.01) if arm == "batch" else typical
        return {"rate": rate, "bounded": arm != "hybrid", "capacity": 2e6}

    results = made_up(sustained.matrix("paper"), result)
    frame = sustained.frame(results).set_index("pipeline")
    batch = frame.loc["batch"]
    assert batch["low"] < batch["rate"] < batch["high"]
    assert batch["rate"] == pytest.approx(100_000, rel=0.02)
    assert frame.loc["stream", "rate"] == 0
    assert frame["bounded"].to_dict() == {"batch": True, "stream": True, "hybrid": False}
    table = sustained.table(results)
    assert [row[-1] for row in table.rows] == ["yes", "yes", "no: all that it can process"]
    assert "1% of the load over 30 s" in table.caption
