"""Controls for the adaptive router: what it is credited with is what remains beside the best of them.

A router may look good because the static pipelines are poor at the load at hand. So simpler rules are offered the same
arrivals: microflows with a linger time, natural batching from a fixed break-even size on, and a coin. Beside them
stands an offline oracle, which knows all arrivals: how much any router could still gain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from microflow.engine import PIPELINES
from microflow.engine.router import AdaptiveRouter, Costs, NaturalRouter, RandomRouter, Router, StaticRouter
from microflow.lab.arrivals import Schedule
from microflow.lab.open_loop import OpenLoopRun, simulate
from microflow.lab.report import Table, comparison_cells, design, ratio_text, rounded
from microflow.lab.results import Results
from microflow.lab.statistics import MARGIN, Blocks, Comparison, Estimate, compare, ratio_of, typical
from microflow.settings import MICROFLOW_ROWS, MORSEL_ROWS

__all__ = [
    "ADAPTIVE", "CONTROLS", "HABITS", "LEARNT", "LINGER_MS", "ORACLE", "Remains", "called", "credited", "make_router",
    "mean_latencies", "oracle", "remains", "remains_table",
]  # fmt: skip

ADAPTIVE, ORACLE = "hybrid", "oracle"
#: Longer than a full microflow is served, and what a Kafka producer waits by default (from 4.0 on).
LINGER_MS = 5
#: Name to what it is called in a sentence.
CONTROLS = {"linger": f"microflows that linger {LINGER_MS} ms", "natural": "natural batching", "coin": "a coin"}
#: Every router there is: the pipelines' own, and controls.
HABITS = (*PIPELINES, *CONTROLS)
#: Habits that need the costs of serving, measured just before.
LEARNT = ("hybrid", "natural")


def called(habit: str) -> str:
    """A habit in a sentence."""
    return CONTROLS.get(habit, habit)


def make_router(habit: str, costs: Costs | None, seed: int) -> Router:
    """A new router of one of `HABITS`; of `LEARNT` with the costs that it starts from, or goes by."""
    match habit:
        case "hybrid":
            return AdaptiveRouter(costs=costs)
        case "natural":
            assert costs is not None
            return NaturalRouter(max(round(costs.break_even), 1))
        case "coin":
            return RandomRouter(seed)
        case "linger":
            return StaticRouter(MICROFLOW_ROWS, LINGER_MS * 1_000_000)
        case _:
            return StaticRouter(1 if habit == "stream" else MICROFLOW_ROWS)


#: A microflow that is waited for holds so many times what has arrived already.
_WAITED_FOR = (1.0, 1.25, 1.5, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to have served the first ``served`` records: when the server is free, and the sum of completion times."""

    served: int
    free_ns: float
    total_ns: float
    before: _Way | None


def oracle(schedule: Schedule, costs: Costs, *, beam: int = 8) -> OpenLoopRun:
    """The best run found; exact for short schedules with a wide beam, else an upper bound of the best mean latency.

    Dynamic programming over "the first ``i`` records are served": of all ways to get there, those are kept that are not
    both later and dearer than another, at most ``beam`` of them. Records are served in order; a way on is one record
    alone, or a microflow of what has arrived, or of what will have arrived after waiting for more.
    """
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
    """Ways on: the number of records that are served next, the start, and the cost."""
    first = way.served
    start = max(way.free_ns, float(arrivals[first]))
    yield 1, start, costs.single
    arrived = int(np.searchsorted(arrivals[first : first + MORSEL_ROWS], start, "right"))
    sizes = {min(max(round(arrived * factor), arrived + (factor > 1)), MORSEL_ROWS) for factor in _WAITED_FOR}
    for size in sizes:
        if first + size <= len(arrivals):
            yield size, max(start, float(arrivals[first + size - 1])), costs.together(size)


def _best(ways: list[_Way], beam: int) -> list[_Way]:
    """The ways that no other is both earlier and cheaper than, the cheapest first."""
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


