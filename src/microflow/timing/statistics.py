"""What may be said about measured times: ratios with intervals and tests, and how many blocks these take.

The data of one arm are *blocks* of positive samples: ``blocks[b]`` (float64, any unit) holds the steady-state
iterations of the trial that ran in block ``b``. Arms are compared block by block, so that what a block has in common
(the machine's mood) cancels; the unit of independence is the block, never the iteration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

from microflow.errors import MicroflowError

__all__ = ["Blocks", "LogRatio", "block_log_ratios", "bootstrap_interval", "log_ratio", "repetitions_for"]

Floats = npt.NDArray[np.float64]
#: One array of samples per block.
Blocks = Sequence[npt.ArrayLike]

_FEWEST_BLOCKS = 2


@dataclass(frozen=True, slots=True)
class LogRatio:
    """The mean log-ratio of an arm to its reference, with a confidence interval and a paired test.

    ``effect`` is Hedges' g of the paired log-ratios (mean over standard deviation, corrected for few blocks).
    """

    mean: float
    low: float
    high: float
    p_value: float
    effect: float
    blocks: int


def log_ratio(
    arm: Blocks, reference: Blocks, *, confidence: float = 0.95, draws: int = 10_000, seed: int = 1
) -> LogRatio:
    """The mean over blocks of ``mean(log arm) - mean(log reference)``, with a hierarchical bootstrap interval.

    Blocks and, within blocks, iterations are drawn again. Drawing raw iterations would count their variance twice (a
    block's mean already carries it), so block means are first pulled towards the grand mean until the draws have
    exactly the variance the estimate has (Davison and Hinkley 1997, section 3.8). The interval reaches as many standard
    errors of the draws to either side as Student's t asks for: percentiles of a few blocks cannot reach beyond these
    blocks (Hesterberg 2015, "What Teachers Should Know About the Bootstrap"). Where processes hardly differ within a
    block, the interval is wider than it need be.

    >>> found = log_ratio([[2.0], [2.2], [1.9]], [[1.0], [1.1], [1.0]])
    >>> bool(found.low < np.log(2) < found.high), found.blocks
    (True, 3)
    """
    ratios = block_log_ratios(arm, reference)
    if len(ratios) < _FEWEST_BLOCKS:
        raise MicroflowError("one block says nothing about noise", hint="run at least two blocks")
    tops, bottoms = _logs(arm), _logs(reference)
    draw = _draw_means(ratios, tops, bottoms, draws, np.random.default_rng(seed))
    mean, reach = float(ratios.mean()), -float(stdtrit(len(ratios) - 1, (1 - confidence) / 2)) * float(draw.std())
    return LogRatio(mean, mean - reach, mean + reach, *_paired_test(ratios), len(ratios))


def block_log_ratios(arm: Blocks, reference: Blocks) -> Floats:
    """``mean(log arm) - mean(log reference)`` of each block.

    Raises:
        MicroflowError: blocks do not pair up, or a value is not positive.

    >>> block_log_ratios([[2.0], [4.0]], [[2.0], [4.0]]).tolist()
    [0.0, 0.0]
    """
    tops, bottoms = _logs(arm), _logs(reference)
    if len(tops) != len(bottoms):
        raise MicroflowError(
            f"{len(tops)} blocks cannot be paired with {len(bottoms)}", hint="a complete block holds every arm once"
        )
    return np.array([top.mean() - bottom.mean() for top, bottom in zip(tops, bottoms, strict=True)])


def _logs(blocks: Blocks) -> list[Floats]:
    arrays = [np.atleast_1d(np.asarray(block, np.float64)) for block in blocks]
    if any(len(block) == 0 or not (np.isfinite(block) & (block > 0)).all() for block in arrays):
        raise MicroflowError(
            "a block is empty or holds a value that is not positive", hint="samples are times or rates"
        )
    return [np.log(block) for block in arrays]


def _draw_means(
    ratios: Floats, tops: list[Floats], bottoms: list[Floats], draws: int, rng: np.random.Generator
) -> Floats:
    """``draws`` bootstrap means of the block log-ratios."""
    count = len(ratios)
    within = float(
        np.mean([_mean_variance(top) + _mean_variance(bottom) for top, bottom in zip(tops, bottoms, strict=True)])
    )
    spread = ratios - ratios.mean()
    between = max(0.0, float(ratios.var(ddof=1)) - within)
    observed = float(np.mean(spread**2))
    centres = ratios.mean() + spread * (math.sqrt(between / observed) if observed > 0 else 0.0)
    drawn: Floats = centres[rng.integers(count, size=(draws, count))].mean(axis=1)
    return drawn + _draw_noise(tops, draws, rng) - _draw_noise(bottoms, draws, rng)


def _mean_variance(block: Floats) -> float:
    """The variance of a block's mean that comes from its iterations."""
    return float(block.var(ddof=1)) / len(block) if len(block) > 1 else 0.0


def _draw_noise(blocks: list[Floats], draws: int, rng: np.random.Generator) -> Floats | float:
    """What iterations add to the mean over blocks: residuals of all blocks, pooled, scaled to their true variance."""
    repeated = [block for block in blocks if len(block) > 1]
    if not repeated:
        return 0.0
    pool = np.concatenate([(block - block.mean()) * math.sqrt(len(block) / (len(block) - 1)) for block in repeated])
    total = np.zeros(draws)
    for block in repeated:
        total += pool[rng.integers(len(pool), size=(draws, len(block)))].mean(axis=1)
    return total / len(blocks)


def _paired_test(ratios: Floats) -> tuple[float, float]:
    """Two-sided p of the paired t-test, and Hedges' g."""
    count, mean, spread = len(ratios), float(ratios.mean()), float(ratios.std(ddof=1))
    if spread == 0:
        return (1.0, 0.0) if mean == 0 else (0.0, math.copysign(math.inf, mean))
    p_value = 2 * float(stdtr(count - 1, -abs(mean) / spread * math.sqrt(count)))
    return p_value, mean / spread * (1 - 3 / (4 * (count - 1) - 1))


def repetitions_for(
    pilot: npt.ArrayLike, half_width: float, *, confidence: float = 0.95, least: int = 5, most: int = 100
) -> int:
    """How many blocks make the interval of a mean log-ratio no wider than ``± half_width``.

    ``pilot`` holds the log-ratios of a few blocks; 0.02 as half width is ±2 %. By Stein (1945) these are
    ``(t · sd / half_width)²`` with the pilot's standard deviation and the t quantile of the pilot's degrees of freedom:
    its few blocks may have looked quieter than the machine is. Never fewer than ``least``, never more than ``most``.

    >>> repetitions_for([0.00, 0.02, -0.02, 0.01, -0.01], half_width=0.01)
    20
    """
    values = np.asarray(pilot, np.float64)
    if len(values) < _FEWEST_BLOCKS or half_width <= 0:
        raise MicroflowError("a pilot has at least two blocks, and an interval a positive width")
    quantile = -float(stdtrit(len(values) - 1, (1 - confidence) / 2))
    wanted = (quantile * float(values.std(ddof=1)) / half_width) ** 2
    return math.ceil(min(max(wanted, least), most))


def bootstrap_interval(sample: Floats, *, draws: int = 2_000, seed: int = 1) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of the sample's median."""
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(sample, (draws, len(sample))), axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return float(low), float(high)
