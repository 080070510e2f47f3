"""Statistics of measured times: ratios with intervals, difference and equivalence tests, power laws, sample sizes.

The data of one arm are *blocks* of positive samples: ``blocks[b]`` (float64, any unit) holds the steady-state
iterations of the trial that ran in block ``b``. Arms are compared block by block, so that what a block has in common
(the machine's mood) cancels; the unit of independence is the block, never the iteration. Tests and intervals are
scipy's and statsmodels'; only the hierarchical bootstrap is our own, because neither has one.

scipy.stats and statsmodels take a second to load and are loaded where they are used: a trial's process is timed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microflow.errors import MicroflowError

__all__ = [
    "CONFIDENCE", "MARGIN", "Analysis", "Blocks", "Comparison", "Estimate", "LogRatio", "PowerLaw", "Verdict",
    "block_log_ratios", "compare", "fit_power_law", "log_ratio", "mean_of", "ratio_of",
    "repetitions_for", "typical",
]  # fmt: skip

Floats = npt.NDArray[np.float64]
#: One array of samples per block.
Blocks = Sequence[npt.ArrayLike]

CONFIDENCE = 0.95
#: The declared equivalence margin: arms whose ratio lies within 1/1.05 and 1.05 are as good as equal.
MARGIN = 0.05
_FEWEST_BLOCKS = 2


class Verdict(StrEnum):
    """The three answers of a comparison. Absence of a difference is never concluded from a large p-value."""

    DIFFERENT = "different"
    EQUIVALENT = "equivalent"
    UNDECIDED = "undecided"


class Estimate(NamedTuple):
    """A value and its 95 % interval; ``low`` and ``high`` are ``nan`` where one block says nothing about noise."""

    value: float
    low: float
    high: float

    def inverse(self, numerator: float = 1.0) -> Estimate:
        """``numerator`` over it: a rate of a time.

        >>> Estimate(2.0, 1.0, 4.0).inverse(8.0)
        Estimate(value=4.0, low=2.0, high=8.0)
        """
        return Estimate(numerator / self.value, numerator / self.high, numerator / self.low)


@dataclass(frozen=True, slots=True)
class LogRatio:
    """The mean log-ratio of an arm to its reference, its interval, and the two tests' p-values.

    ``p_different`` is that of the paired t-test, ``p_equivalent`` that of the two one-sided tests (TOST) for ±
    `MARGIN`.
    """

    mean: float
    low: float
    high: float
    p_different: float
    p_equivalent: float

    @property
    def ratio(self) -> Estimate:
        """Out of logarithms."""
        return Estimate(math.exp(self.mean), math.exp(self.low), math.exp(self.high))


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm beside the reference: ratio with interval, both p-values corrected by Holm, and what follows."""

    arm: str
    ratio: Estimate
    p_different: float
    p_equivalent: float
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Analysis:
    """A family of comparisons with one reference.

    ``noise_floor`` is a part of the time: 0.02 means that an A/A comparison may show ±2 %.
    """

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
    draws: int = 10_000,
    seed: int = 1,
) -> Analysis:
    """Compare every arm with the reference: different, equivalent within the margin, or undecided.

    An arm is *equivalent* where both one-sided tests (TOST; Schuirmann 1987) reject a ratio outside the margin, and
    *different* where the paired t-test rejects equality and the ratio is outside the noise floor; both after Holm's
    correction over the family. Everything else is *undecided*. A difference inside the margin is equivalence, however
    surely it is there.

    Args:
        samples: Blocks by arm.
        reference: The arm that all others are divided by.
        noise: The A/A arm: the reference run once more under another name. The farther end of its interval is the noise
            floor.
        draws: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        MicroflowError: an arm is unknown, blocks do not pair up or are fewer than two, or a value is not positive.
    """
    for name in (reference, *([noise] if noise else [])):
        if name not in samples:
            raise MicroflowError(f"no samples of arm {name!r}", hint=f"arms are: {', '.join(samples)}")
    estimate = partial(log_ratio, reference=samples[reference], draws=draws, seed=seed)
    found = {arm: estimate(own) for arm, own in samples.items() if arm not in {reference, noise}}
    floor = 0.0
    if noise is not None:
        same = estimate(samples[noise])
        floor = max(abs(same.low), abs(same.high))
    different = _holm([test.p_different for test in found.values()])
    equivalent = _holm([test.p_equivalent for test in found.values()])
    compared = [
        Comparison(arm, test.ratio, p, q, _verdict(test.mean, p, q, floor))
        for (arm, test), p, q in zip(found.items(), different, equivalent, strict=True)
    ]
    return Analysis(math.expm1(floor), tuple(compared))


