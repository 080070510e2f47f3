"""Documents of a finished job: its metrics, and its verdict.

The metrics are those of the seed, with numbers as numbers and every value measured in the run that they describe. The
verdict counts what became of the rows, and says what the release does *not* protect.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.differential_privacy import public_domain
from microflow.compliance.policy import Policy
from microflow.engine.split_work import Effort
from microflow.schema import PASSING, DatasetSchema, Role, named_like_persons
from microflow.sources.delimited import unescaped
from microflow.sources.reader import REPEATED_ID
from microflow.store.progress import JobProgress
from microflow.timing.clock import PhaseClock
from microflow.timing.meters import ResourceUsage

__all__ = ["JobVerdict", "metrics_document", "quarantine_reasons", "verdict"]

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


_MOST_NAMES = 12
#: Reasons about names that stand in the file.
_OF_UNKNOWN = {"the schema does not describe it", "named twice"}
#: What a person can do about rows that were quarantined.
_REMEDIES = {
    "not UTF-8 text": "source: {encoding: cp1252}, or what the file is written in",
    "not a (whole|finite) number": "source: {missing: [NaN]} for no value, or format: as the file writes numbers",
    "not an ISO 8601 (date|time)": "format: MM/DD/YYYY as the file writes it, or source: {missing: ['-']} for no value",
    "neither true nor false": "format: Y/N, or its two words",
    "fields expected, not": "source: {delimiter: ...} or {quote: ...}; fields that hold a delimiter need quotes",
    "a quote is not closed": "source: {quote: ''} where quotes are letters like others",
    "seen before": "role: record_id only for a column that never has a value twice",
    "a required value is missing": "required: false",
    "the schema does not describe it": "others: drop, or describe it",
}
_ACHIEVED = ("scope", "unit", "achieved_k", "achieved_l", "achieved_t", "achieved_c", "classes")


@dataclass(frozen=True)
class JobVerdict:
    """Verdict of a finished job.

    Attributes:
        read: Rows that were read: released + suppressed + quarantined.
        released: Rows that left.
        suppressed: Rows that may not leave.
        quarantined: Rows that cannot be used.
        quarantine_reasons: The most frequent reasons of the quarantine, with their rows.
        guarantee: The method's guarantee, and the persons it covers.
        achieved: What k-anonymity was found to have achieved: ``scope``, ``unit``, ``achieved_k``, ``classes``, and
            where they were asked for ``achieved_l``, ``achieved_t`` and ``achieved_c`` by sensitive column.
        passed_unprotected: Columns that neither a remedy of the method nor noise nor classes touch.
        blanked: Columns that were removed because the descriptor gives no public bounds or categories.
        unnamed_kinds: Kinds of data that the policy has rules for and the descriptor names no column of.
        warnings: Sentences about what is easily overlooked.
    """

    read: int
    released: int
    suppressed: int
    quarantined: int
    quarantine_reasons: Mapping[str, int]
    guarantee: str
    passed_unprotected: tuple[str, ...]
    blanked: tuple[str, ...]
    unnamed_kinds: tuple[str, ...]
    warnings: tuple[str, ...]
    achieved: Mapping[str, Any] = field(default_factory=dict)

    @property
    def share_released(self) -> float:
        """Released rows of all that were read; 1 where nothing was."""
        return self.released / self.read if self.read else 1.0

    def lines(self) -> Iterator[str]:
        """One sentence a line, most important first."""
        yield (
            f"{self.read:,} rows read = {self.released:,} released + {self.suppressed:,} suppressed"
            f" + {self.quarantined:,} quarantined"
        )
        for reason, rows in self.quarantine_reasons.items():
            yield f"  quarantined: {rows:,} × {reason}"
            if remedy := next((remedy for pattern, remedy in _REMEDIES.items() if re.search(pattern, reason)), ""):
                yield f"    perhaps: {remedy}"
            if reason == REPEATED_ID:
                yield "  (where it names a person, and not a record, describe it with role: person)"
        yield f"guarantee: {self.guarantee}"
        if self.achieved.get("achieved_k") is not None:
            yield f"achieved: {_achieved(self.achieved)}"
        if self.passed_unprotected:
            yield f"pass untouched, who knows them may find a person by them: {_names(self.passed_unprotected)}"
        if self.blanked:
            yield f"blanked, because no public bounds or categories are described: {_names(self.blanked)}"
        if self.unnamed_kinds:
            yield f"the policy also has rules for kinds that no column is described as: {_names(self.unnamed_kinds)}"
        yield from (f"note: {warning}" for warning in self.warnings)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> JobVerdict:
        """Verdict from the document of `to_dict`."""
        values: Any = {name: tuple(value) if isinstance(value, list) else value for name, value in document.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; names of columns and counts, no value."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}


def verdict(
    metrics: Mapping[str, Any],
    schema: DatasetSchema,
    policy: Policy,
    settings: MethodSettings,
    *,
    claim: Mapping[str, object],
) -> JobVerdict:
    """The verdict on a finished job, whose quarantine has not been read: see `quarantine_reasons`.

    Args:
        metrics: Its metrics document.
        schema: What its columns meant.
        policy: The rules that were enforced.
        settings: The method.
        claim: What the anonymizer says that it guarantees and achieved.
    """
    counted = metrics["processing_metrics"]
    parts = {name: int(counted[name]) for name in ("released", "suppressed", "quarantined")}
    is_noise = settings.method is Method.DIFFERENTIAL_PRIVACY
    noisy = schema.with_role(Role.QUASI_IDENTIFIER, Role.SENSITIVE) if is_noise else ()
    kinds = {kind for rule in policy.rules for kind in rule.kinds} - {column.kind for column in schema.columns}
    return JobVerdict(
        read=sum(parts.values()),
        **parts,
        quarantine_reasons={},
        guarantee=str(claim.get("guarantee", "none")),
        achieved={name: claim[name] for name in _ACHIEVED if name in claim} if "achieved_k" in claim else {},
        passed_unprotected=_passed_unprotected(schema, settings.method),
        blanked=tuple(column.name for column in noisy if public_domain(column) is None),
        unnamed_kinds=tuple(sorted(kinds)),
        warnings=tuple(_warnings(schema, settings)),
    )


def _achieved(found: Mapping[str, Any]) -> str:
    """The achieved k and the classes, then l, t and c.

    >>> _achieved({"achieved_k": 7, "unit": "row", "classes": 3, "scope": "dataset", "achieved_l": {"job": 2.0}})
    'k = 7 rows, the least of 3 classes (scope: dataset); l of job = 2'
    """
    parts = [f"k = {found['achieved_k']:,} {found['unit']}s, the least of {found['classes']:,} classes"]
    parts[0] += f" (scope: {found['scope']})"
    for letter in "ltc":
        named = found.get(f"achieved_{letter}", {}).items()
        parts += [f"{letter} of {name} = {value:.3g}" for name, value in named]
    return "; ".join(parts)


def quarantine_reasons(path: Path) -> dict[str, int]:
    """Rows of a quarantine by reason; nothing where there is no file."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return dict(Counter(map(_reason, csv.DictReader(file))))


