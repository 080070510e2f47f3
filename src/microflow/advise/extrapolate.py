"""From samples of growing size to the whole file: how risk and loss change with the number of rows.

Both follow a power law in the number of rows where classes are formed from data: with more rows there are more rows
like each, so that fewer are unique and labels become narrower. The exponent is estimated from the samples, and its
uncertainty grows with the distance to the size asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "extrapolate"]

#: Below this a risk or loss is taken for zero: no power law is fitted through attempts that all failed.
_FLOOR = 1e-3
#: A measured exponent from two sizes has this standard error at least (nothing is known of its scatter).
_LEAST_ERROR = 0.03
_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A share from 0 to 1 with a 95 % interval, and whether it was extrapolated beyond what was measured."""

    value: float
    low: float
    high: float
    is_extrapolated: bool

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def extrapolate(
    sizes: Sequence[int],
    values: Sequence[float],
    last: tuple[float, float],
    rows: int,
    *,
    exponents: tuple[float, float] = (-1.0, 0.0),
) -> Estimate:
    """Predict a share at ``rows`` rows from samples of ``sizes``.

    Args:
        sizes: Rows of each sample, ascending.
        values: What was measured on each.
        last: The 95 % interval of the largest sample's value.
        rows: The size asked for.
        exponents: The least and greatest exponent that is possible: a share of unique rows falls with 1/n at most.

    Returns:
        The measured value and interval where ``rows`` is the largest sample's size, else the power law through the
        largest sample, with the interval widened by the exponent's standard error.

    >>> extrapolate([1_000, 10_000], [0.4, 0.2], (0.18, 0.22), 10_000).value
    0.2
    >>> round(extrapolate([1_000, 10_000], [0.4, 0.2], (0.18, 0.22), 100_000).value, 3)
    0.1
    """
    value, (low, high) = values[-1], last
    # A file no larger than the sample has been measured.
    if rows <= sizes[-1]:
        return Estimate(value, low, high, is_extrapolated=False)
    distance = math.log(rows / sizes[-1])
    slope, error = _exponent(sizes, values)
    slope = min(max(slope, exponents[0]), exponents[1])
    factor, spread = math.exp(slope * distance), _Z * error * distance
    # The interval holds what both ends of the measured interval and of the exponent allow.
    steepest = math.exp(max(slope * distance - spread, exponents[0] * distance))
    flattest = math.exp(min(slope * distance + spread, exponents[1] * distance))
    return Estimate(value * factor, low * steepest, min(high * flattest, 1.0), is_extrapolated=True)


def _exponent(sizes: Sequence[int], values: Sequence[float]) -> tuple[float, float]:
    """The slope of log value over log size by least squares, and its standard error."""
    usable = [(math.log(size), math.log(value)) for size, value in zip(sizes, values, strict=True) if value > _FLOOR]
    if len(usable) < 2:  # noqa: PLR2004 - two points make a line
        return 0.0, math.inf
    x, y = np.array(usable).T
    x = x - x.mean()
    slope = float((x * y).sum() / (x * x).sum())
    if len(usable) == 2:  # noqa: PLR2004
        return slope, 2 * _LEAST_ERROR
    residual = y - y.mean() - slope * x
    error = math.sqrt(float((residual**2).sum()) / (len(usable) - 2) / float((x * x).sum()))
    return slope, max(error, _LEAST_ERROR)
