"""Measurements that are not rates of a closed loop: randomised complete blocks, paired ratios, goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microflow.bench.harness import Line
from microflow.timing.statistics import bootstrap_interval

__all__ = ["Goal", "Samples", "compared", "interleaved"]

Samples = npt.NDArray[np.float64]
_RATE = "records/s"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound of the value, or of its ratio to the reference."""

    bound: float
    at_least: bool = True
    of_ratio: bool = True

    def holds(self, value: float, ratio: float | None) -> bool | None:
        """Whether it is reached; ``None`` where there is no ratio."""
        reached = ratio if self.of_ratio else value
        if reached is None:
            return None
        return reached >= self.bound if self.at_least else reached <= self.bound


def interleaved(arms: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, Samples]:
    """Randomised complete blocks: every arm once a round, in a fresh order."""
    rng, samples = np.random.default_rng(1), {name: list[float]() for name in arms}
    names = list(arms)
    for _ in range(rounds):
        for index in rng.permutation(len(names)):
            samples[names[index]].append(arms[names[index]]())
    return {name: np.array(values) for name, values in samples.items()}


def compared(
    name: str, samples: Mapping[str, Samples], reference: str | None = None, goal: Goal | None = None, unit: str = _RATE
) -> Line:
    """The median, beside its reference by paired ratios with their interval, and whether the goal holds."""
    value = float(np.median(samples[name]))
    ratio = low = high = None
    reference = None if reference == name else reference
    if reference is not None:
        ratios = samples[name] / samples[reference]
        ratio, (low, high) = float(np.median(ratios)), bootstrap_interval(ratios)
    if goal is None:
        return Line(name, value, unit, reference, ratio, low, high)
    said = f"{'≥' if goal.at_least else '≤'} {goal.bound:,g} {'×' if goal.of_ratio else unit}"
    return Line(name, value, unit, reference, ratio, low, high, said, goal.holds(value, ratio))
