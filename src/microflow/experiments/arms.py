"""What trials of RQ-1, RQ-2 and scalability do: functions from a configuration to measurements, for fresh processes.

Every function generates its own data, so that a trial reads no file, and tokens get a key that anybody can compute
from the seed: the arms of a block must release equal rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.experiments.sources import DataChecksum, data_checksum, source
from microflow.processors import ProcessingSpec, build_processor
from microflow.processors.live import Service, Workload, measured_costs, serve_open_loop
from microflow.processors.router import AdaptiveRouter, Router, StaticRouter
from microflow.settings import MICROFLOW_ROWS
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard
from microflow.timing.open_loop import OpenLoopRun
from microflow.timing.schedules import bursts, poisson
from microflow.timing.sustainable import Objective, Probe, find_sustainable, judge

__all__ = ["burst", "open_loop", "row_digest", "spec_of", "sustainable", "throughput", "volume"]

_SERVED_ROWS = 20_000
_WARM_UP_S = 0.2
_SLICE_NS = 50_000_000
_LATENCIES = ("p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns")


def spec_of(config: Mapping[str, Any]) -> ProcessingSpec:
    """The work of a configuration: ``data_type``, ``method`` (fields of `MethodSettings`) and ``seed``."""
    schema = load_schema(config["data_type"])
    named = config["method"]
    method = MethodSettings(**{**named, "method": Method(named["method"]), "seed": config["seed"]})
    # SHA-512 of a fixed text: 512 bits, of which shorter keys take the first.
    key = hashlib.sha512(f"microflow experiment {config['seed']}".encode()).digest()[: method.key_bits // 8]
    return ProcessingSpec(schema, load_policy(schema.policy), method, key=key)


def throughput(config: Mapping[str, Any]) -> dict[str, Any]:
    """``passes`` passes over the same ``rows`` rows in memory, on ``pipeline`` and ``engine``.

    Returns:
        ``samples``: pure nanoseconds per record, one value a pass; on several workers, of the busiest one.
        ``pure``: whether the guard saw memory only; ``evidence``: what it saw in each pass, of bystanders' threads
        too, which ``pure`` leaves out. ``violations``, and checksums: of the output only where ``released_alike`` says
        that all arms must release the same rows.
    """
    spec, flows = spec_of(config), list(source(config, config["rows"]))
    samples, digest, violations, evidence = [], 0, 0, []
    for _ in range(config["passes"]):
        processor = build_processor(spec, config["pipeline"], config["engine"])
        guard = PurityGuard()
        clock = PhaseClock(guard)
        digest = violations = 0
        for done in processor.process(flows, clock):
            with clock.pause():
                digest ^= row_digest(done.released, done.ordinals)
                violations += len(done.findings)
        report = clock.report()
        samples.append((report.pure_ns - report.overlap_ns) / config["rows"])
        evidence.append(guard.evidence)
    return {
        "samples": samples,
        "pure": all(one.is_pure for one in evidence),
        "evidence": [asdict(one) for one in evidence],
        "violations": violations,
        "data_checksum": data_checksum(flows),
        "output_checksum": f"{digest:016x}" if config["released_alike"] else None,
    }


def volume(config: Mapping[str, Any]) -> dict[str, Any]:
    """One pass over ``rows`` rows that are generated as they are read, so that memory shows what the engine holds.

    Returns:
        ``samples``: pure seconds, one value. ``evidence``: what the guard saw. ``data_checksum``: of the input, taken
        as it is read. The process's peak memory is in the trial's usage.
    """
    guard, checksum, rows = PurityGuard(), DataChecksum(), 0
    clock = PhaseClock(guard)
    flows = checksum.passing(source(config, config["rows"]))
    for done in build_processor(spec_of(config), config["pipeline"], config["engine"]).process(flows, clock):
        rows += done.rows_in
    report = clock.report()
    return {
        "samples": [(report.pure_ns - report.overlap_ns) / 1e9],
        "rows_processed": rows,
        "evidence": asdict(guard.evidence),
        "data_checksum": checksum.hexdigest(),
    }


def open_loop(config: Mapping[str, Any]) -> dict[str, Any]:
    """Offer ``loads`` (records/s) one after the other for ``seconds`` each; the load comes from a process of its own.

    Returns:
        One value a load: ``p50_ns``, ``p90_ns``, ``p99_ns``, ``p999_ns``, ``max_ns`` (from intended arrival to
        result; -1 where nothing was served after the warm-up), ``slope`` (backlog growth, as a part of the load),
        ``unserved``. ``data_checksum`` is that of the rows served, over and over.
    """
    spec, (workload, checksum) = spec_of(config), _workload(config)
    series: dict[str, list[float]] = {name: [] for name in ("load", *_LATENCIES, "slope", "unserved")}
    for load in config["loads"]:
        schedule = poisson(load, max(config["seconds"], 2 * MICROFLOW_ROWS / load), config["seed"])
        run = serve_open_loop(schedule, _router(config, spec, workload), Service(spec, workload), give_up_s=1.0)
        found = run.summary(_WARM_UP_S)
        latencies = (getattr(found, name) if found.count else -1 for name in _LATENCIES)
        values = (load, *latencies, run.backlog_slope(_WARM_UP_S), run.unserved)
        for name, value in zip(series, values, strict=True):
            series[name].append(float(value))
    return {**series, "data_checksum": checksum}


def sustainable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bisect between the loads ``low`` and ``high`` (records/s) for the highest that ``pipeline`` keeps up with.

    Every load is offered for ``seconds``; it is sustained with a p99 of at most ``p99_ms`` and a backlog that grows by
    at most ``slope`` of it.

    Returns:
        ``rate`` (0 where not even ``low`` was sustained), ``bounded`` (false where even ``high`` was), ``probes``.
    """
    spec, (workload, checksum) = spec_of(config), _workload(config)
    objective = Objective(round(config["p99_ms"] * 1e6), config["slope"])

    def attempt(load: float) -> Probe:
        schedule = poisson(load, config["seconds"], config["seed"])
        run = serve_open_loop(schedule, _router(config, spec, workload), Service(spec, workload), give_up_s=1.0)
        return judge(run, load, objective, warm_up_s=_WARM_UP_S)

    found = find_sustainable(attempt, config["low"], config["high"])
    return {**asdict(found), "data_checksum": checksum}