def mean_latencies(schedule: Schedule, costs: Costs, seed: int) -> dict[str, float]:
    """Mean latency (ns) of every router and of the oracle in simulated time, where deciding is free."""
    runs = {habit: simulate(schedule, make_router(habit, costs, seed), costs) for habit in HABITS}
    runs[ORACLE] = oracle(schedule, costs, beam=3)
    return {name: float(run.latencies_ns().mean()) for name, run in runs.items()}


@dataclass(frozen=True, slots=True)
class Remains:
    """Comparison of the adaptive router with the best control.

    Attributes:
        best: The control with the lowest value, by the geometric mean over blocks.
        value: The adaptive router's own.
        of_best: The control's.
        ratio: Of the two, block by block; without an interval from one block.
        comparison: Both tests, corrected for all controls; ``None`` from one block.
    """

    best: str
    value: float
    of_best: float
    ratio: Estimate
    comparison: Comparison | None

    @property
    def verdict(self) -> str:
        """Different, equivalent within the margin, or undecided."""
        return "undecided, one block" if self.comparison is None else self.comparison.verdict.value

    def said(self, where: str = "") -> str:
        """Text of one comparison: the place, the best control, the ratio to it if it is known, and the verdict.

        >>> Remains("natural", 2.0, 1.0, Estimate(2.0, 1.9, 2.1), None).said("at 9 records/s")
        'at 9 records/s natural batching: 2× [1.9, 2.1] (undecided, one block)'
        """
        return f"{where} {called(self.best)}: {ratio_text(self.ratio)} ({self.verdict})".lstrip()

    def cells(self) -> list[str]:
        """A row of `remains_table`."""
        beside = [ratio_text(self.ratio), "", "", self.verdict]
        if self.comparison is not None:
            beside = comparison_cells(self.comparison)
        return [rounded(self.value), called(self.best), rounded(self.of_best), *beside]


def remains(samples: Mapping[str, Blocks]) -> Remains:
    """Hold the adaptive router against the best of the others.

    All controls are one family (Holm), so that picking the best afterwards is allowed for. It was lucky, too, on
    average: what remains is rather too little than too much.

    Args:
        samples: Positive values by habit, block by block; less is better.
    """
    own = samples[ADAPTIVE]
    others = {name: blocks for name, blocks in samples.items() if name != ADAPTIVE}
    best = min(others, key=lambda name: typical(others[name]).value)
    ratio, comparison = ratio_of(own, others[best]), None
    if len(own) > 1:
        found = compare({ADAPTIVE: own, **others}, ADAPTIVE)[best]
        comparison = replace(found, arm=ADAPTIVE, ratio=ratio)
    return Remains(best, typical(own).value, typical(others[best]).value, ratio, comparison)


def credited(measure: str, found: Mapping[str, Remains]) -> str:
    """Sentence about the advantage of the adaptive router over its controls."""
    if not found:
        return "The hybrid and another router never both served everything, so that there is nothing to compare."
    said = "; ".join(remain.said(where) for where, remain in found.items())
    return f"The hybrid's {measure} beside the best of all others, controls included (margin ±{MARGIN:.0%}): {said}."


def remains_table(results: Results, measure: str, found: Mapping[str, Remains]) -> Table:
    """Table of the advantage of the adaptive router, a row per condition; ``measure`` names the measure."""
    habits = dict.fromkeys(arm.config["pipeline"] for arm in results.matrix.arms)
    others = ", ".join(called(habit) for habit in habits if habit not in {ADAPTIVE, ORACLE})
    return Table(
        ["", "hybrid", "best control", "its own", "ratio", "p different", "p equivalent", "answer"],
        [[where, *remain.cells()] for where, remain in found.items()],
        f"The adaptive router (hybrid) beside the best of all others, by {measure} in ms: {others}, "
        "where they served everything. "
        f"All others are one family (Holm); equivalent: within ±{MARGIN:.0%} by two one-sided tests. "
        f"{design(results)}.",
    )
