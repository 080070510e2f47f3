"""Least privilege, asked of a real server: what the roles can do and, above all, what they cannot."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psycopg2
import pytest
from sqlalchemy.engine import make_url

from microflow.store.connector import PostgreSQLConnector
from microflow.store.database import driver_dsn
from microflow.store.experiments import ExperimentStore
from microflow.store.jobs import JobStore


@pytest.fixture
def as_role(migrated_url: str) -> Iterator[dict[str, str]]:
    """Addresses of two login users, each granted one of the roles."""
    urls = {}
    with PostgreSQLConnector(migrated_url) as owner:
        tag = uuid.uuid4().hex[:8]
        for role in ("writer", "reader"):
            user = f"mf_{role}_{tag}"
            owner.transaction(lambda cursor, user=user: cursor.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'pw'"))
            owner.transaction(lambda cursor, user=user, role=role: cursor.execute(f"GRANT microflow_{role} TO {user}"))
            url = make_url(migrated_url).set(username=user, password="pw")
            urls[role] = url.render_as_string(hide_password=False)
        yield urls
        for role in ("writer", "reader"):
            owner.transaction(lambda cursor, role=role: cursor.execute(f"DROP ROLE mf_{role}_{tag}"))


def is_refused(url: str, statement: str) -> bool:
    connection = psycopg2.connect(driver_dsn(url))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    except psycopg2.errors.InsufficientPrivilege:
        return True
    finally:
        connection.close()
    return False


def test_the_writer_can_do_all_that_jobs_and_experiments_need(as_role: dict[str, str], migrated_url: str) -> None:
    """Records, originals, violations, jobs, locks and trials are written without any further right."""
    job = f"job-{uuid.uuid4().hex[:8]}"
    with PostgreSQLConnector(as_role["writer"]) as connector:
        assert connector.batch_insert_records([{"job_id": job, "original_data": {"name": "Ada"}}])
        assert connector.batch_insert_violations([{"job_id": job, "rule": "r", "field": "f"}])
        jobs = JobStore(connector)
        jobs.create(job, pipeline="batch", engine="local", spec={}, spec_hash="", input_sha256="")
        jobs.lock(job)
        jobs.start(job)
        jobs.complete(job, {})
        assert jobs.progress(job)[0].microflows == 0
        assert jobs.load(job).status == "completed"
        report = (
            "SELECT rule, regulation, article, severity, count(DISTINCT ordinal) FROM violations GROUP BY 1, 2, 3, 4"
        )
        assert connector.query(report)
    trial = {"config": {}, "samples": {"s": [1.0]}, "metrics": {}, "machine": {}, "seed": 1, "git": ""}
    with ExperimentStore(as_role["writer"]) as store:
        store.record_trial(job, config_hash="h", **trial)
        store.record_trial(job, config_hash="h", **trial)
        assert list(store.trials(job)["config_hash"]) == ["h"]
    with PostgreSQLConnector(migrated_url) as owner:
        assert owner.query("SELECT original_data FROM original_records WHERE job_id = %s", (job,)) == [
            ({"name": "Ada"},)
        ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM original_records",
        "SELECT count(*) FROM original_records",
        "COPY original_records TO STDOUT",
        "SELECT processed_data FROM data_records",
        "DELETE FROM data_records",
        "UPDATE original_records SET original_data = '{}'",
        "UPDATE trials SET metrics = '{}'",
        "DELETE FROM trials",
        "TRUNCATE jobs",
        "UPDATE jobs SET spec = '{}'",
        "UPDATE jobs SET spec_hash = ''",
        "UPDATE jobs SET input_sha256 = ''",
        "SELECT record_id FROM violations",
        "CREATE TABLE mine (a int)",
    ],
)
def test_the_writer_cannot(as_role: dict[str, str], statement: str) -> None:
    """With a stolen password of the writer, one learns nothing about persons and cannot change results."""
    assert is_refused(as_role["writer"], statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM original_records",
        "SELECT processed_data FROM data_records",
        "SELECT * FROM data_records",
        "SELECT record_id FROM data_records",
        "INSERT INTO experiments (name) VALUES ('mine')",
        "UPDATE jobs SET status = 'completed'",
        "DELETE FROM samples",
    ],
)
def test_the_reader_cannot(as_role: dict[str, str], statement: str) -> None:
    """The reader sees no row of anybody and changes nothing."""
    assert is_refused(as_role["reader"], statement)


def test_the_reader_sees_results(as_role: dict[str, str]) -> None:
    """Experiments, jobs, rules broken and counts: enough for every figure and report."""
    for statement in (
        "SELECT * FROM trials, samples, experiments, jobs, checkpoints, violations LIMIT 1",
        "SELECT released, count(*), sum(violation_count) FROM data_records GROUP BY 1",
    ):
        assert not is_refused(as_role["reader"], statement)
    with ExperimentStore(as_role["reader"]) as store:
        store.experiments()
