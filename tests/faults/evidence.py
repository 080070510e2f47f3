"""What an attempt leaves behind, so that two jobs can be compared byte by byte."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microflow.pipeline import JobSpec
from microflow.store import PostgreSQLConnector

__all__ = ["Evidence", "gather"]

#: Everything the database says about a job's rows, but for its name, identities, and when and how fast it was.
_TABLES = {
    "data_records": "ordinal, record_id, released, compliance_status, violation_count, violation_types,"
    " anonymization_applied, processed_data",
    "violations": "ordinal, rule, field, severity, regulation, article, span_start, span_end",
    "original_records": "ordinal, original_data",
    "checkpoints": "microflow, first_row, rows_in, released, suppressed, violations",
    "jobs": "status, total_rows, microflows, rows_read, rows_released, rows_suppressed, rows_quarantined, violations",
}


@dataclass(frozen=True)
class Evidence:
    """Digests of output, quarantine and tables, and which rows are where."""

    digests: tuple[tuple[str, str], ...]
    ordinals: tuple[int, ...]

    def differences(self, other: Evidence) -> list[str]:
        """What is not the same, by name."""
        return [name for (name, mine), (_, theirs) in zip(self.digests, other.digests, strict=True) if mine != theirs]

    @property
    def duplicates(self) -> int:
        """Rows that are in the database more than once."""
        return len(self.ordinals) - len(set(self.ordinals))

    def losses(self, whole: Evidence) -> int:
        """Rows that an uninterrupted run has and this one lacks."""
        return len(set(whole.ordinals) - set(self.ordinals))


def gather(connector: PostgreSQLConnector, job: JobSpec) -> Evidence:
    """Read the files and tables of a finished job."""
    digests = [("output", _digest(job.output)), ("quarantine", _digest(job.quarantine) if job.quarantine else "")]
    for table, columns in _TABLES.items():
        digests.append((table, _table_digest(connector, str(job.job_id), table, columns)))
    rows = connector.query("SELECT ordinal FROM data_records WHERE job_id = %s ORDER BY 1", (job.job_id,))
    return Evidence(tuple(digests), tuple(ordinal for (ordinal,) in rows))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _table_digest(connector: PostgreSQLConnector, job_id: str, table: str, columns: str) -> str:
    name = "id" if table == "jobs" else "job_id"
    rows: Sequence[tuple[object, ...]] = connector.query(
        f"SELECT t::text FROM (SELECT {columns} FROM {table} WHERE {name} = %s) t ORDER BY 1", (job_id,)
    )
    return hashlib.sha256(repr(rows).encode()).hexdigest()
