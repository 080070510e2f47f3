"""Benchmark of the engines: records per second at saturation, service times, hybrid beside the static arms.

Saturation is the pure phase on rows in memory, in a process of its own in which Polars has one thread, beside what
plain Polars needs to look for the same patterns.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.compliance import POLARS_THERE, plain_polars
from benchmarks.harness import Case, Goal, Line, compared, fixed, hand_over, in_one_thread, interleaved, measure
from microflow.anonymize.contract import Method
from microflow.datasets import generate
from microflow.engine import HybridProcessor, LocalBatchProcessor, ProcessingSpec, Processor, StormStreamProcessor
from microflow.engine.router import Costs, Router
from microflow.engine.service import Service, Workload, measured_costs
from microflow.experiments.controls import ORACLE, called, make_router, mean_latencies
from microflow.experiments.work import TOKENS, spec_of
from microflow.lab.arrivals import Schedule, poisson
from microflow.lab.open_loop import OpenLoop
from microflow.records import Microflow, microflows
from microflow.settings import MICROFLOW_ROWS, MORSEL_ROWS
from microflow.timing.clock import PhaseClock

__all__ = ["WORK", "run"]

_ROWS, _SATURATING_ROWS = 40_000, 1_000_000
#: At saturation the stream is so much slower that it gets a part of the rows.
_STREAM_PART, _ROUNDS = 100, 4
#: Healthcare records, tokenized.
WORK: dict[str, Any] = {"data_type": "healthcare", "method": TOKENS, "seed": 1}
_BATCH = "batch, tokenization"
_POLARS = "plain Polars, check only, whole table"
#: In records/s: for every method on a core as good as `POLARS_THERE`, and for the stream on any.
_BATCH_GOAL, _STREAM_GOAL = 1.5e6, Goal(1e5, of_ratio=False)
_SERVICE_GOAL_US = 50
#: A record at a time takes a while.
_STREAM_FLOWS = 5
#: Offered loads: parts of the stream's capacity, then parts of the way (on a logarithmic scale) from there to batch's.
_BELOW, _BETWEEN = (0.1, 0.45), (0.33, 0.67)
_SECONDS = 0.3
#: Below half of the stream's capacity the hybrid may be this much slower; above it must beat both static arms.
_CALM_GOAL, _BUSY_GOAL, _BURST_GOAL = Goal(1.25, at_least=False), Goal(1.0, at_least=False), Goal(1.5, at_least=False)


def run(rows: int | None = None) -> list[Line]:
    """Rates at saturation, service times, the hybrid by offered load and under a burst."""
    flows = list(microflows(batch.rows for batch in generate("healthcare", rows or _ROWS, seed=1)))
    service = Service(spec_of(WORK), Workload(pa.concat_batches([flow.rows for flow in flows[:20]])))
    costs = measured_costs(service)
    lines = in_one_thread(__name__, rows or _SATURATING_ROWS)
    return [*lines, *_service_times(flows), *_by_load(service, costs), *_burst(costs)]


def _saturation(rows: int) -> list[Line]:
    """Every method on batch, then the other pipelines."""
    table = pa.Table.from_batches([batch.rows for batch in generate("healthcare", rows, seed=1)])
    flows = list(microflows(table.to_batches()))
    _refuse_unequal(flows[:3])
    spec, few = spec_of(WORK), flows[: max(len(flows) // _STREAM_PART, 1)]
    arms: list[tuple[str, Processor, Sequence[Microflow], str, Goal | None]] = [
        *((f"batch, {method}", LocalBatchProcessor(_spec(method)), flows, _POLARS, None) for method in Method),
        ("stream, tokenization", StormStreamProcessor(spec), few, _BATCH, _STREAM_GOAL),
        ("hybrid, tokenization", HybridProcessor(spec), flows, _BATCH, Goal(0.9)),
    ]
    cases = [
        Case(_POLARS, plain_polars(spec.policy, spec.schema, [table])),
        *(
            Case(name, partial(_pure_rate, processor, some), reference=reference, goal=goal, timed=True)
            for name, processor, some, reference, goal in arms
        ),
    ]
    lines = measure(cases, rounds=_ROUNDS, warmups=0)
    return [*lines, *(_on_another(line) for line in lines if line.reference == _POLARS)]


def _spec(method: Method) -> ProcessingSpec:
    return spec_of(WORK | {"method": {"method": method}})


def _on_another(line: Line) -> Line:
    """The same by its ratio, on the core that the goal is for."""
    assert line.ratio is not None
    return fixed(
        f"{line.name}, where plain Polars does 3.5 M/s", line.ratio * POLARS_THERE, "records/s", at_least=_BATCH_GOAL
    )


def _refuse_unequal(flows: Sequence[Microflow]) -> None:
    """Nothing is timed before the answers agree."""
    answers = [
        [
            (done.released.to_pylist(), done.suppressed.tolist())
            for done in engine(spec_of(WORK)).process(flows, PhaseClock())
        ]
        for engine in (LocalBatchProcessor, StormStreamProcessor, HybridProcessor)
    ]
    assert answers[0] == answers[1] == answers[2], "the engines release different rows: there is nothing to compare"


def _pure_rate(processor: Processor, flows: Iterable[Microflow]) -> float:
    """Records per second of pure processing."""
    clock = PhaseClock()
    rows = sum(done.rows_in for done in processor.process(flows, clock))
    return rows / clock.pure_ns * 1e9


def _service_times(flows: Sequence[Microflow]) -> list[Line]:
    """One record's service; the delay that CASTLE adds is company waited for, in records, not time of the server."""
    lines = []
    for method in (Method.TOKENIZATION, Method.K_ANONYMITY):
        stream = StormStreamProcessor(_spec(method))
        delays = [
            flow.first_row + flow.rows_in - 1 - flow.ordinals
            for flow in stream.process(flows[:_STREAM_FLOWS], PhaseClock())
        ]
        p99_us = stream.service.summary().p99_ns / 1e3
        goal = _SERVICE_GOAL_US if method is Method.TOKENIZATION else None
        lines.append(fixed(f"stream, {method}: service time p99", p99_us, "µs", at_most=goal))
        if method is Method.K_ANONYMITY:
            median = float(np.median(np.concatenate(delays)))
            lines.append(fixed("stream, k_anonymity: median delay (CASTLE)", median, "records"))
    return lines


