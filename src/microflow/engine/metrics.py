"""The seed's metrics document, with numbers as numbers and every value measured in the run it describes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

from microflow.engine.split_work import Effort
from microflow.timing.clock import PhaseClock
from microflow.timing.resources import ResourceUsage

__all__ = ["Counts", "metrics_document"]

_NS = 1e9


@dataclass
class Counts:
    """What became of the rows of a job; ``batch_rows`` are the sizes of the microflows of *this run*."""

    total: int = 0
    released: int = 0
    suppressed: int = 0
    quarantined: int = 0
    violations: int = 0
    batch_rows: list[int] = field(default_factory=list)


def metrics_document(
    *,
    job_id: str,
    pipeline_type: str,
    clock: PhaseClock,
    counts: Counts,
    usage: ResourceUsage,
    method: Mapping[str, object],
    database_overhead: Mapping[str, object] | None = None,
    fault_tolerance: Mapping[str, object] | None = None,
    efforts: Sequence[Effort] | None = None,
) -> dict[str, Any]:
    """What a run was and cost. Seconds, rows, bytes and shares (0 to 1, never per cent); ``None`` is "not measured".

    A resumed run measures what it did itself; the fates of rows count the whole job. ``records_per_second`` is per
    second of pure processing over all workers; ``records_per_second_wall`` per second that passed.
    """
    phases = clock.report()
    rows_here = sum(counts.batch_rows)
    return {
        "job_id": job_id,
        "pipeline_type": pipeline_type,
        "method": dict(method),
        "pre_processing_time": phases.pre_ns / _NS,
        "pure_processing_time": phases.pure_ns / _NS,
        "post_processing_time": phases.post_ns / _NS,
        "timing_separation": {
            "pre_processing": phases.pre_ns / _NS,
            "pure_processing": phases.pure_ns / _NS,
            "post_processing": phases.post_ns / _NS,
            "residual": phases.residual_ns / _NS,
            "overlap": phases.overlap_ns / _NS,
            "wall": phases.wall_ns / _NS,
        },
        "processing_metrics": {
            "total_records": counts.total,
            "released": counts.released,
            "suppressed": counts.suppressed,
            "quarantined": counts.quarantined,
            "batches_processed": len(counts.batch_rows),
            "records_per_second": _rate(rows_here, phases.pure_ns),
            "records_per_second_wall": _rate(rows_here, phases.wall_ns),
            "violations_found": counts.violations,
            "average_batch_time": phases.pure_ns / _NS / len(counts.batch_rows) if counts.batch_rows else None,
            "memory_usage": usage.peak_rss_bytes,
            "cpu_seconds": usage.cpu_s,
            "bytes_per_record": usage.bytes_per_record(rows_here),
        },
        "research_benefits": {
            "database_io_overhead": dict(database_overhead or {"value": 0.0, "low": 0.0, "high": 0.0, "commits": 0}),
            "timing_contamination": _contamination(clock, efforts),
            "memory_bounds": max(counts.batch_rows, default=0),
            "fault_tolerance": dict(fault_tolerance or {"checkpoints": 0}),
        },
    }


def _rate(rows: int, ns: int) -> float | None:
    return rows / ns * _NS if ns else None


def _contamination(clock: PhaseClock, efforts: Sequence[Effort] | None) -> dict[str, object] | None:
    """The evidence of every guard, added up; ``is_pure`` is ``None`` where it does not show that the run was pure.

    With workers, that answer of each which knows of the most spans holds all it ever saw; spans of this process
    (merging counts) count too.
    """
    if clock.guard is None:
        return None
    found = [asdict(clock.guard.evidence)]
    missing = False
    if efforts is not None:
        missing = any(effort.evidence is None for effort in efforts)
        latest: dict[str, dict[str, Any]] = {}
        for effort in efforts:
            evidence: dict[str, Any] | None = effort.evidence
            if evidence is not None and evidence["spans"] >= latest.get(effort.worker, evidence)["spans"]:
                latest[effort.worker] = evidence
        found += latest.values()
    total = _added(found)
    calls = ("refused", "read_calls", "write_calls", "helper_calls", "helper_events")
    touched = sum(cast("int", total[name]) for name in calls)
    shown = not missing and total["spans"]
    return {**total, "is_pure": False if touched else True if shown else None}


def _added(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {"kernel_counters": all(one["kernel_counters"] for one in found)}
    threads: Counter[str] = Counter()
    for one in found:
        threads.update(one["by_thread"])
    names = [name for name in found[0] if name not in {"kernel_counters", "by_thread"}]
    return {**total, **{name: sum(one[name] for one in found) for name in names}, "by_thread": dict(threads)}
