"""What measuring itself costs, and whether the instruments keep their word."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from microflow.anonymize.contract import Method, MethodSettings
from microflow.bench.guard_cost import guard_cost
from microflow.bench.harness import Line, fixed
from microflow.bench.simulation import Bench, coverage, false_alarms
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.ingest.writers import open_writer
from microflow.lab.arrivals import poisson, steady
from microflow.lab.open_loop import OpenLoop, stream
from microflow.microflows import Microflow, microflows
from microflow.processors import PIPELINES, ProcessingSpec, build_processor
from microflow.processors.kernel import BatchKernel
from microflow.timing.clock import PhaseClock, PhaseReport
from microflow.timing.guard import PurityGuard

__all__ = ["run"]

ROWS = 100_000
#: Microflows that are processed with and without the guard, over and over.
_GUARDED_FLOWS = 20
#: Empty spans are timed in rounds short enough that some round has the core to itself.
_SPANS, _SPAN_ROUNDS = 500, 60
_STALL_MS, _SEEN_MS = 200, 10
_LOWEST_COVERAGE, _HIGHEST_COVERAGE = 93, 97


def run(rows: int | None = None) -> list[Line]:
    """Overhead of clock and guard, residual, coverage and false alarms, and a stall that must be seen in full."""
    schema = load_schema("healthcare")
    method = MethodSettings(Method.TOKENIZATION)
    spec = ProcessingSpec(schema, load_policy(schema.policy), method, key=secrets.token_bytes(32))
    flows = list(microflows(batch.rows for batch in generate("healthcare", rows or ROWS, seed=1)))
    return [*_overheads(spec, flows), *_phases(spec, flows), *_analysis(), *_stall(), *_driver()]


def _overheads(spec: ProcessingSpec, flows: Sequence[Microflow]) -> Iterator[Line]:
    plain, guarded = _span_us(PhaseClock), _span_us(lambda: PhaseClock(PurityGuard()))
    yield fixed("clock: a span costs", plain, "µs", at_most=1)
    yield fixed("guard: adds outside of the clock, a span", guarded - plain, "µs")
    yield from guard_cost(BatchKernel(spec).run, [flow.rows for flow in flows[:_GUARDED_FLOWS]], guarded - plain)


def _span_us(make: Callable[[], PhaseClock]) -> float:
    """The cheapest of several rounds: what else the machine does can only add."""
    rounds = []
    for _ in range(_SPAN_ROUNDS):
        clock = make()
        start = time.perf_counter_ns()
        for _ in range(_SPANS):
            with clock.pure():
                pass
        rounds.append((time.perf_counter_ns() - start) / _SPANS / 1e3)
    return min(rounds)


def _phases(spec: ProcessingSpec, flows: Sequence[Microflow]) -> Iterator[Line]:
    """Guarded jobs in this process that write what they release: what no phase claims, and the guards' evidence."""
    rows, spans, touched = sum(len(flow) for flow in flows), 0, 0
    for pipeline in PIPELINES:
        guard = PurityGuard()
        report = _job(spec, flows, PhaseClock(guard), pipeline)
        yield fixed(f"clock: residual of {rows:,} records, {pipeline}", 100 * report.residual_share, "%", at_most=2)
        seen = guard.evidence
        spans += seen.spans
        touched += seen.read_calls + seen.write_calls + seen.helper_calls + seen.helper_events
    yield fixed(f"guard: calls seen in {spans} pure spans", touched, "calls", at_most=0)


def _job(spec: ProcessingSpec, flows: Sequence[Microflow], clock: PhaseClock, pipeline: str) -> PhaseReport:
    with clock.pre():
        processor = build_processor(spec, pipeline)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        with clock.post():
            writer = opened.enter_context(open_writer(Path(folder) / "released.csv", processor.output_schema))
        for processed in processor.process(flows, clock):
            with clock.post():
                writer.write(processed.released)
        with clock.post():
            opened.close()
        return clock.report()


def _analysis() -> Iterator[Line]:
    held = 100 * coverage(Bench())
    goal = f"{_LOWEST_COVERAGE}–{_HIGHEST_COVERAGE} %"
    yield Line(
        "intervals: hold a known effect", held, "%", goal=goal, holds=_LOWEST_COVERAGE <= held <= _HIGHEST_COVERAGE
    )
    yield fixed("verdicts: false alarms without an effect", 100 * false_alarms(Bench()), "%", at_most=5)


def _stall() -> Iterator[Line]:
    """1,000 records a second, and one call that sleeps. A closed loop would see one slow record."""
    schedule = steady(1_000, 1.5)

    def serve(due: range) -> range:
        if due.start == len(schedule) // 3:
            time.sleep(_STALL_MS / 1e3)
        return due

    waited = OpenLoop(schedule).run(stream(), serve).latencies_ns() / 1e6
    yield fixed(f"open loop: records that saw a {_STALL_MS} ms stall", float((waited > _SEEN_MS).sum()), "records",
                at_least=_STALL_MS - _SEEN_MS)  # fmt: skip
    yield fixed("open loop: the longest wait of that run", float(waited.max()), "ms", at_least=_STALL_MS)


def _driver() -> Iterator[Line]:
    """A system that does nothing, record by record: what is left is the driver's and the generator's own."""
    idle = OpenLoop(poisson(10_000, 2, seed=1)).run(stream(), lambda due: due)
    yield fixed("open loop: an idle system's p50", idle.summary(0.2).p50_ns / 1e3, "µs")
    yield fixed("open loop: announcements late by, median", float(np.median(idle.generator_lag_ns)) / 1e3, "µs")
