"""Which arms differ: every arm of an experiment beside one, corrected tests, and "none" inside the noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from microflow.errors import MicroflowError
from microflow.timing.statistics import Blocks, LogRatio, log_ratio

__all__ = ["Analysis", "Comparison", "Verdict", "compare", "holm"]


class Verdict(StrEnum):
    """What a comparison says, once noise and the number of comparisons are accounted for."""

    HIGHER = "higher"
    LOWER = "lower"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm beside the reference: the ratio of their samples, its interval, and p before and after Holm."""

    arm: str
    reference: str
    ratio: float
    low: float
    high: float
    p_value: float
    p_holm: float
    effect: float
    blocks: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Analysis:
    """All comparisons of one experiment. ``noise_floor`` is a part: 0.02 means that ±2 % may be nothing at all."""

    noise_floor: float
    comparisons: tuple[Comparison, ...]

    def __getitem__(self, arm: str) -> Comparison:
        for comparison in self.comparisons:
            if comparison.arm == arm:
                return comparison
        arms = ", ".join(comparison.arm for comparison in self.comparisons)
        raise MicroflowError(f"arm {arm!r} was not compared", hint=f"arms are: {arms}")


def compare(
    samples: Mapping[str, Blocks],
    reference: str,
    noise: str | None = None,
    *,
    confidence: float = 0.95,
    draws: int = 10_000,
    seed: int = 1,
) -> Analysis:
    """Compare every arm with the reference.

    ``noise`` names the A/A arm: the reference run once more under another name. The farther end of its interval is the
    noise floor, and a difference inside the floor, or not significant after Holm's correction over all arms, is
    reported as none.

    Raises:
        MicroflowError: an arm is unknown, blocks do not pair up or are fewer than two, or a value is not positive.
    """
    for name in (reference, *([noise] if noise else [])):
        if name not in samples:
            raise MicroflowError(f"no samples of arm {name!r}", hint=f"arms are: {', '.join(samples)}")
    rest = [arm for arm in samples if arm not in {reference, noise}]
    estimate = partial(log_ratio, reference=samples[reference], confidence=confidence, draws=draws, seed=seed)
    found = {arm: estimate(samples[arm]) for arm in rest}
    floor = 0.0
    if noise is not None:
        same = estimate(samples[noise])
        floor = max(abs(same.low), abs(same.high))
    corrected = holm([ratio.p_value for ratio in found.values()])
    compared = []
    for (arm, ratio), p_holm in zip(found.items(), corrected, strict=True):
        real = p_holm < 1 - confidence and abs(ratio.mean) > floor
        compared.append(_comparison(arm, reference, ratio, p_holm, real=real))
    return Analysis(math.expm1(floor), tuple(compared))


def _comparison(arm: str, reference: str, found: LogRatio, p_holm: float, *, real: bool) -> Comparison:
    direction = Verdict.HIGHER if found.mean > 0 else Verdict.LOWER
    return Comparison(
        arm=arm,
        reference=reference,
        ratio=math.exp(found.mean),
        low=math.exp(found.low),
        high=math.exp(found.high),
        p_value=found.p_value,
        p_holm=p_holm,
        effect=found.effect,
        blocks=found.blocks,
        verdict=direction if real else Verdict.NONE,
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979); the order is kept.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected
