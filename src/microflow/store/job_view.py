"""How a job looks from outside: what the database says of it, and whether the process that ran it is still there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from microflow.store.connector import PostgreSQLConnector
from microflow.store.progress import JobStatus

__all__ = ["INTERRUPTED", "JobView", "job_views"]

#: What `JobView.status` says besides the words of `JobStatus`.
INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as another process sees it.

    ``status`` is ``interrupted`` where the process that ran it is gone. ``total_rows`` is known, and not ``None``, once
    every row has been committed.
    """

    id: str
    pipeline: str
    engine: str
    status: str
    spec: dict[str, Any]
    spec_hash: str
    input_sha256: str
    total_rows: int | None
    microflows: int
    rows_read: int
    rows_released: int
    rows_suppressed: int
    rows_quarantined: int
    violations: int
    cancel_requested: bool
    error: str | None
    metrics: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    output_sha256: str | None


_COLUMNS = ", ".join(
    f"CASE WHEN status = '{JobStatus.RUNNING}' AND NOT held THEN '{INTERRUPTED}' ELSE status END"
    if name == "status"
    else name
    for name in JobView.__dataclass_fields__
)
_VIEW = f"""
WITH locks AS (
    SELECT (classid::bigint << 32) | objid::bigint AS key
    FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory' AND objsubid = 1 AND granted
), seen AS (
    SELECT jobs.*, lock_key IN (SELECT key FROM locks) AS held FROM jobs
)
SELECT {_COLUMNS} FROM seen
"""  # noqa: S608 - names of ours


def job_views(connector: PostgreSQLConnector, which: str, *values: object) -> list[JobView]:
    """The jobs of a condition or an order in SQL, such as ``WHERE id = %s``, with the values it asks for."""
    return [JobView(*row) for row in connector.query(f"{_VIEW} {which}", values)]
