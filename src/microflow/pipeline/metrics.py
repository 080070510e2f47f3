"""The seed's metrics document, with numbers as numbers and every value measured in the run it describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from microflow.engine.split_work import Effort
from microflow.store.progress import JobProgress
from microflow.timing.clock import PhaseClock
from microflow.timing.meters import ResourceUsage

__all__ = ["metrics_document"]

_NS = 1e9
_RESAMPLES = 2_000
#: What a guard counts that nothing pure has.
_IMPURE = ("refused", "read_calls", "write_calls", "helper_calls", "helper_events")


def metrics_document(
    *,
    job_id: str,
    pipeline_type: str,
    method: Mapping[str, object],
    clock: PhaseClock,
    usage: ResourceUsage,
    progress: JobProgress,
    batch_rows: Sequence[int],
    costs: Sequence[tuple[int, int]] = (),
    reconnections: int = 0,
    resumed_at: int = 0,
    efforts: Sequence[Effort] = (),
) -> dict[str, Any]:
    """Metrics document of a job. Seconds, rows, bytes and shares (0 to 1); ``None`` is "not measured".

    A resumed run measures what it did itself; ``total_records`` and the fates of rows count the whole job.
    ``records_per_second`` is per second of pure processing over all workers; ``records_per_second_wall`` per second
    that passed.

    Args:
        job_id: The job.
        pipeline_type: What ran it.
        method: What was asked for, JSON-ready.
        clock: Of the run, with what workers measured.
        usage: Memory and processor time.
        progress: What became of the rows of the whole job.
        batch_rows: Sizes of the microflows of this run.
        costs: Nanoseconds of each commit to the database, and of the pure processing it commits.
        reconnections: How often the database was lost.
        resumed_at: The microflow at which this run began.
        efforts: What workers measured.
    """
    phases = clock.report()
    rows_here, batches = sum(batch_rows), len(batch_rows)
    pre, pure, post = (ns / _NS for ns in (phases.pre_ns, phases.pure_ns, phases.post_ns))
    return {
        "job_id": job_id,
        "pipeline_type": pipeline_type,
        "method": dict(method),
        "pre_processing_time": pre,
        "pure_processing_time": pure,
        "post_processing_time": post,
        "timing_separation": {
            "pre_processing": pre,
            "pure_processing": pure,
            "post_processing": post,
            "residual": phases.residual_ns / _NS,
            "overlap": phases.overlap_ns / _NS,
            "wall": phases.wall_ns / _NS,
        },
        "processing_metrics": {
            "total_records": progress.rows_read,
            "released": progress.rows_released,
            "suppressed": progress.rows_suppressed,
            "quarantined": progress.rows_quarantined,
            "batches_processed": batches,
            "records_per_second": _rate(rows_here, phases.pure_ns),
            "records_per_second_wall": _rate(rows_here, phases.wall_ns),
            "violations_found": progress.violations,
            "average_batch_time": pure / batches if batches else None,
            "memory_usage": usage.peak_rss_bytes,
            "cpu_seconds": usage.cpu_s,
            "bytes_per_record": usage.bytes_per_record(rows_here),
        },
        "research_benefits": {
            # Without a database there is no database work: that is known, and not unknown.
            "database_io_overhead": _overhead(costs),
            "timing_contamination": _contamination(clock, efforts),
            "memory_bounds": max(batch_rows, default=0),
            "fault_tolerance": {
                "checkpoints": len(costs),
                "reconnections": reconnections,
                "resumed_at_microflow": resumed_at,
            },
        },
    }


def _rate(rows: int, ns: int) -> float | None:
    return rows / ns * _NS if ns else None


def _overhead(costs: Sequence[tuple[int, int]]) -> dict[str, float | int]:
    """Share of the pure time that commits would have added to it, had they been inside the clock.

    ``low`` and ``high`` are a 95 % bootstrap interval over the commits; 0 where there was nothing to commit.
    """
    commits, pure = np.array(costs, float).reshape(-1, 2).T
    if not pure.sum():
        return {"value": 0.0, "low": 0.0, "high": 0.0, "commits": len(commits)}
    picks = np.random.default_rng(1).integers(len(pure), size=(_RESAMPLES, len(pure)))
    draws = commits[picks].sum(axis=1) / np.maximum(pure[picks].sum(axis=1), 1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"value": float(commits.sum() / pure.sum()), "low": float(low), "high": float(high), "commits": len(commits)}


def _contamination(clock: PhaseClock, efforts: Sequence[Effort]) -> dict[str, object] | None:
    """The evidence of every guard, added up; ``is_pure`` is ``None`` where it does not show that the run was pure.

    With workers, that answer of each which knows of the most spans holds all it ever saw; spans of this process
    (merging counts) count too.
    """
    if clock.guard is None:
        return None
    latest: dict[str, dict[str, Any]] = {}
    for effort in efforts:
        evidence: dict[str, Any] | None = effort.evidence
        if evidence is not None and evidence["spans"] >= latest.get(effort.worker, evidence)["spans"]:
            latest[effort.worker] = evidence
    found = [asdict(clock.guard.evidence), *latest.values()]
    threads: Counter[str] = Counter()
    for worker in found:
        threads.update(worker["by_thread"])
    total: dict[str, Any] = {"kernel_counters": all(worker["kernel_counters"] for worker in found)}
    total |= {name: sum(worker[name] for worker in found) for name in found[0] if name not in {*total, "by_thread"}}
    is_shown = all(effort.evidence is not None for effort in efforts) and total["spans"]
    is_touched = any(total[name] for name in _IMPURE)
    return {**total, "by_thread": dict(threads), "is_pure": False if is_touched else True if is_shown else None}
