"""Simulated service: what a router makes of given costs, and how well a server could do that knows the future.

`simulate` gives the same run on every machine. `oracle` is dynamic programming over "the first ``i`` records are
served": of all ways to get there, those are kept that are not both later and dearer than another, at most ``beam`` of
them. Records are served in order; a way on is one record alone, or a microflow of what has arrived, or of what will
have arrived after waiting for more. The objective is the mean latency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microflow.engine.router import Costs, Route, Router
from microflow.lab.arrivals import Schedule
from microflow.lab.open_loop import OpenLoop, OpenLoopRun
from microflow.settings import MORSEL_ROWS

__all__ = ["oracle", "simulate"]

#: A microflow that is waited for holds so many times what has arrived already.
_WAITED_FOR = (1.0, 1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to have served the first ``served`` records: when the server is free, and the sum of completion times."""

    served: int
    free_ns: float
    total_ns: float
    before: _Way | None


def simulate(schedule: Schedule, router: Router, costs: Costs) -> OpenLoopRun:
    """A router's run in simulated time, where serving costs exactly ``costs``: equal on every machine."""

    def cost(route: Route) -> int:
        size = len(route.records)
        return round(costs.together(size) if route.together else costs.alone(size))

    return OpenLoop(schedule).simulate(router, lambda route: route.records, service_ns=cost)


def oracle(schedule: Schedule, costs: Costs, *, beam: int = 8) -> OpenLoopRun:
    """The best run found; exact for short schedules with a wide beam, else an upper bound of the best mean latency."""
    ways: dict[int, list[_Way]] = defaultdict(list)
    ways[0] = [_Way(0, 0.0, 0.0, None)]
    for served in range(len(schedule)):
        for way in _best(ways.pop(served, []), beam):
            for size, start, cost in _choices(schedule, way, costs):
                end = start + cost
                ways[served + size].append(_Way(served + size, end, way.total_ns + size * end, way))
    best = min(ways[len(schedule)], key=lambda way: way.total_ns)
    return OpenLoopRun(schedule, _completions(best, len(schedule)), np.empty(0, np.int64))


def _choices(arrivals: Schedule, way: _Way, costs: Costs) -> Iterator[tuple[int, float, float]]:
    """How many records next, when to start, and what it costs."""
    first = way.served
    start = max(way.free_ns, float(arrivals[first]))
    yield 1, start, costs.single
    arrived = int(np.searchsorted(arrivals[first : first + MORSEL_ROWS], start, "right"))
    sizes = {min(max(round(arrived * factor), arrived + (factor > 1)), MORSEL_ROWS) for factor in _WAITED_FOR}
    for size in sizes:
        if first + size <= len(arrivals):
            yield size, max(start, float(arrivals[first + size - 1])), costs.together(size)


def _best(ways: list[_Way], beam: int) -> list[_Way]:
    """Those that no other is both earlier and cheaper than, the cheapest first."""
    kept: list[_Way] = []
    for way in sorted(ways, key=lambda option: (option.total_ns, option.free_ns)):
        if not kept or way.free_ns < kept[-1].free_ns:
            kept.append(way)
    return kept[:beam]


def _completions(way: _Way, count: int) -> npt.NDArray[np.int64]:
    completed = np.empty(count, np.int64)
    while way.before is not None:
        completed[way.before.served : way.served] = round(way.free_ns)
        way = way.before
    return completed