def _verdict(mean: float, p_different: float, p_equivalent: float, floor: float) -> Verdict:
    if p_equivalent < 1 - CONFIDENCE:
        return Verdict.EQUIVALENT
    real = p_different < 1 - CONFIDENCE and abs(mean) > floor
    return Verdict.DIFFERENT if real else Verdict.UNDECIDED


def _holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in the order given.

    As `statsmodels.stats.multitest.multipletests` has them, which collects garbage at every call (0.1 s).
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return [float(value) for value in corrected]


def log_ratio(arm: Blocks, reference: Blocks, *, draws: int = 10_000, seed: int = 1) -> LogRatio:
    """The mean over blocks of ``mean(log arm) - mean(log reference)``, with a hierarchical bootstrap interval.

    Blocks and, within blocks, iterations are drawn again. Drawing raw iterations would count their variance twice (a
    block's mean already carries it), so block means are first pulled towards the grand mean until the draws have
    exactly the variance the estimate has (Davison and Hinkley 1997, section 3.8). The interval reaches as many standard
    errors of the draws to either side as Student's t asks for: percentiles of a few blocks cannot reach beyond these
    blocks (Hesterberg 2015, "What Teachers Should Know About the Bootstrap"). Where processes hardly differ within a
    block, the interval is wider than it need be.

    >>> found = log_ratio([[2.0], [2.2], [1.9]], [[1.0], [1.1], [1.0]])
    >>> bool(found.low < np.log(2) < found.high)
    True
    """
    ratios = block_log_ratios(arm, reference)
    if len(ratios) < _FEWEST_BLOCKS:
        raise MicroflowError("one block says nothing about noise", hint="run at least two blocks")
    draw = _draw_means(ratios, _logs(arm), _logs(reference), draws, np.random.default_rng(seed))
    mean, reach = float(ratios.mean()), _t_quantile(len(ratios) - 1) * float(draw.std())
    return LogRatio(mean, mean - reach, mean + reach, *_paired_tests(ratios))


def _paired_tests(ratios: Floats) -> tuple[float, float]:
    """P of the t-test for a mean other than 0, and of TOST for one inside the margin."""
    if float(ratios.std()) <= 1e-12 * max(1.0, float(np.abs(ratios).max())):
        mean = abs(float(ratios.mean()))  # no spread at all: the tests' statistics are 0 or infinite
        return float(mean == 0), float(mean >= math.log1p(MARGIN))
    from scipy.stats import ttest_1samp
    from statsmodels.stats.weightstats import DescrStatsW

    limit = math.log1p(MARGIN)
    return float(ttest_1samp(ratios, 0).pvalue), float(DescrStatsW(ratios).ttost_mean(-limit, limit)[0])


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
    """Draws of what iterations add to the mean over blocks: residuals of all, pooled, scaled to their true variance."""
    repeated = [block for block in blocks if len(block) > 1]
    if not repeated:
        return 0.0
    pool = np.concatenate([(block - block.mean()) * math.sqrt(len(block) / (len(block) - 1)) for block in repeated])
    total = np.zeros(draws)
    for block in repeated:
        total += pool[rng.integers(len(pool), size=(draws, len(block)))].mean(axis=1)
    return total / len(blocks)