def burst(config: Mapping[str, Any]) -> dict[str, Any]:
    """A calm load of ``rate`` with bursts of ``peak_rate`` for a fifth of each second, for ``seconds``.

    Returns:
        One value a slice of 50 ms: ``time_s``, ``offered`` (records/s), ``size`` (median records served at once),
        ``p99_ns``; ``reasons`` counts why records went the way they went; ``data_checksum``.
    """
    spec, (workload, checksum) = spec_of(config), _workload(config)
    schedule = bursts(config["rate"], config["peak_rate"], config["seconds"], config["seed"])
    router = _Watched(_router(config, spec, workload))
    run = serve_open_loop(schedule, router, Service(spec, workload))
    return {
        **_slices(run, np.repeat(router.sizes, router.sizes)),
        "reasons": dict(router.reasons),
        "data_checksum": checksum,
    }


class _Watched:
    """A router that remembers how many records it had served at once, in the order of service."""

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


def _router(config: Mapping[str, Any], spec: ProcessingSpec, workload: Workload) -> Router:
    if config["pipeline"] == "hybrid":
        return AdaptiveRouter(costs=measured_costs(Service(spec, workload)))
    return StaticRouter(1 if config["pipeline"] == "stream" else MICROFLOW_ROWS)


def _workload(config: Mapping[str, Any]) -> tuple[Workload, str]:
    """What is served over and over, and the checksum of it."""
    flows = list(source(config, _SERVED_ROWS))
    return Workload(pa.concat_batches([flow.rows for flow in flows])), data_checksum(flows)


def row_digest(released: pa.RecordBatch, ordinals: npt.NDArray[np.int64]) -> int:
    """A number that changes with any value, name or ordinal, and not with the order in which rows are released."""
    frame = pl.DataFrame(pl.from_arrow(released)).with_columns(_ordinal=pl.Series(ordinals))
    return int(frame.hash_rows(seed=1).sum()) if frame.height else 0
