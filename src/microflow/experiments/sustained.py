"""Sustained load: the highest offered load that each pipeline keeps up with.

Throughput of a file says how fast work can be; this says how much may arrive (Karimov et al., ICDE 2018). A load that
is only survived for a moment, with a growing backlog, is not sustained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from microflow.engine import PIPELINES
from microflow.experiments.load import SHORT_SLOPE, WARM_UP_S, System
from microflow.experiments.work import TOKENS
from microflow.lab.experiment import Experiment, Matrix, scale_of
from microflow.lab.open_loop import Objective, OpenLoopRun
from microflow.lab.report import Answer, Table, design, rounded, with_interval
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import Estimate, typical
from microflow.lab.trials import Arm

__all__ = [
    "P99_MS", "SUSTAINED", "Probe", "Sustainable", "answer", "find_sustainable", "frame", "judge", "matrix", "table",
    "trial",
]  # fmt: skip

#: The objective: long enough for a microflow of 1,000 to fill at the lowest load that is looked for.
P99_MS = 250
#: A backlog that grows by more than this part of the load is not sustained (Theodolite, ShuffleBench). Loads that are
#: offered for less than so many seconds cannot tell it from noise; what they show is a preview.
_SLOPE, _LONG_S = 0.01, 30.0
#: Seconds of the loads that bracket the answer, seconds for which it is offered, blocks.
_SCALES = {"smoke": (0.4, 0.5, 1), "quick": (0.3, 1.0, 1), "paper": (1.0, _LONG_S, 5)}


#: How often a search goes down to find a rate that is sustained at all, and one that stays so for longer.
_HALVINGS, _CONFIRMATIONS = 6, 12


@dataclass(frozen=True, slots=True)
class Probe:
    """Result of one rate that was tried (records/s)."""

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
    """Judgement on a run: whether ``rate`` kept the objective after its warm-up."""
    p99 = run.summary(warm_up_s).p99_ns
    slope = run.backlog_slope(warm_up_s)
    sustained = run.unserved == 0 and p99 <= objective.p99_ns and slope <= objective.slope
    return Probe(rate, p99, slope, run.unserved, sustained)


def find_sustainable(
    attempt: Callable[[float], Probe],
    low: float,
    high: float,
    *,
    confirm: Callable[[float], Probe] | None = None,
    precision: float = 0.05,
) -> Sustainable:
    """Bisect between a rate that is sustained and one that fails, until they are within ``precision`` of each other.

    Args:
        attempt: Runs one rate (records/s), for example
            ``lambda rate: judge(OpenLoop(poisson(rate, 4, seed)).run(Portions(), serve), rate, objective)``.
        low: Where to begin; halved until it is sustained, at most `_HALVINGS` times.
        high: No rate above it is tried: the system's own throughput, or what is more than enough.
        confirm: Runs a rate for longer. What the search found is moved by ``precision``, up or down, until it passes
            this run and the next rate above it fails it: both ends of the answer are then of long runs.
        precision: Of the rate, as a part.

    >>> limit = 700.0
    >>> found = find_sustainable(lambda rate: Probe(rate, 0, 0.0, 0, rate <= limit), 100, 10_000)
    >>> 0.95 * limit <= found.rate <= limit, found.bounded
    (True, True)
    """
    probes: list[Probe] = []

    def holds(rate: float, run: Callable[[float], Probe]) -> bool:
        probes.append(run(rate))
        return probes[-1].sustained

    top, failed = high, False
    for _ in range(_HALVINGS):
        if holds(low, attempt):
            break
        low, high, failed = low / 2, low, True
    else:
        return Sustainable(0.0, bounded=True, probes=tuple(probes))
    if not failed and holds(high, attempt):
        low = high
    else:
        failed = True
    while high / low > 1 + precision:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle, attempt) else (low, middle)
    if confirm is not None:
        low, failed = _confirmed(low, top, 1 + precision, partial(holds, run=confirm))
    return Sustainable(low, failed, tuple(probes))


def _confirmed(rate: float, top: float, step: float, holds: Callable[[float], bool]) -> tuple[float, bool]:
    """The rate, moved until it holds and the next above it does not; and whether one above it failed."""
    if not holds(rate):
        for _ in range(_CONFIRMATIONS):
            rate /= step
            if holds(rate):
                return rate, True
        return 0.0, True
    while rate < top:
        higher = min(rate * step, top)
        if not holds(higher):
            return rate, True
        rate = higher
    return rate, False


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Look for the highest load that ``pipeline`` keeps up with, never above what it processes at saturation.

    Loads of ``search_s`` seconds each bracket it between one that is sustained and one that fails; what they find is
    offered for ``confirm_s`` seconds and moved until it stands and 5 % more does not, offered for as long. Sustained is
    a load with a p99 of at most ``p99_ms`` and a backlog that grows by at most ``slope`` of it. A load ends as soon as
    its p99 is lost for certain.

    Returns:
        ``rate`` (records/s; 0 where no load was sustained), ``bounded`` (whether a higher load failed), ``capacity``
        (records/s at saturation), ``probes``.
    """
    system = System(config)
    objective = Objective(round(config["p99_ms"] * 1e6), config["slope"])
    # A short run cannot tell a slope of 1 % from noise; what it lets through, the long one judges.
    brief = Objective(objective.p99_ns, max(config["slope"], SHORT_SLOPE))

    def offered(load: float, seconds: float, judged: Objective) -> Probe:
        warm_up_s = min(WARM_UP_S, seconds / 4)
        return judge(system.offered(load, seconds, judged, warm_up_s), load, judged, warm_up_s=warm_up_s)

    system.capacity()  # a first pass warms up
    capacity = system.capacity()
    found = find_sustainable(
        lambda load: offered(load, config["search_s"], brief),
        capacity / 2,
        capacity,
        confirm=lambda load: offered(load, config["confirm_s"], objective),
    )
    return {**asdict(found), "capacity": capacity, "data_checksum": system.checksum}


