"""Offered load: how late is a record at a load, and what happens in a burst?

Records come when they come (an open loop), from a process of their own, and latency counts from when a record was due.
The rows that are served are held in both forms, as Arrow and as mappings, so that conversion is in no arm's time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from microflow.engine import PIPELINES
from microflow.engine.router import AdaptiveRouter, Router, StaticRouter
from microflow.engine.service import Service, Workload, measured_costs
from microflow.experiments.work import TOKENS, arms_by_type, data_checksum, source, spec_of
from microflow.lab.arrivals import bursts as burst_schedule
from microflow.lab.arrivals import poisson
from microflow.lab.experiment import Experiment, Matrix, Plot, scale_of
from microflow.lab.open_loop import Objective, OpenLoop, OpenLoopRun
from microflow.lab.report import Answer, rounded
from microflow.settings import MICROFLOW_ROWS, MORSEL_ROWS

if TYPE_CHECKING:
    import pandas as pd

    from microflow.lab.results import Results
    from microflow.lab.statistics import Estimate

__all__ = ["BURSTS", "LATENCY", "SHORT_SLOPE", "WARM_UP_S", "System", "burst", "open_loop"]

#: A load that is offered for some seconds only shows no smaller growth of its backlog than this part of it.
SHORT_SLOPE = 0.05

_SERVED_ROWS = 20_000
WARM_UP_S = 0.2
_SLICE_NS = 50_000_000
#: A system that is this far behind the last arrival has failed.
_GIVE_UP_S = 1.0
#: Saturation: so many records wait all the time, for so long.
_BACKLOG, _SATURATED_NS = 10 * MORSEL_ROWS, 1_000_000_000
_LATENCIES = ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")
_NOTHING_SERVED = -1.0


@dataclass(frozen=True, slots=True)
class _Scale:
    """``seconds`` are those of each load."""

    loads: tuple[int, ...]
    seconds: float
    blocks: int
    burst_s: float
    burst_blocks: int


_SCALES = {
    "smoke": _Scale((4_000, 16_000), 0.4, 1, 1.0, 1),
    "quick": _Scale((2_000, 16_000, 128_000), 0.6, 1, 2.0, 1),
    "paper": _Scale((1_000, 8_000, 32_000, 64_000, 256_000), 4.0, 5, 6.0, 5),
}
_TYPES = ("healthcare",)


class System:
    """What is offered a load: a pipeline's service and the router that is its habit."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        spec, flows = spec_of(config), list(source(config, _SERVED_ROWS))
        self.checksum = data_checksum(flows)
        self._config, self._spec = config, spec
        self._workload = Workload(pa.concat_batches([flow.rows for flow in flows]))
        self._costs = measured_costs(self.service()) if config["pipeline"] == "hybrid" else None

    def service(self) -> Service:
        """A new one, on the same rows."""
        return Service(self._spec, self._workload)

    def router(self) -> Router:
        """A new one: it owns the queue."""
        if self._config["pipeline"] == "hybrid":
            return AdaptiveRouter(costs=self._costs)
        return StaticRouter(1 if self._config["pipeline"] == "stream" else MICROFLOW_ROWS)

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


def burst(config: Mapping[str, Any]) -> dict[str, Any]:
    """A base load of ``rate`` with bursts of ``peak_rate`` for a fifth of each second, for ``seconds``.

    Returns:
        One value a slice of 50 ms: ``time_s``, ``offered`` (records/s), ``size`` (median records served at once),
        ``p99_ns``; ``reasons`` counts why records went the way they went; ``data_checksum``.
    """
    system = System(config)
    schedule = burst_schedule(config["rate"], config["peak_rate"], config["seconds"], config["seed"])
    router = _Watched(system.router())
    service = system.service()
    run = OpenLoop(schedule).run(router, service, service.flush)
    return {
        **_slices(run, np.repeat(router.sizes, router.sizes)),
        "reasons": dict(router.reasons),
        "data_checksum": system.checksum,
    }


