"""Capacity of a pipeline: the time of a whole job on N cores, and the latency at an offered load.

A job's time is

    seconds(rows, workers) = start + rows · (serial + parallel / workers)

``start`` is what a job costs before its first row, ``serial`` what a row costs whatever the number of workers, and
``parallel`` what workers share (Amdahl 1967; the universal scalability law without its coherence term, which two worker
counts cannot determine). Latency is simulated: one server serves what a router hands it, with service times measured
here and now on the same kernels. The simulation is the one that the experiment RQ-1 holds against real time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from microflow.assess.attacks import Z_95
from microflow.engine import ProcessingSpec
from microflow.engine.router import AdaptiveRouter, Costs, Router, StaticRouter
from microflow.engine.service import Service, Workload, measured_costs
from microflow.lab.arrivals import poisson
from microflow.lab.open_loop import simulate
from microflow.settings import MICROFLOW_ROWS

__all__ = [
    "ArchitectureLatency", "Capacity", "Observed", "Prediction", "compare_architectures", "fit", "preferred",
]  # fmt: skip

#: Repeated runs of one job scatter by so much at least, whatever a few of them show.
_LEAST_SCATTER = 0.05


@dataclass(frozen=True, slots=True)
class Observed:
    """A job that was run: its rows, its workers, its seconds from start to end."""

    rows: int
    workers: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """Predicted seconds with a 95 % interval; flagged if more workers were asked for than any job ran with."""

    seconds: float
    low: float
    high: float
    is_extrapolated: bool


@dataclass(frozen=True)
class Capacity:
    """The fitted law: seconds before the first row, and a row's seconds that workers cannot and can share.

    ``scatter`` is the relative standard error of a job's time, ``most_workers`` the largest number that was observed.
    """

    start: float
    serial: float
    parallel: float
    scatter: float
    most_workers: int

    def seconds(self, rows: float, workers: int = 1) -> Prediction:
        """The time of a job of ``rows`` rows on ``workers`` workers.

        Beyond the observed number of workers the interval also holds the case in which more of them bring nothing.

        >>> round(Capacity(0.5, 1e-6, 3e-6, 0.05, 2).seconds(1_000_000, 2).seconds, 2)
        3.0
        """
        value = self.start + rows * (self.serial + self.parallel / workers)
        half = Z_95 * self.scatter
        low, high = value * math.exp(-half), value * math.exp(half)
        if workers > self.most_workers:
            high = (self.start + rows * (self.serial + self.parallel / self.most_workers)) * math.exp(half)
        return Prediction(value, low, high, workers > self.most_workers)


def fit(observed: Sequence[Observed], *, least_parallel: float = 0.0) -> Capacity:
    """Fit the law to jobs of at least two sizes, by non-negative least squares on relative errors.

    Args:
        observed: Jobs that were timed.
        least_parallel: Seconds that workers are known to share a row at least: its pure processing. Without it, jobs
            that were disturbed on a busy machine may fit a row that costs nothing, and any deadline would be met.

    Raises:
        ValueError: all jobs have the same size.

    >>> law = Capacity(0.5, 1e-6, 3e-6, 0.05, 2)
    >>> runs = [(rows, workers) for rows in (10_000, 1_000_000) for workers in (1, 2)]
    >>> jobs = [Observed(*run, law.seconds(*run).seconds) for run in runs]
    >>> [round(float(part) * 1e6, 3) for part in (fit(jobs).serial, fit(jobs).parallel)]
    [1.0, 3.0]
    """
    if len({run.rows for run in observed}) < 2:  # noqa: PLR2004 - a start and a slope
        raise ValueError("jobs of two sizes at least are needed")
    from scipy.optimize import nnls

    design = np.array([[1.0, run.rows, run.rows / run.workers] for run in observed])
    design /= np.array([[run.seconds] for run in observed])
    scale = np.linalg.norm(design, axis=0)
    parts, error = nnls(design / scale, 1 - least_parallel * design[:, 2])
    start, serial, above = map(float, parts / scale)
    scatter = max(error / math.sqrt(max(len(observed) - 3, 1)), _LEAST_SCATTER)
    return Capacity(start, serial, least_parallel + above, scatter, max(run.workers for run in observed))


_ARRIVALS = 20_000
#: A backlog that grows by more than this part of the load is not sustained (Theodolite).
_GROWTH = 0.01


@dataclass(frozen=True, slots=True)
class ArchitectureLatency:
    """The latency, from a record's arrival, of ``batch``, ``stream`` or ``hybrid`` where ``rate`` records/s arrive.

    ``is_sustained`` says whether the backlog does not grow.
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
        summary, keeps_up = run.summary(), run.unserved == 0 and run.backlog_slope() <= _GROWTH
        found.append(ArchitectureLatency(pipeline, rate, summary.p50_ns / 1e6, summary.p99_ns / 1e6, keeps_up))
    return found


def preferred(found: Sequence[ArchitectureLatency], latency_ms: float | None) -> ArchitectureLatency | None:
    """The pipeline that keeps up and has the lowest 99th percentile; ``None`` where none is within ``latency_ms``."""
    able = [run for run in found if run.is_sustained and (latency_ms is None or run.p99_ms <= latency_ms)]
    return min(able, key=lambda run: run.p99_ms, default=None)
