"""Spark's rate apart from its fixed cost: a line through a small and a large job."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microflow.bench.harness import Goal, Line, compared, fixed
from microflow.errors import SetupError
from microflow.microflows import Microflow, microflows
from microflow.processors import LocalBatchProcessor, ProcessingSpec, Processor, SparkBatchProcessor
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
    spark = SparkBatchProcessor(spec, session)
    large = list(microflows(flow.rows for _ in range(_TIMES_LARGER) for flow in flows))
    small_rows, large_rows = (sum(map(len, some)) for some in (flows, large))
    _job_ns(spark, flows)
    samples = [
        (*_job_ns(spark, flows), *_job_ns(spark, large), _pure_ns(LocalBatchProcessor(spec), flows))
        for _ in range(_ROUNDS)
    ]
    session.stop()
    small_ns, _, large_ns, pure_ns, local_ns = np.array(samples, np.float64).T
    slope_ns = (large_ns - small_ns) / (large_rows - small_rows)
    pure, whole, reference = (
        "Spark, pure phase",
        "Spark, jobs beyond their fixed cost",
        f"batch, local, times {cores} cores",
    )
    rates = {
        pure: large_rows / pure_ns * 1e9,
        whole: 1e9 / slope_ns,
        reference: cores * small_rows / local_ns * 1e9,
    }
    return [
        fixed("Spark: fixed cost of a job", float(np.median(small_ns - slope_ns * small_rows)) / 1e9, "s"),
        compared(pure, rates, reference, _GOAL),
        compared(whole, rates, reference, None),
    ]


def _job_ns(spark: SparkBatchProcessor, flows: Sequence[Microflow]) -> tuple[int, int]:
    """Nanoseconds of a job's Spark actions, and of its pure phase."""
    pure_ns = _pure_ns(spark, flows)
    return spark.action_ns, pure_ns


def _pure_ns(processor: Processor, flows: Sequence[Microflow]) -> int:
    """Of the busiest worker."""
    clock = PhaseClock()
    for _ in processor.process(flows, clock):
        pass
    report = clock.report()
    return report.pure_ns - report.overlap_ns
