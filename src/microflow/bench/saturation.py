"""Records per second of the pure phase, on rows in memory and on one core: every method, then the other pipelines.

In a process of its own in which Polars has one thread, beside what plain Polars needs to look for the same patterns.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Sequence
from functools import partial

import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.bench.harness import Case, Goal, Line, compared, fixed, hand_over, rate
from microflow.bench.plain_polars import POLARS_THERE, plain_polars
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine import HybridProcessor, LocalBatchProcessor, ProcessingSpec, Processor, StormStreamProcessor
from microflow.lab.trials import interleaved
from microflow.records import Microflow, microflows
from microflow.timing.clock import PhaseClock

__all__ = ["ROWS", "spec_of"]

ROWS = 1_000_000
#: The stream is so much slower that it gets a part of the rows.
_STREAM_PART = 100
_ROUNDS = 4
_KEY = hashlib.sha512(b"microflow bench").digest()
_POLARS = "plain Polars, check only, whole table"
#: In records/s: for every method on a core as good as `POLARS_THERE`, and for the stream on any.
_BATCH_GOAL, _STREAM_GOAL = 1.5e6, Goal(1e5, of_ratio=False)


def spec_of(method: Method = Method.TOKENIZATION) -> ProcessingSpec:
    """The work: healthcare records under their own policy, with a key that anybody can compute."""
    schema, settings = load_schema("healthcare"), MethodSettings(method, seed=1)
    return ProcessingSpec(schema, load_policy(schema.policy), settings, key=_KEY[: settings.key_bits // 8])


def _measured(rows: int) -> list[Line]:
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


if __name__ == "__main__":
    hand_over(_measured(int(sys.argv[1])))
