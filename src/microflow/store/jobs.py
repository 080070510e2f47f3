"""Jobs in the database: their rows, checkpoints, and the view of one."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case

from microflow.errors import CheckpointError, JobConflictError, StoreError
from microflow.store.bulk import copy_table, reserve_ids
from microflow.store.connector import PostgreSQLConnector
from microflow.store.progress import JobProgress, JobStatus, json_document

__all__ = ["INTERRUPTED", "JobStore", "JobView"]

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

#: How long a lock may outlive a killed process or a cut line: the server needs a moment to notice.
LOCK_SECONDS = 5.0
LOCK_POLL_SECONDS = 0.05
_JOB_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class JobStore:
    """The jobs of one database. A process that works on a job holds its lock; see `lock`."""

    def __init__(self, connector: PostgreSQLConnector) -> None:
        self._connector = connector
        #: The number of this process's attempt at the job that it holds; 0: it holds none.
        self.fence = 0

    def create(
        self, job_id: str, *, pipeline: str, engine: str, spec: Mapping[str, Any], spec_hash: str, input_sha256: str
    ) -> None:
        """Enter a new job as pending.

        Raises:
            StoreError: a job of this name exists already, or it is no name for a job.
        """
        if not _JOB_ID.fullmatch(job_id):
            raise StoreError(f"{job_id!r} is no name for a job", hint="up to 64 letters, digits, '.', '_' and '-'")
        created = self._connector.query(
            "INSERT INTO jobs (id, lock_key, pipeline, engine, status, spec, spec_hash, input_sha256)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (id) DO NOTHING RETURNING id",
            (job_id, _lock_key(job_id), pipeline, engine, JobStatus.PENDING, json_document(spec), spec_hash,
             input_sha256),
        )  # fmt: skip
        if not created:
            raise StoreError(f"job {job_id} exists already", hint=f"microflow resume {job_id}, or choose another name")

    def load(self, job_id: str) -> JobView:
        """One job as it is now.

        Raises:
            StoreError: there is no such job.
        """
        if not (found := self._views("WHERE id = %s", job_id)):
            raise _unknown(job_id)
        return found[0]

    def newest(self, limit: int = 20) -> list[JobView]:
        """The newest jobs, newest first."""
        return self._views("ORDER BY created_at DESC LIMIT %s", limit)

    def _views(self, which: str, *values: object) -> list[JobView]:
        return [JobView(*row) for row in self._connector.query(f"{_VIEW} {which}", values)]

    def lock(self, job_id: str) -> None:
        """Take the job for this process, as one attempt more: `fence` is its number.

        A connection that was lost and made again takes the lock again only while no other process has had the job: the
        fence is checked then, in every commit, and before the output is put in place.

        Raises:
            JobConflictError: another process is working on it, or has taken it since.
        """
        key = _lock_key(job_id)

        def acquire(cursor: Cursor) -> None:
            deadline = time.monotonic() + LOCK_SECONDS
            while True:
                cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
                if cursor.fetchone() == (True,):
                    break
                if time.monotonic() > deadline:
                    raise JobConflictError(
                        f"another process is working on job {job_id}", hint=f"see microflow job {job_id}"
                    )
                time.sleep(LOCK_POLL_SECONDS)
            if self.fence:
                self._check_fence(cursor, job_id)

        self.fence = 0
        self._connector.transaction(acquire, doing="locking a job")
        raised = self._connector.query("UPDATE jobs SET fence = fence + 1 WHERE id = %s RETURNING fence", (job_id,))
        if not raised:
            raise _unknown(job_id)
        self.fence = int(raised[0][0])
        self._connector.on_connect = acquire

    def _check_fence(self, cursor: Cursor, job_id: str) -> None:
        """Hold the job's row until the transaction ends, and see that the job is still ours (`lock`)."""
        cursor.execute("SELECT fence FROM jobs WHERE id = %s FOR UPDATE", (job_id,))
        if cursor.fetchone() != (self.fence,):
            raise JobConflictError(
                f"another process has taken job {job_id} since", hint="what this one did since then is dropped"
            )

    def unlock(self, job_id: str) -> None:
        """Release the lock of a job while the connection stays open."""
        self._connector.on_connect = None
        self._connector.query("SELECT pg_advisory_unlock(%s)", (_lock_key(job_id),))

    def progress(self, job_id: str) -> tuple[JobProgress, dict[str, Any]]:
        """Committed progress of a job, and the state of its files then; call it while holding the lock.

        Raises:
            CheckpointError: microflows are missing between the first and the last committed one.
        """
        ((count, last, read, released, suppressed, violations),) = self._connector.query(
            "SELECT count(*), coalesce(max(microflow) + 1, 0), coalesce(sum(rows_in), 0)::bigint,"
            " coalesce(sum(released), 0)::bigint, coalesce(sum(suppressed), 0)::bigint,"
            " coalesce(sum(violations), 0)::bigint FROM checkpoints WHERE job_id = %s",
            (job_id,),
        )
        if count != last:
            raise CheckpointError(f"job {job_id} lacks {last - count} of its first {last} checkpoints")
        ((settled, quarantined),) = self._connector.query(
            "SELECT settled, rows_quarantined FROM jobs WHERE id = %s", (job_id,)
        )
        return JobProgress(last, read, released, suppressed, violations, quarantined), settled or {}

    def commit(
        self, job_id: str, tables: Mapping[str, pa.Table], progress: JobProgress, settled: Mapping[str, Any]
    ) -> bool:
        """Store rows, violations, checkpoints and progress together; true if somebody asked to cancel the job.

        Microflows are stored once, whatever happens to the connection meanwhile: a second time would break the key
        (job, microflow).

        Args:
            job_id: The job, which this process holds.
            tables: Columns to append, by the tables' names.
            progress: Everything up to and including these microflows.
            settled: Where the job's files are now.

        Raises:
            JobConflictError: another process has taken the job since.
        """

        def store(cursor: Cursor) -> bool:
            self._check_fence(cursor, job_id)
            for name, table in tables.items():
                if name == "checkpoints":
                    copy_table(cursor, name, table)
                elif table.num_rows:
                    ids = pa.array(reserve_ids(cursor, name, len(table)))
                    copy_table(cursor, name, table.append_column("id", ids))
            cursor.execute(
                "UPDATE jobs SET microflows = %s, rows_read = %s, rows_released = %s, rows_suppressed = %s,"
                " violations = %s, rows_quarantined = %s, settled = %s, updated_at = now() WHERE id = %s"
                " RETURNING cancel_requested",
                (*astuple(progress), json_document(settled), job_id),
            )
            return cursor.fetchone() == (True,)

        def stored(cursor: Cursor) -> bool:
            if "checkpoints" in tables:
                last = progress.microflows - 1
                cursor.execute("SELECT 1 FROM checkpoints WHERE job_id = %s AND microflow = %s", (job_id, last))
                return cursor.fetchone() is not None
            cursor.execute("SELECT settled = %s::jsonb FROM jobs WHERE id = %s", (json_document(settled), job_id))
            return cursor.fetchone() == (True,)

        return bool(self._connector.transaction(store, doing="committing microflows", done=stored))

    def put_in_place(self, job_id: str, put: Callable[[], None]) -> None:
        """Call ``put`` while the job's row is held and the job is still ours.

        Raises:
            JobConflictError: another process has taken the job since.
        """
        is_put = False

        def work(cursor: Cursor) -> None:
            nonlocal is_put
            self._check_fence(cursor, job_id)
            put()
            is_put = True

        self._connector.transaction(work, doing="putting the output in place", done=lambda _: is_put)

    def start(self, job_id: str) -> None:
        """The job runs (again)."""
        self._set(job_id, "status = %s, error = NULL, cancel_requested = false, finished_at = NULL", JobStatus.RUNNING)

    def finishing(self, job_id: str, *, rows_quarantined: int, sha256: str) -> None:
        """Every row has been dealt with and committed; what remains is to put the output in its place."""
        self._set(
            job_id,
            "total_rows = rows_read + %s, rows_quarantined = %s, output_sha256 = %s",
            rows_quarantined, rows_quarantined, sha256,
        )  # fmt: skip

    def complete(self, job_id: str, metrics: Mapping[str, Any]) -> None:
        """The job is done: its output is in place."""
        self._set(job_id, "status = %s, metrics = %s, finished_at = now()", JobStatus.COMPLETED, json_document(metrics))

    def fail(self, job_id: str, status: JobStatus, error: str) -> None:
        """The job stopped early and may be resumed; ``error`` holds no personal data."""
        self._set(job_id, "status = %s, error = %s, finished_at = now()", status, error)

    def request_cancel(self, job_id: str) -> JobView:
        """Ask the process that runs the job to stop after its current microflows; without effect if none runs it.

        Raises:
            StoreError: there is no such job.
        """
        self._set(job_id, "cancel_requested = true")
        return self.load(job_id)

    def _set(self, job_id: str, assignments: str, *values: object) -> None:
        def update(cursor: Cursor) -> None:
            if self.fence:
                self._check_fence(cursor, job_id)
            statement = f"UPDATE jobs SET {assignments}, updated_at = now() WHERE id = %s"  # noqa: S608 - ours
            cursor.execute(statement, (*values, job_id))

        self._connector.transaction(update, doing="updating a job")


def _unknown(job_id: str) -> StoreError:
    return StoreError(f"there is no job {job_id!r}", hint="microflow jobs lists them")


def _lock_key(job_id: str) -> int:
    """The number of a job's advisory lock: 63 bits of SHA-256, so that two jobs never share one by chance."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:8], "big") >> 1
