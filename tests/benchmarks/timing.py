"""Benchmark of the clock and its guard: their cost, and the effects that they must find.

A pair is one microflow processed twice, one after the other, with a guard and without, in random order: whatever else
the machine does falls on both sides alike. CPU time of all threads is compared, not wall time, because neighbours take
the latter away and the guard does nothing but compute; what a pair's log-ratio still has of noise, the median leaves
out.

A trial's log time is: level + block (common to all arms of the block: drift, heat, neighbours) + process (differs by
arm and block: memory layout, hash seeds) + iteration. Intervals must hold the truth in 95 of 100 experiments, and of
experiments without any effect at most 5 in 100 may report one.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Line, bootstrap_interval, fixed, interleaved
from microflow.datasets import generate
from microflow.engine import PIPELINES, ProcessingSpec, build_processor
from microflow.engine.kernel import BatchKernel
from microflow.experiments.work import TOKENS, spec_of
from microflow.lab.arrivals import poisson, steady
from microflow.lab.open_loop import OpenLoop, Portions
from microflow.lab.statistics import Verdict, compare, log_ratio
from microflow.records import Microflow, microflows
from microflow.sinks.writers import open_writer
from microflow.timing.clock import PhaseClock, PhaseReport
from microflow.timing.guard import PurityGuard

__all__ = ["Bench", "PairedCost", "cost_of", "coverage", "false_alarms", "guard_cost", "run"]


T = TypeVar("T")
_ROUND = 200
_GOAL_PERCENT = 1


@dataclass(frozen=True, slots=True)
class PairedCost:
    """Added cost in per cent, with its 95 % interval; ``base_ns`` is the median of the work without it."""

    percent: float
    low: float
    high: float
    base_ns: float
    pairs: int


def guard_cost(work: Callable[[T], object], inputs: Sequence[T], span_us: float) -> Iterator[Line]:
    """Two lines: what the guard adds inside of the clock, and what its ``span_us`` add outside of it."""
    found = cost_of(work, inputs, (PhaseClock(), PhaseClock(PurityGuard())))
    inside = fixed("guard: adds to the pure phase", found.percent, "%")
    # An interval on both sides of the goal (a machine that neighbours keep busy) decides nothing.
    holds = None if found.low <= _GOAL_PERCENT < found.high else found.high <= _GOAL_PERCENT
    goal = f"≤ {_GOAL_PERCENT} %"
    yield replace(inside, reference="no guard", low=found.low, high=found.high, goal=goal, holds=holds)
    outside = 100 * span_us * 1e3 / found.base_ns
    yield fixed("guard: adds outside of the clock, of the pure phase", outside, "%", at_most=_GOAL_PERCENT)


def cost_of(
    work: Callable[[T], object],
    inputs: Sequence[T],
    clocks: tuple[PhaseClock, PhaseClock],
    *,
    half_width: float = 0.3,
    limit_s: float = 20,
    spent_ns: Callable[[], int] = time.process_time_ns,
) -> PairedCost:
    """The second clock's spans beside the first's, over pairs of equal work.

    Rounds of pairs are added until the interval is no wider than ± ``half_width`` per cent or ``limit_s`` seconds are
    over; when to stop never depends on the answer itself. ``spent_ns`` is the counter read at both ends of the work.
    """
    for item in inputs:
        work(item)

    def spending(clock: PhaseClock) -> Callable[[], float]:
        following = cycle(inputs)

        def spent() -> float:
            item = next(following)
            with clock.pure():
                started = spent_ns()
                work(item)
                return float(spent_ns() - started)

        return spent

    arms = {"plain": spending(clocks[0]), "guarded": spending(clocks[1])}
    deadline = time.perf_counter_ns() + round(limit_s * 1e9)
    plain = guarded = np.empty(0)
    while True:
        more = interleaved(arms, _ROUND, seed=1 + len(plain))
        plain, guarded = np.append(plain, more["plain"]), np.append(guarded, more["guarded"])
        ratios = np.log(guarded / plain)
        middle, low, high = (100 * math.expm1(end) for end in (np.median(ratios), *bootstrap_interval(ratios)))
        if high - low <= 2 * half_width or time.perf_counter_ns() > deadline:
            return PairedCost(middle, low, high, float(np.median(plain)), len(plain))


@dataclass(frozen=True, slots=True)
class Bench:
    """A simulated machine: standard deviations of log time at each level, and the design run on it."""

    blocks: int = 10
    iterations: int = 5
    block_noise: float = 0.10
    process_noise: float = 0.02
    iteration_noise: float = 0.03

    def run(self, effects: dict[str, float], rng: np.random.Generator) -> dict[str, list[npt.NDArray[np.float64]]]:
        """Samples (seconds) by arm and block; an arm's true log-ratio to an arm of effect 0 is its effect."""
        common = rng.normal(0, self.block_noise, self.blocks)
        return {
            arm: [
                np.exp(
                    effect
                    + level
                    + rng.normal(0, self.process_noise)
                    + rng.normal(0, self.iteration_noise, self.iterations)
                )
                for level in common
            ]
            for arm, effect in effects.items()
        }