def _reason(row: Mapping[str, str | None]) -> str:
    column, reason = row.get("column"), row.get("reason") or ""
    # A name that the schema does not know came from the file, and may be a person's.
    return f"column {unescaped(column)!r}: {reason}" if column and reason not in _OF_UNKNOWN else reason


def _passed_unprotected(schema: DatasetSchema, method: Method) -> tuple[str, ...]:
    """The columns that a method leaves as the remedies left them, in file order.

    Sensitive columns of k-anonymity are what a release is made for, and pass by design; they are not named here.
    """
    roles = {*PASSING}
    if method in (Method.TOKENIZATION, Method.IDENTITY):
        roles |= {Role.QUASI_IDENTIFIER, Role.SENSITIVE}
    return tuple(column.name for column in schema.columns if column.role in roles)


def _warnings(schema: DatasetSchema, settings: MethodSettings) -> Iterator[str]:
    sensitive = schema.with_role(Role.SENSITIVE)
    if settings.method is Method.K_ANONYMITY:
        if sensitive and settings.l_diversity == 1 and settings.t_closeness >= 1:
            names = _names([column.name for column in sensitive])
            yield f"a class may share one value of {names} (l = 1): see --l-diversity"
        named = named_like_persons(column.name for column in schema.columns if column.role is not Role.RECORD_ID)
        if schema.person is None and named:
            yield f"k counts rows, and {_names(named)} is named like a person's: with the role person, k counts persons"
        elif schema.person is None:
            yield "k counts rows: where a person may have several, describe their column with role: person"
    if settings.method is Method.DIFFERENTIAL_PRIVACY and settings.seed is not None:
        yield "the noise is seeded: who knows the seed can take it away again"
    if prose := schema.with_role(Role.FREE_TEXT):
        yield (
            f"prose in {_names([column.name for column in prose])}: identifiers that the policy's patterns know are "
            "redacted, what they do not know stays"
        )


def _names(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
