"""Offered load: how late is a record at a load?

Records come when they come (an open loop), from a process of their own, and latency counts from when a record was due.
The rows that are served are held in both forms, as Arrow and as mappings, so that conversion is in no arm's time.
Beside the pipelines stand the controls of `microflow.experiments.controls`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from microflow.engine import PIPELINES
from microflow.engine.router import Router
from microflow.engine.service import Service, Workload, measured_costs
from microflow.experiments.controls import (
    ADAPTIVE,
    HABITS,
    LEARNT,
    ORACLE,
    Remains,
    called,
    credited,
    make_router,
    remains,
    remains_table,
)
from microflow.experiments.work import TOKENS, arms_by_type, data_checksum, source, spec_of
from microflow.lab.arrivals import poisson
from microflow.lab.experiment import Experiment, Matrix, Plot, scale_of
from microflow.lab.open_loop import Objective, OpenLoop, OpenLoopRun
from microflow.lab.report import Answer, Table, rounded
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import Estimate, ratio_of
from microflow.settings import MICROFLOW_ROWS, MORSEL_ROWS

__all__ = [
    "LATENCY", "SHORT_SLOPE", "WARM_UP_S", "System", "answer", "frame", "matrix", "open_loop", "remaining", "table",
]  # fmt: skip

#: A load that is offered for some seconds only shows no smaller growth of its backlog than this part of it.
SHORT_SLOPE = 0.05

_SERVED_ROWS = 20_000
WARM_UP_S = 0.2
#: A system that is this far behind the last arrival has failed.
_GIVE_UP_S = 1.0
#: Saturation: so many records wait all the time, for so long.
_BACKLOG, _SATURATED_NS = 10 * MORSEL_ROWS, 1_000_000_000
_LATENCIES = ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")
_NOTHING_SERVED = -1.0


#: Loads, seconds of each, blocks.
_SCALES: dict[str, tuple[tuple[int, ...], float, int]] = {
    "smoke": ((4_000, 16_000), 0.4, 1),
    "quick": ((2_000, 16_000, 128_000), 0.6, 1),
    "paper": ((1_000, 8_000, 32_000, 64_000, 256_000), 3.0, 5),
}


class System:
    """System under load: a service, and the router that the configuration's ``pipeline`` names (`HABITS`)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        spec, flows = spec_of(config), list(source(config, _SERVED_ROWS))
        self.checksum = data_checksum(flows)
        self._config, self._spec = config, spec
        self._workload = Workload(pa.concat_batches([flow.rows for flow in flows]))
        self.costs = measured_costs(self.service()) if config["pipeline"] in (*LEARNT, ORACLE) else None

    def service(self) -> Service:
        """A new one, on the same rows."""
        return Service(self._spec, self._workload)

    def router(self) -> Router:
        """A new one: it owns the queue."""
        return make_router(self._config["pipeline"], self.costs, self._config["seed"])

    def offered(
        self, load: float, seconds: float, objective: Objective | None = None, warm_up_s: float = 0.0
    ) -> OpenLoopRun:
        """Poisson arrivals of ``load`` records/s; ended as soon as the objective is lost."""
        service, schedule = self.service(), poisson(load, seconds, self._config["seed"])
        loop = OpenLoop(schedule, give_up_s=_GIVE_UP_S, objective=objective, warm_up_s=warm_up_s)
        return loop.run(self.router(), service, service.flush)

    def capacity(self) -> float:
        """Records/s when everything has arrived already: no load above it can be sustained."""
        service, router = self.service(), self.router()
        served, started = 0, time.perf_counter_ns()
        while (spent := time.perf_counter_ns() - started) < _SATURATED_NS:
            route = router.route(served + _BACKLOG)
            assert route is not None
            service(route)
            served += len(route.records)
        return served / spent * 1e9


