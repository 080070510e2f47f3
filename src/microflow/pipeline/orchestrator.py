"""`PipelineOrchestrator`: one job from file to file and database, which can be resumed wherever it was stopped.

A group of microflows is settled in this order: its rows are on the disk (fsync), then one transaction records rows,
violations, checkpoints *and the length and hash of the output*. Killed in between, a job has written too much, never
too little: resuming copies as much as was recorded, sees that it hashes to the same, and goes on behind it.
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance.findings import Targets
from microflow.engine.worker import without_pandas
from microflow.errors import CheckpointError, JobCancelledError, JobConflictError, MicroflowError, StoreError
from microflow.pipeline.attempt import Attempt, CommitPolicy, Observer
from microflow.pipeline.job import JobSpec, check_seal, sealed, work_hash
from microflow.pipeline.journal import DatabaseJournal, MemoryJournal
from microflow.pipeline.output import drop_quarantine
from microflow.pipeline.partial import sha256_of
from microflow.pipeline.paths import held_files, refuse_clashes, refuse_overwriting
from microflow.settings import MICROFLOW_ROWS, Retries
from microflow.sinks.whole_file import write_whole
from microflow.sources.files import STANDARD, files_of, is_folder, is_url
from microflow.store.progress import LIVE, JobStatus

if TYPE_CHECKING:
    from microflow.store.connector import PostgreSQLConnector
    from microflow.store.jobs import JobStore, JobView

__all__ = ["PipelineOrchestrator", "SparkBatchProcessor"]

#: What says in a metrics document that it could not be written to its file: the job itself is done.
UNWRITTEN = "metrics_not_written"


class PipelineOrchestrator:
    """Orchestrator of jobs: reads, processes, writes, commits, measures.

    Whatever it raises, the output has not appeared; with a database the job says so to other processes (``microflow
    jobs``) and can be resumed.

    Args:
        connector: An open connection to the results database; with ``None`` nothing is stored and nothing can be
            resumed.
        commits: How often to commit.
        retries: How long to wait for room on a full disk.
        observe: Called with the totals after each group of microflows, while the clock stands still.
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
        without_pandas()
        stored = self._connector is not None
        job_id = job.job_id or f"{job.pipeline}-{secrets.token_hex(6)}"
        job = replace(job.absolute(), job_id=job_id, is_stored=stored)
        refuse_clashes(job, files_of(job.input))
        refuse_overwriting(job)
        with closing(Attempt(job, self._commits)) as attempt:
            if self._connector is None:
                return self._finish(attempt, None)
            if not attempt.source.is_repeatable:
                raise MicroflowError(
                    "an input that can be read only once cannot be resumed", hint="use --no-database, or a file"
                )
            if is_folder(job.output):
                raise MicroflowError(
                    "an output that is a folder cannot be resumed", hint="use --no-database, or a file as output"
                )
            jobs = self._store()
            with attempt.clock.pre():
                jobs.create(
                    job_id,
                    pipeline=job.pipeline,
                    engine=job.engine,
                    spec=sealed(job_id, job.to_document()),
                    spec_hash=work_hash(job, attempt.work),
                    input_sha256=attempt.source.sha256(),
                )
            return self._hold(jobs, attempt, resumed=False)

    def resume(self, job_id: str) -> dict[str, Any]:
        """Continue a job that was stopped, and end with the same output and database as if it never had been.

        Raises:
            CheckpointError: its input, settings, schema, policy or key are not those it began with, or what it had
                written is gone or was changed.
            JobConflictError: another process is working on it.
        """
        if self._connector is None:
            raise CheckpointError("without a database nothing can be resumed")
        jobs = self._store()
        view = jobs.load(job_id)
        if view.engine == LIVE:
            raise CheckpointError(
                f"job {view.id} is a stream", hint="start microflow stream again: it goes on behind its last commit"
            )
        job = JobSpec.from_document(check_seal(view.id, view.spec))
        if view.status == JobStatus.COMPLETED:
            # Only its metrics may be missing from their file.
            if view.metrics is None or job.metrics is None or os.path.lexists(job.metrics):
                raise _completed(job_id)
            _write_metrics(job, view.metrics)
            return view.metrics
        refuse_clashes(job, files_of(job.input))
        with closing(Attempt(job, self._commits)) as attempt:
            with attempt.clock.pre():
                _refuse_changes(view, attempt)
            return self._hold(jobs, attempt, resumed=True)

    def _store(self) -> JobStore:
        from microflow.store.jobs import JobStore

        assert self._connector is not None
        return JobStore(self._connector)

    def _hold(self, jobs: JobStore, attempt: Attempt, *, resumed: bool) -> dict[str, Any]:
        """Take the job, and go on from where it stands."""
        job_id = attempt.job.name
        with attempt.clock.pre():
            jobs.lock(job_id)
        try:
            return self._finish(attempt, jobs, resumed=resumed)
        finally:
            # A lost connection holds no lock, and its error is already on its way.
            with suppress(StoreError, JobConflictError):
                jobs.unlock(job_id)

    def _finish(self, attempt: Attempt, jobs: JobStore | None, *, resumed: bool = False) -> dict[str, Any]:
        """Work to the end, or say to others why not."""
        journal = MemoryJournal()
        try:
            with held_files(attempt.job, resumed=resumed):
                if jobs is not None:
                    with attempt.clock.pre():
                        journal = _begun(jobs, attempt)
                return self._work(attempt, journal)
        except (StoreError, JobConflictError):
            raise  # it cannot be recorded, or the job is no longer ours; without its lock the job shows as interrupted
        except JobCancelledError as error:
            journal.fail(JobStatus.CANCELLED, error.message)
            raise
        except MicroflowError as error:
            journal.fail(JobStatus.FAILED, error.message)
            raise
        except OSError as error:
            reason = f"the system refused: {error.strerror or type(error).__name__}"
            if error.filename:
                reason += f": {error.filename}"
            journal.fail(JobStatus.FAILED, reason)
            then = "then resume the job" if jobs is not None else "then run it again"
            raise MicroflowError(reason, hint=f"make room, or whatever else is missing; {then}") from error
        except BaseException as error:
            journal.fail(JobStatus.FAILED, type(error).__name__)  # a foreign error's text may quote a value
            raise

    def _work(self, attempt: Attempt, journal: MemoryJournal) -> dict[str, Any]:
        job, clock = attempt.job, attempt.clock
        if not _is_in_place(job, journal.finished):
            self._produce(attempt, journal)
        elif job.quarantine is not None and not journal.progress.rows_quarantined:
            drop_quarantine(job.quarantine, job.name)
        metrics = attempt.metrics(journal, 0 if self._connector is None else self._connector.reconnections)
        with clock.post():
            journal.complete(metrics)
            if job.metrics is not None:
                try:
                    _write_metrics(job, metrics)
                except MicroflowError as error:  # the job itself is done
                    metrics[UNWRITTEN] = str(error)
        return metrics

    def _produce(self, attempt: Attempt, journal: MemoryJournal) -> None:
        """Write the output and put it in place."""
        if not attempt.job.overwrite and journal.settled:
            refuse_overwriting(replace(attempt.job, metrics=None))
        files = attempt.open(journal, self._retries)
        try:
            attempt.process(journal, files, self._observe)
            with attempt.clock.post():
                journal.finishing(files.output.prepare())
                journal.put_in_place(lambda: files.finish(refused=bool(journal.progress.rows_quarantined)))
        except BaseException:
            files.close(discard=not journal.is_resumable)
            raise