class _Watched:
    """A router that records how many records it had served at once, in the order of service."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self.sizes: list[int] = []
        self.reasons = router.reasons
        self.wanted = router.wanted

    def route(self, arrived: int) -> Any:
        found = self._router.route(arrived)
        if found is not None:
            self.sizes.append(len(found.records))
        return found

    def observe(self, route: Any, ns: int) -> None:
        self._router.observe(route, ns)


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


def latency_matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Every pipeline at several offered loads."""
    scale = scale_of(_SCALES, profile)
    work = {"method": TOKENS, "loads": list(scale.loads), "seconds": scale.seconds}
    named = {name: work | {"pipeline": name} for name in PIPELINES}
    arms = arms_by_type(_TYPES, f"{__name__}:open_loop", named)
    return Matrix("rq1-latency", arms, scale.blocks, seed, timeout_s=1_200)


def _latency_seconds(config: Mapping[str, Any]) -> float:
    loads = (max(config["seconds"], 2 * MICROFLOW_ROWS / load) for load in config["loads"])
    return 1.5 + float(config["pipeline"] == "hybrid") + float(sum(loads))


def latency_frame(results: Results) -> pd.DataFrame:
    """Latency by offered load: medians over blocks, p99 with its range, as `microflow.figures.charts` wants them.

    Loads at which some block served nothing after its warm-up have no latency and are left out. ``sustained``: in every
    block everything was served and the backlog grew by no more than `SHORT_SLOPE`.
    """
    import pandas as pd

    rows = [
        (trial.planned.arm.config["data_type"], trial.planned.arm.config["pipeline"], *values)
        for trial in sorted(results.trials, key=lambda trial: results.matrix.arms.index(trial.planned.arm))
        for values in zip(
            *(trial.run.result[name] for name in ("load", "p50_ns", "p99_ns", "slope", "unserved")), strict=True
        )
    ]
    frame = pd.DataFrame(rows, columns=["data_type", "arm", "load", "p50", "p99", "slope", "unserved"])
    found = frame.groupby(["data_type", "arm", "load"], sort=False).agg(
        worst=("p99", "min"), p50=("p50", "median"), p99=("p99", "median"), low=("p99", "min"), high=("p99", "max"),
        slope=("slope", "max"), unserved=("unserved", "max"),
    )  # fmt: skip
    found = found[found["worst"] > 0].reset_index()
    milliseconds = {"p50": "p50_ms", "p99": "p99_ms", "low": "p99_low_ms", "high": "p99_high_ms"}
    for name, in_ms in milliseconds.items():
        found[in_ms] = found[name] / 1e6
    found["sustained"] = (found["unserved"] == 0) & (found["slope"] <= SHORT_SLOPE)
    return found[["data_type", "arm", "load", *milliseconds.values(), "sustained"]]


def latency_answer(results: Results) -> Answer:
    """How late 99 of 100 records are at the lowest load; a batch waits until it is full."""
    found = latency_frame(results)
    data_type = found["data_type"].iloc[0]
    lowest = found[(found["data_type"] == data_type) & (found["load"] == found["load"].min())]
    late = lowest.set_index("arm")["p99_ms"].to_dict()
    load = rounded(float(lowest["load"].iloc[0]))
    fill = rounded(1e3 * MICROFLOW_ROWS / float(lowest["load"].iloc[0]))
    numbers = {f"rq1 {data_type} {arm} low load latency ms": rounded(value) for arm, value in late.items()}
    numbers |= {"rq1 low load": load, "rq1 fill ms": fill}
    waits = " and ".join(f"{rounded(late[arm])} ms as {arm}" for arm in PIPELINES if arm in late and arm != "batch")
    batch = f"the batch's {rounded(late['batch'])} ms are" if "batch" in late else "a batch's latency is"
    sentence = (
        f"At {load} records/s 99 of 100 records are done within {waits}; {batch} a fill time, since a microflow of "
        f"{MICROFLOW_ROWS:,} takes {fill} ms to arrive."
    )
    return Answer(sentence, numbers)


