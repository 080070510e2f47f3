"""Numbers with intervals: typical values over blocks, and the exponent of a power law."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from microflow.errors import MicroflowError
from microflow.timing.statistics import Blocks, block_log_ratios

__all__ = ["Estimate", "PowerLaw", "fit_power_law", "ratio_of", "typical"]

_CONFIDENCE = 0.95
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class Estimate:
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


def typical(blocks: Blocks) -> Estimate:
    """The geometric mean over blocks of positive samples, with Student's t interval of the blocks' mean logarithms.

    Blocks, not iterations, are independent: three iterations in each of four blocks are four observations.

    >>> found = typical([[10.0, 10.0], [10.0], [10.0]])
    >>> round(found.value, 6), round(found.high, 6)
    (10.0, 10.0)
    """
    logs = np.array([np.log(np.asarray(block, np.float64)).mean() for block in blocks])
    if len(logs) == 0:
        raise MicroflowError("no blocks to estimate from")
    mean = float(logs.mean())
    if len(logs) < _FEWEST:
        return Estimate(math.exp(mean), math.nan, math.nan)
    half = _half_width(float(logs.std(ddof=1)) / math.sqrt(len(logs)), len(logs) - 1)
    return Estimate(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


def ratio_of(blocks: Blocks, reference: Blocks) -> Estimate:
    """Of positive samples, block by block, with Student's t interval, which holds for few blocks too.

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

    >>> law = fit_power_law([1, 10, 100], [3, 30, 300])
    >>> round(law.scale, 6), round(law.exponent.value, 6)
    (3.0, 1.0)
    """
    log_x, log_y = np.log(np.asarray(x, np.float64)), np.log(np.asarray(y, np.float64))
    if len(np.unique(log_x)) < _FEWEST:
        raise MicroflowError("one size has no exponent", hint="measure at least two")
    centred = log_x - log_x.mean()
    spread = float(centred @ centred)
    exponent = float(centred @ log_y) / spread
    intercept = float(log_y.mean() - exponent * log_x.mean())
    degrees = len(log_x) - 2
    if degrees < 1:
        return PowerLaw(math.exp(intercept), Estimate(exponent, math.nan, math.nan))
    residuals = log_y - intercept - exponent * log_x
    half = _half_width(math.sqrt(float(residuals @ residuals) / degrees / spread), degrees)
    return PowerLaw(math.exp(intercept), Estimate(exponent, exponent - half, exponent + half))


def _half_width(standard_error: float, degrees: int) -> float:
    return -float(stdtrit(degrees, (1 - _CONFIDENCE) / 2)) * standard_error
