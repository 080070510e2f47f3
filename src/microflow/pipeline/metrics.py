"""The seed's metrics document, with numbers as numbers and every value measured in the run it describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from microflow.pipeline.journal import DatabaseCost
from microflow.store.jobs import Progress
from microflow.timing.clock import PhaseClock
from microflow.timing.resources import ResourceUsage

__all__ = ["metrics_document"]

_RESAMPLES = 2_000
_NS = 1e9


def _overhead(cost: DatabaseCost) -> dict[str, float | int | None]:
    """What commits would have added to the pure time had they been inside the clock, as a share of it.

    ``low`` and ``high`` are a 95 % bootstrap interval over the commits; ``None`` where there was nothing to commit.
    """
    commits, pure = np.asarray(cost.commit_ns, float), np.asarray(cost.pure_ns, float)
    if not pure.sum():
        return {"value": None, "low": None, "high": None, "commits": len(commits)}
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
    rows_quarantined: int,
    batch_rows: Sequence[int],
    usage: ResourceUsage,
    cost: DatabaseCost | None,
    reconnections: int,
    resumed_at: int,
    method: Mapping[str, object],
) -> dict[str, Any]:
    """What a run was and cost. Seconds, rows, bytes and shares (0 to 1, never per cent); ``None`` is "not measured".

    A resumed run measures what it did itself; ``total_records`` and the fates of rows count the whole job.
    """
    phases = clock.report()
    pure_s = phases.pure_ns / _NS
    evidence = clock.guard.evidence if clock.guard is not None else None
    rows_here = int(sum(batch_rows))
    return {
        "job_id": job_id,
        "pipeline_type": pipeline_type,
        "method": dict(method),
        "timing_separation": {
            "pre_processing": phases.pre_ns / _NS,
            "pure_processing": pure_s,
            "post_processing": phases.post_ns / _NS,
            "residual": phases.residual_ns / _NS,
            "overlap": phases.overlap_ns / _NS,
            "wall": phases.wall_ns / _NS,
        },
        "processing_metrics": {
            "total_records": progress.rows_read,
            "released": progress.rows_released,
            "suppressed": progress.rows_suppressed,
            "quarantined": rows_quarantined,
            "batches_processed": len(batch_rows),
            "records_per_second": rows_here / pure_s if pure_s else None,
            "records_per_second_wall": rows_here / (phases.wall_ns / _NS) if phases.wall_ns else None,
            "violations_found": progress.violations,
            "average_batch_time": pure_s / len(batch_rows) if batch_rows else None,
            "memory_usage": usage.peak_rss_bytes,
            "cpu_seconds": usage.cpu_s,
        },
        "research_benefits": {
            "database_io_overhead": None if cost is None else _overhead(cost),
            "timing_contamination": None if evidence is None else {**asdict(evidence), "is_pure": evidence.is_pure},
            "memory_bounds": max(batch_rows, default=0),
            "fault_tolerance": {
                "checkpoints": 0 if cost is None else len(cost.commit_ns),
                "reconnections": reconnections,
                "resumed_at_microflow": resumed_at,
            },
        },
    }