def _waits(results: Results) -> Mapping[str, Estimate]:
    """p99 at the lowest load beside the batch's; at higher ones a machine may be at its end, which is no ratio."""
    from microflow.lab.statistics import ratio_of

    lowest: dict[str, list[list[float]]] = {}
    for trial in sorted(results.trials, key=lambda trial: trial.planned.block):
        lowest.setdefault(trial.planned.arm.name, []).append([trial.run.result["p99_ns"][0]])
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
    matrix=latency_matrix,
    frame=latency_frame,
    answer=latency_answer,
    seconds=_latency_seconds,
    same=("load", "data_checksum"),
    plot=Plot(
        "latency-throughput",
        "latency",
        "Latency by offered load: p99 (marks, with the range over blocks) and p50 (thin lines) from intended arrival "
        "to result. Open marks: in some block records were left over, or the backlog grew by more than "
        f"{SHORT_SLOPE:.0%} of the load in the seconds that it was offered. "
        "A batch's latency at a low load is the time that a microflow takes to fill.",
    ),
    ratios=_waits,
)


def burst_matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Every pipeline under a load that jumps tenfold for a fifth of each second."""
    scale = scale_of(_SCALES, profile)
    work = {"method": TOKENS, "rate": 12_000, "peak_rate": 120_000, "seconds": scale.burst_s}
    named = {name: work | {"pipeline": name} for name in PIPELINES}
    return Matrix("rq1-bursts", arms_by_type(_TYPES, f"{__name__}:burst", named), scale.burst_blocks, seed)


def burst_frame(results: Results) -> pd.DataFrame:
    """What arrived in the first block and how it was served, slice by slice, as `microflow.figures.charts` wants it."""
    import pandas as pd

    first = [trial for trial in results.trials if trial.planned.block == 0]
    frames = [
        pd.DataFrame({name: trial.run.result[name] for name in ("time_s", "offered", "size", "p99_ns")}).assign(
            arm=trial.planned.arm.config["pipeline"]
        )
        for trial in sorted(first, key=lambda trial: PIPELINES.index(trial.planned.arm.config["pipeline"]))
    ]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(p99_ms=frame["p99_ns"] / 1e6).drop(columns="p99_ns")


def burst_answer(results: Results) -> Answer:
    """The slices' p99 by pipeline: the median slice, and the worst."""
    worst: dict[str, list[list[float]]] = {}
    for trial in results.trials:
        p99 = np.asarray(trial.run.result["p99_ns"]) / 1e6
        worst.setdefault(trial.planned.arm.config["pipeline"], []).append([float(np.median(p99)), float(p99.max())])
    medians = {name: np.median(worst[name], axis=0) for name in PIPELINES if name in worst}
    numbers = {f"rq1 burst {name} worst ms": rounded(float(values[1])) for name, values in medians.items()}
    said = "; ".join(f"{name} {rounded(float(a))} and {rounded(float(b))} ms" for name, (a, b) in medians.items())
    config = results.matrix.arms[0].config
    return Answer(
        f"Under a load that jumps from {rounded(config['rate'])} to {rounded(config['peak_rate'])} records/s for a "
        f"fifth of each second, the p99 of the median and of the worst 50 ms is: {said}.",
        numbers,
    )


BURSTS = Experiment(
    name="rq1-bursts",
    asks="What happens in a burst?",
    notebook="rq1",
    matrix=burst_matrix,
    frame=burst_frame,
    answer=burst_answer,
    seconds=lambda config: 0.7 + (config["pipeline"] == "hybrid") + float(config["seconds"]),
    same=("data_checksum",),
    plot=Plot(
        "hybrid-burst",
        "burst",
        "What the hybrid decides while the load jumps tenfold, and the latency of all three pipelines under it (first "
        "block).",
    ),
)