def _by_load(service: Service, costs: Costs) -> list[Line]:
    """p99 from intended arrival to result, at loads from light to saturated."""
    stream, batch = 1e9 / costs.single, MORSEL_ROWS * 1e9 / costs.together(MORSEL_ROWS)
    calm = {f"{share:.0%} of stream's capacity": share * stream for share in _BELOW}
    busy = {f"{share:.0%} of the way to batch's": stream * (batch / stream) ** share for share in _BETWEEN}
    lines = []
    for name, load in (calm | busy).items():
        # At a light load the wait for a microflow to fill dominates, and the arms lie closer to each other than the
        # wake-ups of a load generator on a shared machine vary: there are more rounds.
        static, rounds = (["stream"], 31) if name in calm else (["stream", "batch"], 3)
        # All arms are offered the same arrivals.
        schedule = poisson(load, max(_SECONDS, 4 * MICROFLOW_ROWS / load), seed=1)
        arms = {
            arm: partial(_p99_us, schedule, partial(make_router, arm, costs, 1), service, hurried=name in calm)
            for arm in (*static, "hybrid")
        }
        p99 = interleaved(arms, rounds=rounds)
        best = min(static, key=lambda arm: float(np.median(p99[arm])))
        named = {f"p99 at {name}, {arm}": samples for arm, samples in p99.items()}
        lines += [compared(f"p99 at {name}, {arm}", named, unit="µs") for arm in static]
        goal = _CALM_GOAL if name in calm else _BUSY_GOAL
        lines.append(compared(f"p99 at {name}, hybrid", named, f"p99 at {name}, {best}", goal, "µs"))
    return lines


def _p99_us(schedule: Schedule, make: Callable[[], Router], service: Service, *, hurried: bool) -> float:
    loop = OpenLoop(schedule, give_up_s=1.0)
    run = (loop.hurry if hurried else loop.run)(make(), service, service.flush)
    return run.summary(warm_up_s=min(0.1, schedule[-1] / 4e9)).p99_ns / 1e3


def _burst(costs: Costs) -> list[Line]:
    """Ten times the load for a while, in simulated time with the costs just measured, against who knows the future."""
    stream = 1e9 / costs.single
    calm, peak = poisson(0.4 * stream, 0.02, seed=1), poisson(4 * stream, 0.01, seed=2)
    schedule = np.concatenate([calm, peak + 20_000_000, calm + 30_000_000])
    means = mean_latencies(schedule, costs, seed=1)
    mean = {f"burst, {called(habit)}: mean latency": np.array([ns / 1e3]) for habit, ns in means.items()}
    reference = f"burst, {ORACLE}: mean latency"
    return [compared(name, mean, reference, _BURST_GOAL if "hybrid" in name else None, "µs") for name in mean]


if __name__ == "__main__":
    hand_over(_saturation(int(sys.argv[1])))