def mean_of(values: npt.ArrayLike) -> Estimate:
    """The arithmetic mean with Student's t interval; without an interval for a single value.

    >>> found = mean_of([1.0, 2.0, 3.0])
    >>> found.value, round(found.low, 2), round(found.high, 2)
    (2.0, -0.48, 4.48)
    """
    sample = np.asarray(values, np.float64)
    if len(sample) == 0:
        raise MicroflowError("no blocks to estimate from")
    mean = float(sample.mean())
    if len(sample) < _FEWEST_BLOCKS:
        return Estimate(mean, math.nan, math.nan)
    half = _t_quantile(len(sample) - 1) * float(sample.std(ddof=1)) / math.sqrt(len(sample))
    return Estimate(mean, mean - half, mean + half)


def typical(blocks: Blocks) -> Estimate:
    """The geometric mean over blocks of positive samples, with Student's t interval of the blocks' mean logarithms.

    Blocks, not iterations, are independent: three iterations in each of four blocks are four observations.

    >>> found = typical([[10.0, 10.0], [10.0], [10.0]])
    >>> round(found.value, 6), round(found.high, 6)
    (10.0, 10.0)
    """
    found = mean_of([log.mean() for log in _logs(blocks)])
    return Estimate(math.exp(found.value), math.exp(found.low), math.exp(found.high))


def ratio_of(blocks: Blocks, reference: Blocks) -> Estimate:
    """Ratio of positive samples, block by block, with Student's t interval, which also holds for few blocks.

    >>> found = ratio_of([[2.0], [4.0]], [[1.0], [2.0]])
    >>> round(found.value, 6), round(found.low, 6)
    (2.0, 2.0)
    """
    return typical([[math.exp(ratio)] for ratio in block_log_ratios(blocks, reference)])


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``y = scale · x ^ exponent``, by least squares on logarithms."""

    scale: float
    exponent: Estimate


def fit_power_law(x: npt.ArrayLike, y: npt.ArrayLike) -> PowerLaw:
    """Fit positive values; the exponent's interval is Student's t with n - 2 degrees of freedom.

    Raises:
        MicroflowError: all values of ``x`` are the same.

    >>> law = fit_power_law([1, 10, 100], [3, 30, 300])
    >>> round(law.scale, 6), round(law.exponent.value, 6)
    (3.0, 1.0)
    """
    log_x, log_y = np.log(np.asarray(x, np.float64)), np.log(np.asarray(y, np.float64))
    if len(np.unique(log_x)) < _FEWEST_BLOCKS:
        raise MicroflowError("one size has no exponent", hint="measure at least two")
    from scipy.stats import linregress

    line, degrees = linregress(log_x, log_y), len(log_x) - 2
    half = _t_quantile(degrees) * float(line.stderr) if degrees else math.nan
    slope = float(line.slope)
    return PowerLaw(math.exp(float(line.intercept)), Estimate(slope, slope - half, slope + half))


def repetitions_for(pilot: npt.ArrayLike, half_width: float, *, least: int = 5, most: int = 100) -> int:
    """Number of blocks that make the interval of a mean log-ratio no wider than ``± half_width``.

    ``pilot`` holds the log-ratios of a few blocks; 0.02 as half width is ±2 %. By Stein's two-stage procedure (Annals
    of Mathematical Statistics 16, 1945) these are ``(t · sd / half_width)²`` with the pilot's standard deviation and
    the t quantile of the pilot's degrees of freedom: its few blocks may have looked quieter than the machine is. Never
    fewer than ``least``, never more than ``most``.

    >>> repetitions_for([0.00, 0.02, -0.02, 0.01, -0.01], half_width=0.01)
    20
    """
    values = np.asarray(pilot, np.float64)
    if len(values) < _FEWEST_BLOCKS or half_width <= 0:
        raise MicroflowError("a pilot has at least two blocks, and an interval a positive width")
    wanted = (_t_quantile(len(values) - 1) * float(values.std(ddof=1)) / half_width) ** 2
    return math.ceil(min(max(wanted, least), most))


def _t_quantile(degrees: int) -> float:
    """Of the two-sided interval at `CONFIDENCE`."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
