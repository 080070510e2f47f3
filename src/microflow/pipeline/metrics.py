"""A job's metrics document: the run's own (`microflow.engine.metrics`), and what a database and a restart add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from microflow.engine.metrics import Counts
from microflow.engine.metrics import metrics_document as processing_document
from microflow.engine.split_work import Effort
from microflow.pipeline.journal import DatabaseCost
from microflow.store.progress import Progress
from microflow.timing.clock import PhaseClock
from microflow.timing.resources import ResourceUsage

__all__ = ["metrics_document"]

_RESAMPLES = 2_000


def _overhead(cost: DatabaseCost) -> dict[str, float | int | None]:
    """What commits would have added to the pure time had they been inside the clock, as a share of it.

    ``low`` and ``high`` are a 95 % bootstrap interval over the commits; 0 where there was nothing to commit.
    """
    commits, pure = np.asarray(cost.commit_ns, float), np.asarray(cost.pure_ns, float)
    if not pure.sum():
        return {"value": 0.0, "low": 0.0, "high": 0.0, "commits": len(commits)}
    picks = np.random.default_rng(1).integers(len(pure), size=(_RESAMPLES, len(pure)))
    draws = commits[picks].sum(axis=1) / np.maximum(pure[picks].sum(axis=1), 1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": float(commits.sum() / pure.sum()), "low": float(low), "high": float(high), "commits": len(commits)}


def metrics_document(
    *,
    job_id: str,
    pipeline_type: str,
    clock: PhaseClock,
    progress: Progress,
    batch_rows: Sequence[int],
    usage: ResourceUsage,
    cost: DatabaseCost | None,
    reconnections: int,
    resumed_at: int,
    method: Mapping[str, object],
    efforts: Sequence[Effort] | None = None,
) -> dict[str, Any]:
    """What a job was and cost: `microflow.engine.metrics`, with what the database and a restart add.

    A resumed run measures what it did itself; ``total_records`` and the fates of rows count the whole job.
    """
    counts = Counts(
        total=progress.rows_read,
        released=progress.rows_released,
        suppressed=progress.rows_suppressed,
        quarantined=progress.rows_quarantined,
        violations=progress.violations,
        batch_rows=list(batch_rows),
    )
    return processing_document(
        job_id=job_id,
        pipeline_type=pipeline_type,
        clock=clock,
        counts=counts,
        usage=usage,
        method=method,
        # Without a database there is no database work: that is known, and not unknown.
        database_overhead=_overhead(cost or DatabaseCost()),
        efforts=efforts,
        fault_tolerance={
            "checkpoints": 0 if cost is None else len(cost.commit_ns),
            "reconnections": reconnections,
            "resumed_at_microflow": resumed_at,
        },
    )
