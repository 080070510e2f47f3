"""Spark's rate apart from its fixed cost: a line through a small and a large job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microflow.bench.blocks import Goal, compared
from microflow.bench.harness import Line, fixed
from microflow.errors import SetupError
from microflow.microflows import Microflow
from microflow.processors import LocalBatchProcessor, ProcessingSpec, SparkBatchProcessor
from microflow.timing.clock import PhaseClock

__all__ = ["spark_lines"]

_TIMES_LARGER, _ROUNDS = 5, 3
#: Of what as many cores would do without Spark.
_GOAL = Goal(0.6)


def spark_lines(spec: ProcessingSpec, flows: Sequence[Microflow]) -> list[Line]:
    """The fixed cost of a job, and the rate beyond it beside the local engine on as many cores; none without Java."""
    from microflow.processors.spark_session import spark_session

    try:
        session = spark_session()
    except SetupError:
        return []
    cores = session.sparkContext.defaultParallelism
    spark, large = SparkBatchProcessor(spec, session), _repeated(flows)
    small_rows, large_rows = (sum(map(len, some)) for some in (flows, large))
    _action_ns(spark, flows)
    samples = [(_action_ns(spark, flows), _action_ns(spark, large), _local_ns(spec, flows)) for _ in range(_ROUNDS)]
    session.stop()
    small_ns, large_ns, local_ns = np.array(samples, np.float64).T
    slope_ns = (large_ns - small_ns) / (large_rows - small_rows)
    name, reference = "Spark beyond the fixed cost", f"batch, local, times {cores} cores"
    rates = {name: 1e9 / slope_ns, reference: cores * small_rows / local_ns * 1e9}
    return [
        fixed("Spark: fixed cost of a job", float(np.median(small_ns - slope_ns * small_rows)) / 1e9, "s"),
        compared(name, rates, reference, _GOAL),
    ]


def _repeated(flows: Sequence[Microflow]) -> list[Microflow]:
    rows = sum(map(len, flows))
    return [
        replace(flow, number=turn * len(flows) + flow.number, first_row=turn * rows + flow.first_row)
        for turn in range(_TIMES_LARGER)
        for flow in flows
    ]


def _action_ns(spark: SparkBatchProcessor, flows: Sequence[Microflow]) -> int:
    for _ in spark.process(flows, PhaseClock()):
        pass
    return spark.action_ns


def _local_ns(spec: ProcessingSpec, flows: Sequence[Microflow]) -> int:
    clock = PhaseClock()
    for _ in LocalBatchProcessor(spec).process(flows, clock):
        pass
    return clock.pure_ns