def matrix(profile: str) -> Matrix:
    """The three pipelines on healthcare records, tokenized."""
    search_s, confirm_s, blocks = scale_of(_SCALES, profile)
    slope = _SLOPE if confirm_s >= _LONG_S else SHORT_SLOPE
    search = {"p99_ms": P99_MS, "search_s": search_s, "confirm_s": confirm_s, "slope": slope}
    work = {"data_type": "healthcare", "method": TOKENS, **search}
    arms = [Arm(name, f"{__name__}:trial", work | {"pipeline": name}) for name in PIPELINES]
    return Matrix("rq1-sustained", tuple(arms), blocks, timeout_s=1_800)


def frame(results: Results) -> Frame:
    """Sustained records per second: columns ``pipeline``, ``rate``, ``low``, ``high`` (95 %, over blocks), ``bounded``.

    Also ``capacity``, the median rate at saturation. ``rate`` is 0 where some block sustained no load at all; where
    ``bounded`` is false, some block sustained all that its engine processes at saturation.
    """
    rows = []
    for arm in results.matrix.arms:
        own = results.of(arm)
        found = [result["rate"] for result in own]
        rate = typical([[value] for value in found]) if min(found) > 0 else Estimate(0.0, 0.0, max(found))
        capacity = float(np.median([result["capacity"] for result in own]))
        bounded = all(result["bounded"] for result in own)
        rows.append((arm.name, *rate, bounded, capacity))
    return data_frame(rows, ["pipeline", "rate", "low", "high", "bounded", "capacity"])


def _objective_of(results: Results) -> str:
    config = results.matrix.arms[0].config
    return (
        f"p99 within {config['p99_ms']} ms and a backlog that grows by at most {config['slope']:.0%} of the load over "
        f"{config['confirm_s']:g} s"
    )


def table(results: Results) -> Table:
    """Sustained load and saturation by pipeline."""
    rows = [
        [
            row["pipeline"],
            with_interval(row["rate"], row["low"], row["high"]),
            rounded(row["capacity"]),
            "yes" if row["bounded"] else "no: all that it can process",
        ]
        for row in frame(results).to_dict("records")
    ]
    return Table(
        ["pipeline", "sustained, records/s", "at saturation, records/s", "a higher load failed"],
        rows,
        f"Highest offered load with {_objective_of(results)}, found by bisection between a load that is sustained and "
        f"one that fails, never above the engine's own rate at saturation. Intervals are 95 % over blocks. "
        f"{design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Sustained load of each pipeline."""
    found = frame(results).to_dict("records")
    numbers = {f"rq1 {row['pipeline']} sustained": rounded(row["rate"]) for row in found}
    rates = ", ".join(f"{row['pipeline']} {rounded(row['rate'])}" for row in found)
    return Answer(f"With {_objective_of(results)}, so many records/s may arrive: {rates}.", numbers)


SUSTAINED = Experiment(
    name="rq1-sustained",
    asks="How many records may arrive?",
    notebook="rq1",
    matrix=matrix,
    frame=frame,
    answer=answer,
    # Saturation, a search of some seven loads, one that is confirmed and one that fails, which ends early.
    seconds=lambda config: 4.0 + 7.0 * float(config["search_s"]) + 1.7 * float(config["confirm_s"]),
    same=("data_checksum",),
    tables={"sustained": table},
)
