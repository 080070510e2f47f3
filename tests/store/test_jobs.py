"""Jobs: one owner at a time, seen by everybody, committed in groups that exist once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import numpy as np
import psycopg2
import pyarrow as pa
import pytest

from microflow.errors import CheckpointError, JobConflictError, StoreError
from microflow.settings import Retries
from microflow.store import jobs as jobs_module
from microflow.store.connector import PostgreSQLConnector
from microflow.store.jobs import JobStore
from microflow.store.progress import JobProgress, JobStatus


@pytest.fixture
def jobs(connector: PostgreSQLConnector) -> JobStore:
    return JobStore(connector)


@pytest.fixture
def other(migrated_url: str) -> Iterator[JobStore]:
    """Another process's view."""
    with PostgreSQLConnector(migrated_url) as connector:
        yield JobStore(connector)


@pytest.fixture
def job(jobs: JobStore) -> str:
    name = f"job-{uuid.uuid4().hex[:12]}"
    jobs.create(name, pipeline="batch", engine="local", spec={"a": 1}, spec_hash="s", input_sha256="i")
    return name


Group = tuple[dict[str, pa.Table], JobProgress, dict[str, list[object]]]


def a_group(job: str, microflow: int, progress: JobProgress) -> Group:
    same = {"job_id": [job]}
    counts = {"rows_in": [2], "released": [1], "suppressed": [1], "violations": [1]}
    place = {"microflow": [microflow], "first_row": [2 * microflow], "pure_ns": [5]}
    fate = {"released": [True, False], "compliance_status": [True, False], "violation_count": [0, 1]}
    rest = {"anonymization_applied": [True, False], "processing_time": ["2026-01-01T00:00:00Z"] * 2}
    where = {"rule": ["r"], "field": ["f"], "severity": [""], "regulation": [""], "article": [""]}
    return (
        {
            "checkpoints": pa.table(same | counts | place),
            "data_records": pa.table({"job_id": [job] * 2, "ordinal": [0, 1]} | fate | rest),
            "violations": pa.table(same | where | {"ordinal": [1], "span_start": [-1], "span_end": [-1]}),
        },
        progress.after(np.array([[2, 1, 1, 1, 5]]), 3),
        {"output": [7, "hash"]},
    )


def test_a_committed_group_is_seen_by_others_at_once(jobs: JobStore, other: JobStore, job: str) -> None:
    """Rows, checkpoints and progress appear together."""
    jobs.lock(job)
    assert jobs.commit(job, *a_group(job, 0, JobProgress())) is False
    view = other.load(job)
    assert (view.microflows, view.rows_read, view.rows_released, view.rows_suppressed, view.violations) == (
        1,
        2,
        1,
        1,
        1,
    )
    assert other.progress(job) == (JobProgress(1, 2, 1, 1, 1, 3), {"output": [7, "hash"]})


def test_a_microflow_can_be_committed_once_only(jobs: JobStore, job: str, connector: PostgreSQLConnector) -> None:
    """The key (job, microflow) is the last line of defence: nothing of a second commit stays."""
    jobs.lock(job)
    jobs.commit(job, *a_group(job, 0, JobProgress()))
    with pytest.raises(StoreError, match="checkpoints_pkey"):
        jobs.commit(job, *a_group(job, 0, JobProgress()))
    assert connector.query("SELECT count(*) FROM data_records WHERE job_id = %s", (job,)) == [(2,)]


