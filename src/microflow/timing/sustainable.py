"""Sustainable throughput: the highest offered load at which latency and backlog stay within their objective.

Karimov et al. (ICDE 2018) define it, Theodolite and ShuffleBench turn it into a search. A rate that is only survived
for a moment, with a growing backlog, is not a throughput.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from microflow.timing.open_loop import OpenLoopRun

__all__ = ["Objective", "Probe", "Sustainable", "find_sustainable", "judge"]


@dataclass(frozen=True, slots=True)
class Objective:
    """What a sustained rate keeps: 99 of 100 records within ``p99_ns``, no more backlog growth than ``slope``."""

    p99_ns: int
    slope: float = 0.01


@dataclass(frozen=True, slots=True)
class Probe:
    """One rate that was tried (records/s), and how it went."""

    rate: float
    p99_ns: int
    slope: float
    unserved: int
    sustained: bool


@dataclass(frozen=True, slots=True)
class Sustainable:
    """``rate`` is the highest that was sustained (0 if none was); all probes are kept in the order they were run.

    ``bounded`` is false when every rate tried was sustained: then the true rate is higher.
    """

    rate: float
    bounded: bool
    probes: tuple[Probe, ...]


def judge(run: OpenLoopRun, rate: float, objective: Objective, *, warm_up_s: float = 0.0) -> Probe:
    """Whether a run at ``rate`` kept the objective after its warm-up."""
    p99 = run.summary(warm_up_s).p99_ns
    slope = run.backlog_slope(warm_up_s)
    sustained = run.unserved == 0 and p99 <= objective.p99_ns and slope <= objective.slope
    return Probe(rate, p99, slope, run.unserved, sustained)


def find_sustainable(
    attempt: Callable[[float], Probe], low: float, high: float, *, precision: float = 0.05
) -> Sustainable:
    """Bisect between two rates (records/s) on a logarithmic scale until they are within ``precision`` of each other.

    ``attempt`` runs one rate, for example
    ``lambda rate: judge(OpenLoop(poisson(rate, 4, seed)).run(stream(), serve), rate, objective)``.

    >>> limit = 700.0
    >>> found = find_sustainable(lambda rate: Probe(rate, 0, 0.0, 0, rate <= limit), 100, 10_000)
    >>> 0.95 * limit <= found.rate <= limit, found.bounded
    (True, True)
    """
    probes = [attempt(low)]
    if not probes[0].sustained:
        return Sustainable(0.0, bounded=True, probes=tuple(probes))
    probes.append(attempt(high))
    if probes[1].sustained:
        return Sustainable(high, bounded=False, probes=tuple(probes))
    while high / low > 1 + precision:
        middle = math.sqrt(low * high)
        probes.append(attempt(middle))
        low, high = (middle, high) if probes[-1].sustained else (low, middle)
    return Sustainable(low, bounded=True, probes=tuple(probes))
