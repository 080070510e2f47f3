"""When records arrive, decided before the run: nanoseconds (int64, ascending) after its start.

An open-loop schedule does not wait for the system. Its instants are what latency is counted from.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Schedule", "bursts", "poisson", "steady"]

Schedule = npt.NDArray[np.int64]


def steady(rate: float, seconds: float) -> Schedule:
    """Equal gaps.

    >>> steady(4, 1).tolist()
    [0, 250000000, 500000000, 750000000]
    """
    return (np.arange(int(rate * seconds)) * (1e9 / rate)).astype(np.int64)


def poisson(rate: float, seconds: float, seed: int) -> Schedule:
    """Independent arrivals at ``rate`` per second."""
    return _thrown(np.array([0.0, seconds]), np.array([rate]), seed)


def bursts(
    rate: float, peak_rate: float, seconds: float, seed: int, *, period_s: float = 1.0, peak_share: float = 0.2
) -> Schedule:
    """A Poisson process whose rate jumps to ``peak_rate`` for the last ``peak_share`` of each period."""
    starts = np.arange(0, seconds, period_s)
    edges = np.unique(np.concatenate([starts, starts + period_s * (1 - peak_share), [seconds]]))
    edges = edges[edges <= seconds]
    calm = np.arange(len(edges) - 1) % 2 == 0
    return _thrown(edges, np.where(calm, rate, peak_rate), seed)


def _thrown(edges: npt.NDArray[np.float64], rates: npt.NDArray[np.float64], seed: int) -> Schedule:
    """A piecewise constant Poisson process: given its number, the arrivals of a piece are uniform in it."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rates * np.diff(edges))
    pieces = [rng.uniform(low, high, n) for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)]
    return (np.sort(np.concatenate(pieces)) * 1e9).astype(np.int64)
