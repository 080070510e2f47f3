"""The highest load that is kept up with is found, and said with what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from microflow.experiments import sustained
from microflow.experiments.work import sustainable
from microflow.lab.launch import Launch
from microflow.lab.machine import Machine
from microflow.lab.results import Results
from microflow.lab.trials import Trial
from microflow.timing.resources import ResourceUsage


def test_a_trial_keeps_every_probe() -> None:
    """Real loads on a real pipeline, with an objective that small loads meet: the search ends at its upper end."""
    arm = sustained.matrix("smoke").arms[0]
    easy = {"low": 4_000, "high": 8_000, "seconds": 0.5, "p99_ms": 60_000, "slope": 10}
    found = sustainable(arm.config | easy | {"seed": 1})
    assert [probe["rate"] for probe in found["probes"]] == [4_000, 8_000]
    assert (found["rate"], found["bounded"]) == (8_000, False)
    assert all(probe["p99_ns"] > 0 and probe["unserved"] == 0 for probe in found["probes"])


def test_rates_are_typical_values_over_blocks() -> None:
    """An interval from all blocks; a pipeline that once sustained nothing has none; the search's end is told."""
    matrix = sustained.matrix("paper")
    rng = np.random.default_rng(1)
    usage = ResourceUsage(1.0, 1.0, 2, 1)

    def rate(arm: str, block: int) -> float:
        typical = {"batch": 100_000.0, "stream": 0.0 if block == 2 else 40_000.0, "hybrid": 1_000_000.0}[arm]
        return typical * rng.lognormal(0, 0.01) if arm == "batch" else typical

    trials = [
        Trial(
            turn,
            Launch(
                {"rate": rate(turn.arm.name, turn.block), "bounded": turn.arm.name != "hybrid"}, Machine.here(), 0, 0,
                usage,
            ),
        )
        for turn in matrix.cells().values()
    ]  # fmt: skip
    frame = sustained.frame(Results(matrix, tuple(trials))).set_index("pipeline")
    batch = frame.loc["batch"]
    assert batch["low"] < batch["rate"] < batch["high"]
    assert batch["rate"] == pytest.approx(100_000, rel=0.02)
    assert frame.loc["stream", "rate"] == 0
    assert frame["bounded"].to_dict() == {"batch": True, "stream": True, "hybrid": False}
    said = sustained.said(frame.reset_index())
    assert (said["stream"], said["hybrid"]) == ("0", "at least 1,000,000")