def coverage(bench: Bench, *, experiments: int = 1_000) -> float:
    """The part of simulated experiments whose 95 % interval holds the true effect."""
    rng, effect = np.random.default_rng(1), math.log(1.3)
    held = 0
    for number in range(experiments):
        samples = bench.run({"arm": effect, "reference": 0.0}, rng)
        found = log_ratio(samples["arm"], samples["reference"], draws=2_000, seed=number)
        held += found.low <= effect <= found.high
    return held / experiments


def false_alarms(bench: Bench, *, experiments: int = 500) -> float:
    """The part of simulated experiments *without* any effect that report at least one difference."""
    rng, names = np.random.default_rng(1), ["reference", "again", "arm 0", "arm 1", "arm 2"]
    alarms = 0
    for number in range(experiments):
        samples = bench.run(dict.fromkeys(names, 0.0), rng)
        analysis = compare(samples, "reference", "again", draws=1_000, seed=number)
        alarms += any(comparison.verdict is Verdict.DIFFERENT for comparison in analysis.comparisons)
    return alarms / experiments


_ROWS = 100_000
#: Microflows that are processed with and without the guard, over and over.
_GUARDED_FLOWS = 20
#: Empty spans are timed in rounds short enough that some round has the core to itself.
_SPANS, _SPAN_ROUNDS = 500, 60
_STALL_MS, _SEEN_MS = 200, 10
_LOWEST_COVERAGE, _HIGHEST_COVERAGE = 93, 97


def run(rows: int | None = None) -> list[Line]:
    """Overhead of clock and guard, residual, coverage and false alarms, and a stall that must be seen in full."""
    spec = spec_of({"data_type": "healthcare", "method": TOKENS, "seed": 1})
    flows = list(microflows(batch.rows for batch in generate("healthcare", rows or _ROWS, seed=1)))
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
        yield fixed(
            f"clock: residual of {rows:,} records, {pipeline}",
            100 * report.residual_ns / report.wall_ns,
            "%",
            at_most=2,
        )
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

    waited = OpenLoop(schedule).run(Portions(), serve).latencies_ns() / 1e6
    yield fixed(f"open loop: records that saw a {_STALL_MS} ms stall", float((waited > _SEEN_MS).sum()), "records",
                at_least=_STALL_MS - _SEEN_MS)  # fmt: skip
    yield fixed("open loop: the longest wait of that run", float(waited.max()), "ms", at_least=_STALL_MS)


def _driver() -> Iterator[Line]:
    """A system that does nothing, record by record: what is left is the driver's and the generator's own."""
    idle = OpenLoop(poisson(10_000, 2, seed=1)).run(Portions(), lambda due: due)
    yield fixed("open loop: an idle system's p50", idle.summary(0.2).p50_ns / 1e3, "µs")
    yield fixed("open loop: announcements late by, median", float(np.median(idle.generator_lag_ns)) / 1e3, "µs")