def open_loop(config: Mapping[str, Any]) -> dict[str, Any]:
    """Offer ``loads`` (records/s) one after the other for ``seconds`` each; the load comes from a process of its own.

    Returns:
        One value a load: ``p50_ns``, ``p90_ns``, ``p99_ns``, ``p999_ns``, ``max_ns`` (from intended arrival to
        result; -1 where nothing was served after the warm-up), ``slope`` (backlog growth, as a part of the load),
        ``unserved``. ``data_checksum`` is that of the rows served, over and over.
    """
    system = System(config)
    series: dict[str, list[float]] = {name: [] for name in ("load", *_LATENCIES, "slope", "unserved")}
    for load in config["loads"]:
        run = system.offered(load, max(config["seconds"], 2 * MICROFLOW_ROWS / load))
        found = run.summary(WARM_UP_S)
        latencies = (getattr(found, name) if found.count else _NOTHING_SERVED for name in _LATENCIES)
        values = (load, *latencies, run.backlog_slope(WARM_UP_S), run.unserved)
        for name, value in zip(series, values, strict=True):
            series[name].append(float(value))
    return {**series, "data_checksum": system.checksum}


def matrix(profile: str) -> Matrix:
    """Every pipeline, and controls, at several offered loads."""
    loads, seconds, blocks = scale_of(_SCALES, profile)
    work = {"method": TOKENS, "loads": list(loads), "seconds": seconds}
    # A coin is no contest but in a burst, where luck may do.
    named = {name: work | {"pipeline": name} for name in HABITS if name != "coin"}
    arms = arms_by_type(["healthcare"], f"{__name__}:open_loop", named)
    return Matrix("rq1-latency", arms, blocks, timeout_s=1_200)


def _seconds(config: Mapping[str, Any]) -> float:
    loads = (max(config["seconds"], 2 * MICROFLOW_ROWS / load) for load in config["loads"])
    return 1.5 + float(config["pipeline"] in LEARNT) + float(sum(loads))


def frame(results: Results) -> Frame:
    """Latency by offered load: medians over blocks, p99 with its range, as `microflow.figures.charts` wants them.

    Loads at which some block served nothing after its warm-up have no latency and are left out. ``sustained``: in every
    block everything was served and the backlog grew by no more than `SHORT_SLOPE`.
    """
    series = ["load", "p50_ns", "p99_ns", "slope", "unserved"]
    rows = [
        (arm.config["data_type"], arm.config["pipeline"], *values)
        for arm in results.matrix.arms
        for result in results.of(arm)
        for values in zip(*(result[name] for name in series), strict=True)
    ]
    every = data_frame(rows, ["data_type", "arm", *series])
    found = every.groupby(["data_type", "arm", "load"], sort=False).agg(
        p50_ms=("p50_ns", "median"), p99_ms=("p99_ns", "median"), p99_low_ms=("p99_ns", "min"),
        p99_high_ms=("p99_ns", "max"), slope=("slope", "max"), unserved=("unserved", "max"),
    )  # fmt: skip
    found = found[found["p99_low_ms"] > 0].reset_index()
    milliseconds = ["p50_ms", "p99_ms", "p99_low_ms", "p99_high_ms"]
    found[milliseconds] /= 1e6
    found["sustained"] = (found["unserved"] == 0) & (found["slope"] <= SHORT_SLOPE)
    return found[["data_type", "arm", "load", *milliseconds, "sustained"]]


