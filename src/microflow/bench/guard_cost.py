"""What the purity guard adds to the work it watches: many short pairs, so that the answer is known to a part of 1 %.

A pair is one microflow processed twice, one after the other, with a guard and without, in random order: whatever else
the machine does falls on both sides alike. CPU time of all threads is compared, not wall time, because neighbours take
the latter away and the guard does nothing but compute; what a pair's log-ratio still has of noise, the median leaves
out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from microflow.bench.harness import Line, fixed
from microflow.lab.statistics import bootstrap_interval
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

__all__ = ["PairedCost", "cost_of", "guard_cost"]

T = TypeVar("T")

_ROUND = 200
_GOAL_PERCENT = 1


@dataclass(frozen=True, slots=True)
class PairedCost:
    """What is added, in per cent, with its 95 % interval. ``base_ns`` is the median work without."""

    percent: float
    low: float
    high: float
    base_ns: float
    pairs: int


def guard_cost(work: Callable[[T], object], inputs: Sequence[T], span_us: float) -> Iterator[Line]:
    """Two lines: what the guard adds inside of the clock, and what its ``span_us`` add outside of it."""
    found = cost_of(work, inputs, (PhaseClock(), PhaseClock(PurityGuard())))
    inside = fixed("guard: adds to the pure phase", found.percent, "%")
    # An interval on both sides of the goal (a machine that neighbours keep busy) decides nothing.
    holds = None if found.low <= _GOAL_PERCENT < found.high else found.high <= _GOAL_PERCENT
    goal = f"≤ {_GOAL_PERCENT} %"
    yield replace(inside, reference="no guard", low=found.low, high=found.high, goal=goal, holds=holds)
    outside = 100 * span_us * 1e3 / found.base_ns
    yield fixed("guard: adds outside of the clock, of the pure phase", outside, "%", at_most=_GOAL_PERCENT)


def cost_of(
    work: Callable[[T], object],
    inputs: Sequence[T],
    clocks: tuple[PhaseClock, PhaseClock],
    *,
    half_width: float = 0.3,
    limit_s: float = 20,
    spent_ns: Callable[[], int] = time.process_time_ns,
    seed: int = 1,
) -> PairedCost:
    """The second clock's spans beside the first's, over pairs of equal work.

    Rounds of pairs are added until the interval is no wider than ± ``half_width`` per cent or ``limit_s`` seconds are
    over; when to stop never depends on the answer itself. ``spent_ns`` is the counter read at both ends of the work.
    """
    for one in inputs:
        work(one)
    rng, following = np.random.default_rng(seed), cycle(inputs)
    deadline = time.perf_counter_ns() + round(limit_s * 1e9)
    base: list[int] = []
    ratios: list[float] = []
    while True:
        for _ in range(_ROUND):
            without, guarded = _pair(partial(work, next(following)), clocks, spent_ns, rng)
            base.append(without)
            ratios.append(float(np.log(guarded / without)))
        found = _summary(np.array(ratios), base)
        if found.high - found.low <= 2 * half_width or time.perf_counter_ns() > deadline:
            return found


def _pair(
    work: Callable[[], object],
    clocks: tuple[PhaseClock, PhaseClock],
    spent_ns: Callable[[], int],
    rng: np.random.Generator,
) -> list[int]:
    spent = [0, 0]
    for side in rng.permutation(2).tolist():
        with clocks[side].pure():
            started = spent_ns()
            work()
            spent[side] = spent_ns() - started
    return spent


def _summary(ratios: npt.NDArray[np.float64], base: Sequence[int]) -> PairedCost:
    middle, (low, high) = float(np.median(ratios)), bootstrap_interval(ratios)
    percent, least, most = (100 * float(np.expm1(value)) for value in (middle, low, high))
    return PairedCost(percent, least, most, float(np.median(base)), len(ratios))
