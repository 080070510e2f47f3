"""Batch, stream or hybrid for records that arrive at a given rate: the latency of each, by simulated queueing.

One server serves what a router hands it; service times are those measured here and now on the same kernels. The
simulation is the one that the experiment RQ-1 holds against real time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from microflow.engine import ProcessingSpec
from microflow.engine.costs import Costs
from microflow.engine.live import Service, Workload, measured_costs
from microflow.engine.router import AdaptiveRouter, Router, StaticRouter
from microflow.lab.arrivals import poisson
from microflow.lab.oracle import simulate
from microflow.settings import MICROFLOW_ROWS

__all__ = ["ArchitectureLatency", "compare_architectures", "preferred"]

_ARRIVALS = 20_000
#: A backlog that grows by more than this part of the load is not sustained (Theodolite).
_GROWTH = 0.01


@dataclass(frozen=True, slots=True)
class ArchitectureLatency:
    """What a pipeline does at one offered load.

    Attributes:
        pipeline: ``batch``, ``stream`` or ``hybrid``.
        rate: Records/s that arrive.
        p50_ms: Half of the records are done within so many milliseconds of their arrival.
        p99_ms: 99 of 100 records are.
        is_sustained: Whether the backlog does not grow.
    """

    pipeline: str
    rate: float
    p50_ms: float
    p99_ms: float
    is_sustained: bool


def compare_architectures(
    spec: ProcessingSpec, rows: pa.RecordBatch, rate: float, *, costs: Costs | None = None
) -> list[ArchitectureLatency]:
    """Simulate Poisson arrivals at ``rate`` records/s for the three pipelines.

    ``costs`` are those measured on ``rows`` unless given.
    """
    costs = costs or measured_costs(Service(spec, Workload(rows)))
    # Long enough for a hundred full microflows, where arrivals are quick enough for any to fill.
    arrivals = min(max(_ARRIVALS, round(rate)), 30 * _ARRIVALS)
    schedule = poisson(rate, arrivals / rate, seed=1)
    routers: dict[str, Router] = {
        "batch": StaticRouter(MICROFLOW_ROWS),
        "stream": StaticRouter(1),
        "hybrid": AdaptiveRouter(costs=costs),
    }
    found = []
    for pipeline, router in routers.items():
        run = simulate(schedule, router, costs)
        summary = run.summary()
        sustained = run.unserved == 0 and run.backlog_slope() <= _GROWTH
        found.append(ArchitectureLatency(pipeline, rate, summary.p50_ns / 1e6, summary.p99_ns / 1e6, sustained))
    return found


def preferred(found: Sequence[ArchitectureLatency], latency_ms: float | None) -> ArchitectureLatency | None:
    """The pipeline that keeps up and has the lowest 99th percentile; ``None`` where none is within ``latency_ms``."""
    able = [one for one in found if one.is_sustained and (latency_ms is None or one.p99_ms <= latency_ms)]
    return min(able, key=lambda one: one.p99_ms, default=None)