def answer(results: Results) -> Answer:
    """Latency of 99 of 100 records at the lowest load; at every load, the advantage over the best control."""
    found = frame(results)
    data_type = found["data_type"].iloc[0]
    lowest = found[(found["data_type"] == data_type) & (found["load"] == found["load"].min())]
    late = lowest.set_index("arm")["p99_ms"].to_dict()
    load = rounded(float(lowest["load"].iloc[0]))
    fill = rounded(1e3 * MICROFLOW_ROWS / float(lowest["load"].iloc[0]))
    beside = remaining(results)
    numbers = {f"rq1 {data_type} {arm} low load latency ms": rounded(value) for arm, value in late.items()}
    numbers |= {"rq1 low load": load, "rq1 fill ms": fill}
    numbers |= {f"rq1 {data_type} remains at {load:.0f}": remain.said() for load, remain in beside.items()}
    waits = " and ".join(f"{rounded(late[arm])} ms as {arm}" for arm in PIPELINES if arm in late and arm != "batch")
    batch = f"the batch's {rounded(late['batch'])} ms are" if "batch" in late else "a batch's latency is"
    sentence = (
        f"At {load} records/s 99 of 100 records are done within {waits}; {batch} a fill time, since a microflow of "
        f"{MICROFLOW_ROWS:,} takes {fill} ms to arrive. {credited('p99', _by_place(beside))}{_uncompared(results)}"
    )
    return Answer(sentence, numbers)


def remaining(results: Results) -> dict[float, Remains]:
    """Comparison by load: the hybrid's p99 beside that of the best control that served everything in every block.

    A load at which the hybrid or all others left records over has no ratio; the answer tells which.
    """
    compared = ((load, samples) for load, samples in _served_whole(results) if ADAPTIVE in samples)
    return {load: remains(samples) for load, samples in compared if len(samples) > 1}


def _served_whole(results: Results) -> list[tuple[float, dict[str, list[list[float]]]]]:
    """By load, and by those habits that served everything in every block: p99 in ms."""
    by_arm = {trial.planned.arm.config["pipeline"]: results.of(trial.planned.arm) for trial in results.trials}
    found = []
    for place, load in enumerate(by_arm[ADAPTIVE][0]["load"]):
        samples = {
            habit: [[result["p99_ns"][place] / 1e6] for result in own]
            for habit, own in by_arm.items()
            if all(result["unserved"][place] <= 0 < result["p99_ns"][place] for result in own)
        }
        found.append((float(load), samples))
    return found


def _uncompared(results: Results) -> str:
    """Sentences about loads without a ratio: who alone served everything."""
    said = ""
    for load, samples in _served_whole(results):
        if ADAPTIVE not in samples:
            others = f", and {' and '.join(map(called, samples))} did not" if samples else " as all others did"
            said += f" At {rounded(load)} records/s the hybrid left records over{others}."
        elif len(samples) == 1:
            said += f" At {rounded(load)} records/s all others left records over."
    return said


def _by_place(found: Mapping[float, Remains]) -> dict[str, Remains]:
    return {f"at {rounded(load)} records/s": remain for load, remain in found.items()}


def table(results: Results) -> Table:
    """Table of the advantage of the adaptive router at each load."""
    return remains_table(results, "p99", _by_place(remaining(results)))


def _waits(results: Results) -> Mapping[str, Estimate]:
    """p99 at the lowest load beside the batch's; at higher ones a machine may be at its end, which is no ratio."""
    lowest = {arm.name: [[result["p99_ns"][0]] for result in results.of(arm)] for arm in results.matrix.arms}
    found = {}
    for name, blocks in lowest.items():
        kind, _, arm = name.partition(": ")
        reference = lowest[f"{kind}: batch"]
        if arm != "batch" and np.min([*blocks, *reference]) > _NOTHING_SERVED:
            found[f"{kind}: p99 of {arm} beside batch"] = ratio_of(blocks, reference)
    return found


LATENCY = Experiment(
    name="rq1-latency",
    asks="How late is a record at an offered load?",
    notebook="rq1",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=_seconds,
    same=("load", "data_checksum"),
    plot=Plot(
        "latency-throughput",
        "latency",
        "Latency by offered load: p99 (marks, with the range over blocks) and p50 (thin lines) from intended arrival "
        "to result. Open marks: in some block records were left over, or the backlog grew by more than "
        f"{SHORT_SLOPE:.0%} of the load in the seconds that it was offered. "
        "A batch's latency at a low load is the time that a microflow takes to fill.",
    ),
    tables={"latency-controls": table},
    ratios=_waits,
)
