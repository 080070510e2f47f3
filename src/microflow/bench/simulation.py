"""Does the analysis keep its word? Simulated trials whose true effect is known.

A trial's log time is: level + block (common to all arms of the block: drift, heat, neighbours) + process (differs by
arm and block: memory layout, hash seeds) + iteration. Intervals must hold the truth in 95 of 100 experiments, and of
experiments without any effect at most 5 in 100 may report one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microflow.lab.statistics import Verdict, compare, log_ratio

__all__ = ["Bench", "coverage", "false_alarms"]


@dataclass(frozen=True, slots=True)
class Bench:
    """A simulated machine: standard deviations of log time at each level, and the design run on it."""

    blocks: int = 10
    iterations: int = 5
    block_noise: float = 0.10
    process_noise: float = 0.02
    iteration_noise: float = 0.03

    def run(self, effects: dict[str, float], rng: np.random.Generator) -> dict[str, list[npt.NDArray[np.float64]]]:
        """Samples (seconds) by arm and block; an arm's true log-ratio to an arm of effect 0 is its effect."""
        common = rng.normal(0, self.block_noise, self.blocks)
        return {
            arm: [
                np.exp(effect + level + rng.normal(0, self.process_noise) + self._iterations(rng)) for level in common
            ]
            for arm, effect in effects.items()
        }

    def _iterations(self, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        return rng.normal(0, self.iteration_noise, self.iterations)


def coverage(bench: Bench, *, experiments: int = 1_000, effect: float = math.log(1.3), seed: int = 1) -> float:
    """The part of simulated experiments whose 95 % interval holds the true effect."""
    rng = np.random.default_rng(seed)
    held = 0
    for number in range(experiments):
        samples = bench.run({"arm": effect, "reference": 0.0}, rng)
        found = log_ratio(samples["arm"], samples["reference"], draws=2_000, seed=number)
        held += found.low <= effect <= found.high
    return held / experiments


def false_alarms(bench: Bench, *, experiments: int = 500, arms: int = 3, seed: int = 1) -> float:
    """The part of simulated experiments *without* any effect that report at least one difference."""
    rng = np.random.default_rng(seed)
    names = ["reference", "again", *(f"arm {number}" for number in range(arms))]
    alarms = 0
    for number in range(experiments):
        samples = bench.run(dict.fromkeys(names, 0.0), rng)
        analysis = compare(samples, "reference", "again", draws=1_000, seed=number)
        alarms += any(comparison.verdict is Verdict.DIFFERENT for comparison in analysis.comparisons)
    return alarms / experiments