def test_a_commit_whose_answer_was_lost_is_recognised(
    migrated_url: str, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server committed, the client did not hear: the group is there once and the job goes on."""
    with PostgreSQLConnector(migrated_url, retries=Retries((0.01,))) as connector:
        lost = []
        reserve = jobs_module.reserve_ids

        def commit_and_lose(cursor, table, count):
            if table == "violations" and not lost:
                lost.append(1)
                rows = a_group(job, 0, JobProgress())[0]["violations"]
                ids = pa.array(reserve(cursor, table, count))
                jobs_module.copy_table(cursor, "violations", rows.append_column("id", ids))
                cursor.connection.commit()
                raise psycopg2.OperationalError("server closed the connection unexpectedly")
            return reserve(cursor, table, count)

        monkeypatch.setattr(jobs_module, "reserve_ids", commit_and_lose)
        store = JobStore(connector)
        store.lock(job)
        store.commit(job, *a_group(job, 0, JobProgress()))
        assert lost == [1]
        for table, rows in {"checkpoints": 1, "data_records": 2, "violations": 1}.items():
            assert connector.query(f"SELECT count(*) FROM {table} WHERE job_id = %s", (job,)) == [(rows,)]


def test_a_second_owner_is_refused_and_a_first_that_is_gone_is_not(
    jobs: JobStore, other: JobStore, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock lives as long as its connection: neither killed nor finished owners stand in the way."""
    monkeypatch.setattr(jobs_module, "LOCK_SECONDS", 0.1)
    jobs.lock(job)
    with pytest.raises(JobConflictError, match="another process"):
        other.lock(job)
    jobs.unlock(job)
    other.lock(job)


def test_the_lock_is_taken_again_with_a_new_connection(
    migrated_url: str, other: JobStore, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a cut the owner is the owner again before it does anything else."""
    monkeypatch.setattr(jobs_module, "LOCK_SECONDS", 0.1)
    with PostgreSQLConnector(migrated_url, retries=Retries((0.01,))) as connector:
        mine = JobStore(connector)
        mine.lock(job)
        backend = connector.query("SELECT pg_backend_pid()")[0][0]
        with PostgreSQLConnector(migrated_url) as killer:
            killer.query("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        assert mine.load(job).id == job
        with pytest.raises(JobConflictError):
            other.lock(job)


def test_an_owner_that_lost_its_job_meanwhile_is_told(
    migrated_url: str, other: JobStore, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If somebody else took the job while the line was cut, two may not work on it."""
    monkeypatch.setattr(jobs_module, "LOCK_SECONDS", 0.1)
    with PostgreSQLConnector(migrated_url, retries=Retries((0.01,))) as connector:
        mine = JobStore(connector)
        mine.lock(job)
        backend = connector.query("SELECT pg_backend_pid()")[0][0]
        with PostgreSQLConnector(migrated_url) as killer:
            killer.query("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        other.lock(job)
        with pytest.raises(JobConflictError):
            mine.commit(job, *a_group(job, 0, JobProgress()))


def test_a_job_without_its_process_shows_as_interrupted(jobs: JobStore, other: JobStore, job: str) -> None:
    """Nobody has to tidy up after a kill for others to see what happened."""
    jobs.lock(job)
    jobs.start(job)
    assert other.load(job).status == "running"
    jobs.unlock(job)
    assert other.load(job).status == "interrupted"
    assert next(view for view in other.newest(200) if view.id == job).status == "interrupted"


def test_states_and_their_facts(jobs: JobStore, job: str) -> None:
    """From pending to completed; a stopped job says why, and forgets it when it goes on."""
    assert jobs.load(job).status == JobStatus.PENDING
    jobs.fail(job, JobStatus.FAILED, "the disk is full")
    assert (jobs.load(job).status, jobs.load(job).error) == ("failed", "the disk is full")
    assert jobs.request_cancel(job).cancel_requested
    jobs.start(job)
    assert jobs.load(job).error is None
    assert not jobs.load(job).cancel_requested
    jobs.finishing(job, rows_quarantined=3, sha256="h")
    assert (jobs.load(job).total_rows, jobs.load(job).rows_quarantined) == (3, 3)
    jobs.complete(job, {"a": 1})
    view = jobs.load(job)
    assert (view.status, view.metrics, view.spec) == ("completed", {"a": 1}, {"a": 1})
    assert view.finished_at is not None


def test_cancelling_is_heard_with_the_next_commit(jobs: JobStore, other: JobStore, job: str) -> None:
    """The answer to a commit says whether to go on; what was committed stays."""
    other.request_cancel(job)
    jobs.lock(job)
    assert jobs.commit(job, *a_group(job, 0, JobProgress())) is True
    assert other.progress(job)[0].microflows == 1


def test_a_gap_in_the_checkpoints_is_never_resumed_over(
    jobs: JobStore, job: str, connector: PostgreSQLConnector
) -> None:
    """A database somebody meddled with is refused rather than half continued."""
    jobs.lock(job)
    jobs.commit(job, *a_group(job, 0, JobProgress()))
    jobs.commit(job, *a_group(job, 1, JobProgress()))
    connector.transaction(
        lambda cursor: cursor.execute("DELETE FROM checkpoints WHERE job_id = %s AND microflow = 0", (job,))
    )
    with pytest.raises(CheckpointError, match="lacks 1"):
        jobs.progress(job)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "a;b", "ü"])
def test_a_name_that_could_hurt_is_refused(jobs: JobStore, name: str) -> None:
    """Names travel into commands, files and reports."""
    with pytest.raises(StoreError, match="no name for a job"):
        jobs.create(name, pipeline="batch", engine="local", spec={}, spec_hash="", input_sha256="")


def test_unknown_and_taken_names(jobs: JobStore, job: str) -> None:
    """One clear error each, with the way out."""
    with pytest.raises(StoreError, match="there is no job 'nope'"):
        jobs.load("nope")
    with pytest.raises(StoreError, match="there is no job 'nope'"):
        jobs.request_cancel("nope")
    with pytest.raises(StoreError, match="exists already"):
        jobs.create(job, pipeline="batch", engine="local", spec={}, spec_hash="", input_sha256="")
