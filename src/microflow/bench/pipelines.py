"""Benchmark of the engines: records per second at saturation, service times, hybrid beside the static arms.

Saturation is the pure phase on rows in memory, in a process of its own in which Polars has one thread, beside what
plain Polars needs to look for the same patterns.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.bench.compliance import POLARS_THERE, plain_polars
from microflow.bench.harness import Case, Goal, Line, compared, fixed, hand_over, in_one_thread, rate
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine import HybridProcessor, LocalBatchProcessor, ProcessingSpec, Processor, StormStreamProcessor
from microflow.engine.router import AdaptiveRouter, Costs, NaturalRouter, RandomRouter, Router, StaticRouter
from microflow.engine.service import Service, Workload, measured_costs
from microflow.lab.arrivals import Schedule, poisson
from microflow.lab.open_loop import OpenLoop
from microflow.lab.oracle import oracle, simulate
from microflow.lab.trials import interleaved
from microflow.records import Microflow, microflows
from microflow.settings import MICROFLOW_ROWS, MORSEL_ROWS
from microflow.timing.clock import PhaseClock

__all__ = ["run", "spec_of"]

_ROWS, _SATURATING_ROWS = 40_000, 1_000_000
#: At saturation the stream is so much slower that it gets a part of the rows.
_STREAM_PART, _ROUNDS = 100, 4
_KEY = hashlib.sha512(b"microflow bench").digest()
_POLARS = "plain Polars, check only, whole table"
#: In records/s: for every method on a core as good as `POLARS_THERE`, and for the stream on any.
_BATCH_GOAL, _STREAM_GOAL = 1.5e6, Goal(1e5, of_ratio=False)
_SERVICE_GOAL_US = 50
#: A record at a time takes a while.
_STREAM_FLOWS = 5
#: Offered loads: parts of the stream's capacity, then parts of the way (on a logarithmic scale) from there to batch's.
_BELOW, _BETWEEN = (0.1, 0.45), (0.33, 0.67)
_SECONDS = 0.3
_STATIC: dict[str, Callable[[], Router]] = {"stream": lambda: StaticRouter(1), "batch": lambda: StaticRouter(1_000)}

#: Below half of the stream's capacity the hybrid may be this much slower; above it must beat both static arms.
_CALM_GOAL, _BUSY_GOAL, _BURST_GOAL = Goal(1.25, at_least=False), Goal(1.0, at_least=False), Goal(1.5, at_least=False)


def run(rows: int | None = None) -> list[Line]:
    """Rates at saturation, service times, the hybrid by offered load and under a burst."""
    flows = list(microflows(batch.rows for batch in generate("healthcare", rows or _ROWS, seed=1)))
    service = Service(spec_of(), Workload(pa.concat_batches([flow.rows for flow in flows[:20]])))
    costs = measured_costs(service)
    lines = in_one_thread(__name__, rows or _SATURATING_ROWS)
    return [*lines, *_service_times(flows), *_by_load(service, costs), *_burst(costs)]


def spec_of(method: Method = Method.TOKENIZATION) -> ProcessingSpec:
    """The work: healthcare records under their own policy, with a key that anybody can compute."""
    schema, settings = load_schema("healthcare"), MethodSettings(method, seed=1)
    return ProcessingSpec(schema, load_policy(schema.policy), settings, key=_KEY[: settings.key_bits // 8])


def _saturation(rows: int) -> list[Line]:
    """Every method on batch, then the other pipelines."""
    table = pa.Table.from_batches([batch.rows for batch in generate("healthcare", rows, seed=1)])
    flows = list(microflows(table.to_batches()))
    _refuse_unequal(flows[:3])
    spec, few = spec_of(), flows[: max(len(flows) // _STREAM_PART, 1)]
    processors: dict[str, tuple[Processor, Sequence[Microflow]]] = {
        f"batch, {method}": (LocalBatchProcessor(spec_of(method)), flows) for method in Method
    }
    processors["stream, tokenization"] = StormStreamProcessor(spec), few
    processors["hybrid, tokenization"] = HybridProcessor(spec), flows
    arms = {name: partial(_pure_rate, *arm) for name, arm in processors.items()}
    arms[_POLARS] = partial(rate, Case(_POLARS, plain_polars(spec.policy, spec.schema, [table])))
    rates = interleaved(arms, _ROUNDS)
    batch = [compared(f"batch, {method}", rates, _POLARS) for method in Method]
    return [
        compared(_POLARS, rates),
        *batch,
        *(_on_another(line) for line in batch),
        compared("stream, tokenization", rates, "batch, tokenization", _STREAM_GOAL),
        compared("hybrid, tokenization", rates, "batch, tokenization", Goal(0.9)),
    ]


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
            for done in engine(spec_of()).process(flows, PhaseClock())
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
        stream = StormStreamProcessor(spec_of(method))
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
    lines, make = [], _arms(costs)
    for name, load in (calm | busy).items():
        # At a light load the wait for a microflow to fill dominates, and the arms lie closer to each other than the
        # wake-ups of a load generator on a shared machine vary: there are more rounds.
        static, rounds = (["stream"], 31) if name in calm else (list(_STATIC), 3)
        # All arms are offered the same arrivals.
        schedule = poisson(load, max(_SECONDS, 4 * MICROFLOW_ROWS / load), seed=1)
        arms = {
            arm: partial(_p99_us, schedule, make[arm], service, hurried=name in calm) for arm in (*static, "hybrid")
        }
        p99 = interleaved(arms, rounds=rounds)
        best = min(static, key=lambda arm: float(np.median(p99[arm])))
        named = {f"p99 at {name}, {arm}": samples for arm, samples in p99.items()}
        lines += [compared(f"p99 at {name}, {arm}", named, unit="µs") for arm in static]
        goal = _CALM_GOAL if name in calm else _BUSY_GOAL
        lines.append(compared(f"p99 at {name}, hybrid", named, f"p99 at {name}, {best}", goal, "µs"))
    return lines


def _arms(costs: Costs) -> dict[str, Callable[[], Router]]:
    return {**_STATIC, "hybrid": partial(AdaptiveRouter, costs=costs)}


def _p99_us(schedule: Schedule, make: Callable[[], Router], service: Service, *, hurried: bool) -> float:
    loop = OpenLoop(schedule, give_up_s=1.0)
    run = (loop.hurry if hurried else loop.run)(make(), service, service.flush)
    return run.summary(warm_up_s=min(0.1, schedule[-1] / 4e9)).p99_ns / 1e3


def _burst(costs: Costs) -> list[Line]:
    """Ten times the load for a while, in simulated time with the costs just measured, against who knows the future."""
    stream = 1e9 / costs.single
    calm, peak = poisson(0.4 * stream, 0.02, seed=1), poisson(4 * stream, 0.01, seed=2)
    schedule = np.concatenate([calm, peak + 20_000_000, calm + 30_000_000])
    runs = {"oracle": oracle(schedule, costs, beam=3)}
    arms = _arms(costs) | {"coin": RandomRouter, "natural batching": lambda: NaturalRouter(round(costs.break_even))}
    runs |= {arm: simulate(schedule, make(), costs) for arm, make in arms.items()}
    mean = {f"burst, {arm}: mean latency": np.array([run.latencies_ns().mean() / 1e3]) for arm, run in runs.items()}
    reference = "burst, oracle: mean latency"
    return [compared(name, mean, reference, _BURST_GOAL if "hybrid" in name else None, "µs") for name in mean]


if __name__ == "__main__":
    hand_over(_saturation(int(sys.argv[1])))
