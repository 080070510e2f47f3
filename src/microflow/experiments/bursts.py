"""Bursts: what happens when the load jumps tenfold for a fifth of each second?

Pipelines and controls are offered the same arrivals in real time; an offline oracle, which knows them all, says in
simulated time how much any router could still gain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from microflow.engine.router import Route
from microflow.experiments.controls import (
    ADAPTIVE,
    HABITS,
    LEARNT,
    ORACLE,
    Remains,
    called,
    credited,
    mean_latencies,
    remains,
    remains_table,
)
from microflow.experiments.load import System
from microflow.experiments.work import TOKENS
from microflow.lab.arrivals import bursts as burst_schedule
from microflow.lab.experiment import Experiment, Matrix, Plot, scale_of
from microflow.lab.open_loop import OpenLoop, OpenLoopRun
from microflow.lab.report import Answer, Table, rounded, with_interval
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import ratio_of
from microflow.lab.trials import Arm

__all__ = ["BURSTS", "answer", "frame", "matrix", "offline", "remaining", "table", "trial"]

_SLICE_NS = 50_000_000
#: So short a burst the oracle has solved in a second.
_OFFLINE_S = 0.15
#: Seconds and blocks.
_SCALES = {"smoke": (1.0, 1), "quick": (1.5, 1), "paper": (4.0, 5)}


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """A calm load of ``rate`` with bursts of ``peak_rate`` for a fifth of each second, for ``seconds``.

    Returns:
        One value a slice of 50 ms: ``time_s``, ``offered`` (records/s), ``size`` (median records served at once),
        ``p99_ns``; ``reasons`` counts why records went the way they went; ``left_over`` those not served;
        ``data_checksum``.
    """
    system = System(config)
    schedule = burst_schedule(config["rate"], config["peak_rate"], config["seconds"], config["seed"])
    router, service, sizes = system.router(), system.service(), list[int]()

    def serve(route: Route) -> Sequence[int]:
        sizes.append(len(route.records))
        return service(route)

    run = OpenLoop(schedule).run(router, serve, service.flush)
    return {
        **_slices(run, np.repeat(sizes, sizes)),
        "reasons": dict(router.reasons),
        "left_over": run.unserved,
        "data_checksum": system.checksum,
    }


def offline(config: Mapping[str, Any]) -> dict[str, Any]:
    """One short burst of the same rates in simulated time, with the costs of serving measured here and now.

    Returns:
        ``mean_ns``: the mean latency of every router, and of an oracle that knows all arrivals; ``data_checksum``.
    """
    system = System(config)
    assert system.costs is not None
    rates = (config["rate"], config["peak_rate"])
    schedule = burst_schedule(*rates, _OFFLINE_S, config["seed"], period_s=_OFFLINE_S)
    return {"mean_ns": mean_latencies(schedule, system.costs, config["seed"]), "data_checksum": system.checksum}


def _slices(run: OpenLoopRun, sizes: Any) -> dict[str, list[float]]:
    served = run.completed_ns >= 0
    frame = pl.DataFrame({"slice": run.intended_ns[served] // _SLICE_NS, "latency": run.latencies_ns()})
    frame = frame.with_columns(size=pl.Series(sizes[: frame.height]))
    found = frame.group_by("slice").agg(
        pl.len().alias("count"), pl.col("size").median(), pl.col("latency").quantile(0.99).alias("p99_ns")
    )
    found = found.sort("slice")
    return {
        "time_s": (found["slice"] * _SLICE_NS / 1e9).to_list(),
        "offered": (found["count"] / (_SLICE_NS / 1e9)).to_list(),
        "size": found["size"].to_list(),
        "p99_ns": found["p99_ns"].to_list(),
    }


def matrix(profile: str) -> Matrix:
    """Every pipeline and control under a load that jumps tenfold for a fifth of each second; and the oracle."""
    seconds, blocks = scale_of(_SCALES, profile)
    work = {"data_type": "healthcare", "method": TOKENS, "rate": 12_000, "peak_rate": 120_000, "seconds": seconds}
    arms = [Arm(name, f"{__name__}:trial", work | {"pipeline": name}) for name in HABITS]
    known = Arm(ORACLE, f"{__name__}:offline", work | {"pipeline": ORACLE})
    return Matrix("rq1-bursts", (*arms, known), blocks)


def _seconds(config: Mapping[str, Any]) -> float:
    if config["pipeline"] == ORACLE:
        return 3.0
    return 0.7 + float(config["pipeline"] in LEARNT) + float(config["seconds"])


def _in_real_time(results: Results) -> dict[str, list[dict[str, Any]]]:
    """By habit, block after block."""
    return {arm.name: results.of(arm) for arm in results.matrix.arms if arm.name != ORACLE}


def frame(results: Results) -> Frame:
    """Arrivals of the first block and how they were served, by slice, for `microflow.figures.charts`."""
    names = ["time_s", "offered", "size", "p99_ns"]
    rows = [
        (habit, *values)
        for habit, own in _in_real_time(results).items()
        for values in zip(*(own[0][name] for name in names), strict=True)
    ]
    found = data_frame(rows, ["arm", *names])
    return found.assign(p99_ms=found["p99_ns"] / 1e6).drop(columns="p99_ns")


def _samples(results: Results) -> dict[str, dict[str, list[list[float]]]]:
    """p99 (ms) of the median and of the worst slice, by habit and block; of those that left nothing over."""
    every = _in_real_time(results).items()
    found = {habit: own for habit, own in every if not any(result["left_over"] for result in own)}
    return {
        f"{name} 50 ms": {
            habit: [[float(np.quantile(result["p99_ns"], part)) / 1e6] for result in own]
            for habit, own in found.items()
        }
        for name, part in (("median", 0.5), ("worst", 1.0))
    }


def _means(results: Results) -> dict[str, list[list[float]]]:
    """Mean latency (ms) in simulated time, by router and block."""
    own = results.of(results.matrix.arms[-1])
    return {name: [[result["mean_ns"][name] / 1e6] for result in own] for name in (*HABITS, ORACLE)}


def remaining(results: Results) -> dict[str, Remains]:
    """Advantage of the adaptive router in a burst: by slices in real time, by the mean in simulated time."""
    compared = _samples(results)
    found = {kind: remains(own) for kind, own in compared.items() if ADAPTIVE in own and len(own) > 1}
    found["mean, simulated"] = remains({name: own for name, own in _means(results).items() if name != ORACLE})
    return found


def table(results: Results) -> Table:
    """Table of the same comparison, with the oracle in its last row."""
    found = remains_table(results, "p99 of 50 ms, and by the mean in simulated time,", remaining(results))
    return replace(found, caption=f"{found.caption} {_known(results)}")


def _known(results: Results) -> str:
    """Sentence about the distance of the router from the oracle."""
    means = _means(results)
    ratio = ratio_of(means[ADAPTIVE], means[ORACLE])
    return (
        "In simulated time, with the costs measured here, the hybrid's mean latency in a burst is "
        f"{with_interval(*ratio, '×')} that of an offline oracle, which knows all arrivals."
    )


def answer(results: Results) -> Answer:
    """The slices' p99 by habit: the median slice, and the worst; what remains of adapting, and what might be had."""
    samples = _samples(results)
    calm, worst = (
        {name: float(np.median(np.ravel(blocks))) for name, blocks in means.items()} for means in samples.values()
    )
    numbers = {f"rq1 burst {name} worst ms": rounded(value) for name, value in worst.items()}
    beside = remaining(results)
    numbers |= {f"rq1 burst remains {kind.split(',')[0]}": remain.said() for kind, remain in beside.items()}
    said = "; ".join(f"{called(name)} {rounded(calm[name])} and {rounded(worst[name])} ms" for name in calm)
    lost = "".join(f"; {called(name)} left records over" for name in HABITS if name not in worst)
    credit = credited("p99", {f"in the {kind}": beside[kind] for kind in samples if kind in beside})
    config = results.matrix.arms[0].config
    return Answer(
        f"Under a load that jumps from {rounded(config['rate'])} to {rounded(config['peak_rate'])} records/s for a "
        f"fifth of each second, the p99 of the median and of the worst 50 ms is: {said}{lost}. "
        f"{credit} {_known(results)}",
        numbers,
    )


BURSTS = Experiment(
    name="rq1-bursts",
    asks="What happens in a burst?",
    notebook="rq1",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=_seconds,
    same=("data_checksum",),
    plot=Plot(
        "hybrid-burst",
        "burst",
        "What the hybrid decides while the load jumps tenfold, and the latency of the pipelines and of the controls "
        "under it (first block).",
    ),
    tables={"burst-controls": table},
)
