"""Where a job's progress is kept: in PostgreSQL, or nowhere but in memory."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from microflow.errors import CheckpointError
from microflow.microflows import Microflow
from microflow.pipeline.ledger import Ledger, counts_of
from microflow.processors import Processed
from microflow.store.jobs import JobStore, Progress
from microflow.store.models import JobStatus

__all__ = ["DatabaseCost", "DatabaseJournal", "MemoryJournal"]


@dataclass
class DatabaseCost:
    """Nanoseconds of each commit, and of the pure processing that it commits."""

    commit_ns: list[int] = field(default_factory=list)
    pure_ns: list[int] = field(default_factory=list)


class MemoryJournal:
    """Counts only: a job that stops early cannot be resumed. Also the contract of every journal."""

    is_resumable = False
    cost: DatabaseCost | None = None

    def __init__(self) -> None:
        self.progress = Progress()

    def repeated(self, done: Processed) -> None:
        """A microflow that an earlier attempt committed has been processed again, to get back to where it was."""
        raise NotImplementedError  # pragma: no cover - nothing is ever committed here

    def add(self, done: Processed, original: Microflow | None) -> None:  # noqa: ARG002 - the contract's signature
        """A microflow has been processed and given to the output; ``original`` are its rows as they were read."""
        self.progress = self.progress.after(**counts_of(done))

    def commit(self, output_bytes: int) -> bool:  # noqa: ARG002 - the contract's signature
        """The output is on the disk up to ``output_bytes``; true if somebody asked the job to stop."""
        return False

    def finishing(self, rows_quarantined: int) -> None:
        """Every row is committed; next the output is put in place."""

    def complete(self, metrics: dict[str, Any]) -> None:
        """The output is in place."""

    def fail(self, status: JobStatus, error: str) -> None:
        """The job stops early; ``error`` holds no personal data."""


class DatabaseJournal(MemoryJournal):
    """Commits rows, violations and progress together, and notes what that cost.

    Args:
        jobs: The store; the job is locked by this process.
        job_id: The job.
        ledger: Begins where the job's last commit ended.
    """

    is_resumable = True

    def __init__(self, jobs: JobStore, job_id: str, ledger: Ledger) -> None:
        super().__init__()
        self._jobs = jobs
        self._job_id = job_id
        self._ledger = ledger
        self._pure_ns = 0
        self._expected = self.progress = ledger.progress
        self._repeated = Progress()
        self.cost = self._cost = DatabaseCost()

    def repeated(self, done: Processed) -> None:
        """Check that it went as before.

        Raises:
            CheckpointError: it did not.
        """
        self._ledger.remember(done)
        self._repeated = now = self._repeated.after(**counts_of(done))
        before = self._expected
        if now.microflows == before.microflows and now.rows_released != before.rows_released:
            raise CheckpointError(
                "the job does not repeat itself: other rows are released than before", hint="run the job again"
            )

    def add(self, done: Processed, original: Microflow | None) -> None:
        self._ledger.add(done, original)
        self._pure_ns += done.pure_ns
        self.progress = self._ledger.progress

    def commit(self, output_bytes: int) -> bool:
        if not len(self._ledger):
            return False
        group = self._ledger.take(output_bytes)
        started = time.perf_counter_ns()
        cancelled = self._jobs.commit(self._job_id, group)
        self._cost.commit_ns.append(time.perf_counter_ns() - started)
        self._cost.pure_ns.append(self._pure_ns)
        self._pure_ns = 0
        return cancelled

    def finishing(self, rows_quarantined: int) -> None:
        self._jobs.finishing(self._job_id, rows_quarantined=rows_quarantined)

    def complete(self, metrics: dict[str, Any]) -> None:
        self._jobs.complete(self._job_id, metrics)

    def fail(self, status: JobStatus, error: str) -> None:
        self._jobs.fail(self._job_id, status, error)
