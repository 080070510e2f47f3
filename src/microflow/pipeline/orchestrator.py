"""`PipelineOrchestrator`: one job from file to file and database, which can be resumed wherever it was stopped.

A group of microflows is settled in this order: its rows are on the disk (fsync), then one transaction records rows,
violations, checkpoints *and the length of the output*. Killed in between, a job has written too much, never too little:
resuming cuts the output back to the recorded length and goes on with the first microflow that was not committed.
"""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from microflow.anonymize.contract import Method
from microflow.compliance.targets import Targets
from microflow.errors import CheckpointError, JobCancelledError, JobConflictError, MicroflowError, StoreError
from microflow.pipeline.attempt import Attempt, CommitPolicy, Observer
from microflow.pipeline.job import JobSpec, StoreRecords, file_sha256, work_hash
from microflow.pipeline.journal import DatabaseJournal, MemoryJournal
from microflow.pipeline.ledger import Ledger
from microflow.pipeline.output import Output
from microflow.store import PostgreSQLConnector
from microflow.store.job_view import JobView
from microflow.store.jobs import JobStore
from microflow.store.models import JobStatus
from microflow.store.retry import Retries

__all__ = ["PipelineOrchestrator"]


class PipelineOrchestrator:
    """Runs jobs: reads, processes, writes, commits, measures.

    Whatever it raises, the output has not appeared; with a database the job says so to other processes (``microflow
    jobs``) and can be resumed.

    Args:
        connector: An open connection to the results database; with ``None`` nothing is stored and nothing can be
            resumed.
        commits: How often to commit.
        retries: How long to wait for room on a full disk.
        observe: Called with the totals after each microflow, while the clock stands still.
    """

    def __init__(
        self,
        connector: PostgreSQLConnector | None,
        *,
        commits: CommitPolicy | None = None,
        retries: Retries | None = None,
        observe: Observer | None = None,
    ) -> None:
        self._connector = connector
        self._commits = commits or CommitPolicy()
        self._retries = retries
        self._observe = observe or (lambda _: None)

    def run(self, job: JobSpec) -> dict[str, Any]:
        """Run a new job to its end and return its metrics document (`microflow.pipeline.metrics`).

        Raises:
            MicroflowError: whatever is wrong with input, settings, disk or database.
        """
        job = replace(job.absolute(), job_id=job.job_id or _new_id(job.pipeline))
        attempt = Attempt(job)
        if self._connector is None:
            return self._finish(attempt, MemoryJournal())
        jobs = JobStore(self._connector)
        with attempt.clock.pre():
            jobs.create(
                _id_of(job),
                pipeline=job.pipeline,
                engine=job.engine,
                spec=job.to_document(),
                spec_hash=work_hash(job, attempt.work),
                input_sha256=file_sha256(job.input),
            )
        return self._hold(jobs, attempt)

    def resume(self, job_id: str) -> dict[str, Any]:
        """Continue a job that was stopped, and end with the same output and database as if it never had been.

        Raises:
            CheckpointError: its input, settings, schema, policy or key are not those it began with, or what it had
                written is gone.
            JobConflictError: another process is working on it.
        """
        if self._connector is None:
            raise CheckpointError("without a database nothing can be resumed")
        jobs = JobStore(self._connector)
        view = jobs.load(job_id)
        attempt = Attempt(JobSpec.from_document(view.spec))
        with attempt.clock.pre():
            _refuse_changes(view, attempt)
        return self._hold(jobs, attempt)

    def _hold(self, jobs: JobStore, attempt: Attempt) -> dict[str, Any]:
        """Take the job, find out where it stands, and go on from there."""
        job, job_id = attempt.job, _id_of(attempt.job)
        with attempt.clock.pre():
            jobs.lock(job_id)
        try:
            with attempt.clock.pre():
                view = jobs.load(job_id)
                if view.status == JobStatus.COMPLETED:
                    raise CheckpointError(f"job {job_id} is completed", hint="run it again under another name")
                ledger = Ledger(
                    job_id,
                    Targets(attempt.work.policy, attempt.work.schema).all,
                    anonymized=job.method.method is not Method.IDENTITY,
                    keep_processed=job.store_records is not StoreRecords.NONE,
                    progress=jobs.progress(job_id),
                )
                jobs.start(job_id)
            return self._finish(attempt, DatabaseJournal(jobs, job_id, ledger), view)
        finally:
            # A lost connection holds no lock, and its error is already on its way.
            with suppress(StoreError, JobConflictError):
                jobs.unlock(job_id)

    def _finish(self, attempt: Attempt, journal: MemoryJournal, view: JobView | None = None) -> dict[str, Any]:
        """Work to the end, or say to others why not."""
        try:
            return self._work(attempt, journal, view)
        except (StoreError, JobConflictError):
            raise  # nobody can be told, or it is no longer ours; without its lock the job shows as interrupted
        except JobCancelledError as error:
            journal.fail(JobStatus.CANCELLED, error.message)
            raise
        except MicroflowError as error:
            journal.fail(JobStatus.FAILED, error.message)
            raise
        except OSError as error:
            reason = f"the system refused: {error.strerror or type(error).__name__}"
            journal.fail(JobStatus.FAILED, reason)
            raise MicroflowError(reason, hint="make room, or whatever else is missing; then resume the job") from error
        except BaseException as error:
            journal.fail(JobStatus.FAILED, type(error).__name__)  # a foreign error's text may quote a value
            raise

    def _work(self, attempt: Attempt, journal: MemoryJournal, view: JobView | None) -> dict[str, Any]:
        job, clock = attempt.job, attempt.clock
        if view is not None and view.total_rows is not None and Output.is_in_place(job.output):
            quarantined = view.rows_quarantined
        else:
            quarantined = self._produce(attempt, journal)
        reconnections = 0 if self._connector is None else self._connector.reconnections
        metrics = attempt.metrics(journal, quarantined, reconnections)
        with clock.post():
            journal.complete(metrics)
            if job.metrics is not None:
                _write_whole(job.metrics, json.dumps(metrics, indent=2) + "\n")
        return metrics

    def _produce(self, attempt: Attempt, journal: MemoryJournal) -> int:
        """Write the output and put it in place; returns the number of quarantined rows."""
        job, clock = attempt.job, attempt.clock
        with clock.pre():
            start = journal.progress.output_bytes
            output = Output(job.output, attempt.output_schema, start=start, retries=self._retries)
        try:
            quarantined = attempt.process(journal, output, self._commits, self._observe)
            with clock.post():
                journal.finishing(quarantined)
                output.finish()
        except BaseException:
            output.close(discard=not journal.is_resumable)
            raise
        return quarantined


def _new_id(pipeline: str) -> str:
    return f"{pipeline}-{secrets.token_hex(6)}"


def _id_of(job: JobSpec) -> str:
    assert job.job_id is not None
    return job.job_id


def _refuse_changes(view: JobView, attempt: Attempt) -> None:
    hint = "put back what it began with, or run it again under another name"
    if view.spec_hash != work_hash(attempt.job, attempt.work):
        raise CheckpointError(f"job {view.id} began with other settings, schema, policy or key", hint=hint)
    if view.input_sha256 != file_sha256(attempt.job.input):
        raise CheckpointError(f"job {view.id} began with another content of {attempt.job.input}", hint=hint)


def _write_whole(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, "utf-8")
    partial.replace(path)
