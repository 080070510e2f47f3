"""What is predicted for the full size: risk and loss by n, and time on N cores.

Risk and loss follow a power law in the number of rows where classes are formed from data: with more rows there are more
rows like each, so that fewer are unique and labels become narrower. The exponent is estimated from the samples, and its
uncertainty grows with the distance to the size asked for. The time is

    seconds(rows, workers) = start + rows · (serial + parallel / workers)

``start`` is what a job costs before its first row, ``serial`` what a row costs whatever the number of workers, and
``parallel`` what workers share (Amdahl 1967; the universal scalability law without its coherence term, which two worker
counts cannot determine).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microflow.assess.attacks import Z_95

__all__ = ["Capacity", "Estimate", "Observed", "Prediction", "extrapolate", "fit"]

#: Below this a risk or loss is taken for zero: no power law is fitted through attempts that all failed.
_FLOOR = 1e-3
#: A measured exponent from two sizes has this standard error at least (nothing is known of its scatter).
_LEAST_ERROR = 0.03
#: Repeated runs of one job scatter by so much at least, whatever a few of them show.
_LEAST_SCATTER = 0.05


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
    factor, spread = math.exp(slope * distance), Z_95 * error * distance
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


@dataclass(frozen=True, slots=True)
class Observed:
    """One job that was run: its rows, its workers, its seconds from start to end."""

    rows: int
    workers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Seconds with a 95 % interval, and whether more workers were asked for than any job was run with."""

    seconds: float
    low: float
    high: float
    is_extrapolated: bool


@dataclass(frozen=True)
class Capacity:
    """The fitted law.

    Attributes:
        start: Seconds before the first row.
        serial: Seconds a row that no worker can share.
        parallel: Seconds a row that workers share.
        scatter: Relative standard error of a job's time.
        most_workers: The largest number of workers observed.
    """

    start: float
    serial: float
    parallel: float
    scatter: float
    most_workers: int

    def seconds(self, rows: float, workers: int = 1) -> Prediction:
        """The time of a job of ``rows`` rows on ``workers`` workers.

        Beyond the observed number of workers the interval also holds the case in which more of them bring nothing.

        >>> round(Capacity(0.5, 1e-6, 3e-6, 0.05, 2).seconds(1_000_000, 2).seconds, 2)
        3.0
        """
        value = self.start + rows * (self.serial + self.parallel / workers)
        half = Z_95 * self.scatter
        low, high = value * math.exp(-half), value * math.exp(half)
        if workers > self.most_workers:
            high = (self.start + rows * (self.serial + self.parallel / self.most_workers)) * math.exp(half)
        return Prediction(value, low, high, workers > self.most_workers)


def fit(observed: Sequence[Observed]) -> Capacity:
    """Fit the law to jobs of at least two sizes, by non-negative least squares on relative errors.

    Raises:
        ValueError: all jobs have the same size.

    >>> law = Capacity(0.5, 1e-6, 3e-6, 0.05, 2)
    >>> runs = [(rows, workers) for rows in (10_000, 1_000_000) for workers in (1, 2)]
    >>> jobs = [Observed(*run, law.seconds(*run).seconds) for run in runs]
    >>> [round(float(part) * 1e6, 3) for part in (fit(jobs).serial, fit(jobs).parallel)]
    [1.0, 3.0]
    """
    if len({one.rows for one in observed}) < 2:  # noqa: PLR2004 - a start and a slope
        raise ValueError("jobs of two sizes at least are needed")
    seconds = np.array([one.seconds for one in observed])
    design = np.array([[1.0, one.rows, one.rows / one.workers] for one in observed]) / seconds[:, None]
    start, serial, parallel = _non_negative(design, np.ones(len(observed)))
    residual = 1 - design @ np.array([start, serial, parallel])
    free = max(len(observed) - 3, 1)
    scatter = max(math.sqrt(float((residual**2).sum()) / free), _LEAST_SCATTER)
    return Capacity(start, serial, parallel, scatter, max(one.workers for one in observed))


def _non_negative(design: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float, float]:
    """Least squares with no negative part: of all subsets of the three columns, the best that has none."""
    scale = np.linalg.norm(design, axis=0)
    best, found = math.inf, (0.0, 0.0, 0.0)
    for mask in range(1, 8):
        chosen = [column for column in range(3) if mask >> column & 1]
        parts, *_ = np.linalg.lstsq(design[:, chosen] / scale[chosen], target, rcond=None)
        if (parts < 0).any():
            continue
        solution = np.zeros(3)
        solution[chosen] = parts / scale[chosen]
        error = float(((target - design @ solution) ** 2).sum())
        if error < best - 1e-12:
            best, found = error, (float(solution[0]), float(solution[1]), float(solution[2]))
    return found