class SparkBatchProcessor:
    """Batch processor of files on the active Spark session, or on a new one on ``SPARK_MASTER``.

    Args:
        schema: What the columns mean: a shipped name, or a path.
        policy: The rules; by default the schema's.
    """

    def __init__(self, schema: str = "healthcare", *, policy: str | None = None) -> None:
        self._schema, self._policy = schema, policy

    def process_batch_microflow(
        self,
        input_file: str | Path,
        output_file: str | Path,
        batch_size: int = MICROFLOW_ROWS,
        anonymization_method: str = "k_anonymity",
    ) -> dict[str, Any]:
        """Release a file, folder or pattern; the output replaces an older one.

        Rows that cannot be used are counted as quarantined and not kept. Tokens are made with the key of the
        environment.

        Args:
            input_file: What to read; every executor must see it.
            output_file: Where to; it appears whole or not at all.
            batch_size: Rows of a microflow.
            anonymization_method: With its default parameters.

        Returns:
            The metrics document.

        Raises:
            SetupError: there is no Java 17 or newer.
            MicroflowError: whatever is wrong with input, settings or the cluster.
        """
        job = JobSpec(
            input=input_file,
            output=output_file,
            schema=self._schema,
            policy=self._policy,
            method=MethodSettings(Method(anonymization_method)),
            engine="spark",
            microflow_rows=batch_size,
            overwrite=True,
            job_id=f"batch_microflow_spark_{secrets.token_hex(6)}",
        )
        return PipelineOrchestrator(None).run(job)


def _begun(jobs: JobStore, attempt: Attempt) -> DatabaseJournal:
    """The job's journal, from where it stands; the job shows as running."""
    view = jobs.load(attempt.job.name)
    if view.status == JobStatus.COMPLETED:
        raise _completed(view.id)
    targets = Targets(attempt.work.policy, attempt.work.schema).all
    journal = DatabaseJournal(jobs, view, targets, anonymized=attempt.job.method.method is not Method.IDENTITY)
    jobs.start(view.id)
    return journal


def _completed(job_id: str) -> CheckpointError:
    return CheckpointError(f"job {job_id} is completed", hint="run it again under another name")


def _is_in_place(job: JobSpec, sha256: str | None) -> bool:
    """True if a job that had committed every row had also put its output in place, as it still is."""
    if sha256 is None or str(job.output) == STANDARD or is_url(job.output) or not Path(job.output).exists():
        return False
    return sha256_of(Path(job.output)) == sha256


def _refuse_changes(view: JobView, attempt: Attempt) -> None:
    hint = "put back what it began with, or run it again under another name"
    if view.spec_hash != work_hash(attempt.job, attempt.work):
        raise CheckpointError(f"job {view.id} began with other settings, schema, policy or key", hint=hint)
    if view.input_sha256 != attempt.source.sha256():
        raise CheckpointError(f"job {view.id} began with another content of {attempt.job.input}", hint=hint)


def _write_metrics(job: JobSpec, metrics: dict[str, Any]) -> None:
    """Write the document whole or not at all.

    Raises:
        MicroflowError: the system refuses; the message says why.
    """
    assert job.metrics is not None
    try:
        write_whole(job.metrics, json.dumps(metrics, indent=2) + "\n")
    except MicroflowError as error:
        again = f"; microflow job {job.job_id} --json shows it" if job.is_stored else ""
        raise MicroflowError(f"the metrics: {error.message}", hint=f"the output is complete{again}") from error
