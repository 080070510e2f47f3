"""Bulk inserts: all rows or none, ids in order, and a server that may vanish at the worst moment."""

from __future__ import annotations

import os
import signal
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
import pytest

from microflow.errors import StoreError, TimingContaminationError
from microflow.settings import Retries
from microflow.store.connector import PostgreSQLConnector
from microflow.store.database import driver_dsn
from microflow.store.server import ensure_server
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard


def a_job() -> str:
    return f"job-{uuid.uuid4().hex[:12]}"


def count(connector: PostgreSQLConnector, table: str, job: str) -> int:
    return connector.query(f"SELECT count(*) FROM {table} WHERE job_id = %s", (job,))[0][0]


def test_every_key_of_the_seed_is_stored_and_ids_follow_the_records(connector: PostgreSQLConnector) -> None:
    """The ids name the records in the order given, over several blocks and pieces."""
    job, now = a_job(), datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    records = [
        {
            "job_id": job,
            "record_id": f"{job}_{number}",
            "original_data": {"name": f'O\'Neill, "{number}"\n\\N', "nul": "a\0b"},
            "processed_data": {"name": None, "age": "[40-50]", "é": "✓"},
            "compliance_status": number % 2 == 0,
            "violation_count": number % 3,
            "violation_types": ["hipaa-ssn", 'odd {"},'] if number % 3 else [],
            "processing_time": now,
            "anonymization_applied": True,
        }
        for number in range(11_003)
    ]
    ids = connector.batch_insert_records(records)
    assert ids == sorted(set(ids))
    found = connector.query(
        "SELECT id, record_id, processed_data, compliance_status, violation_count, violation_types, processing_time,"
        " anonymization_applied FROM data_records WHERE job_id = %s ORDER BY id",
        (job,),
    )
    keys = list(records[0])
    keys.remove("original_data")
    assert found == [(i, *(record[key] for key in keys[1:])) for i, record in zip(ids, records, strict=True)]
    originals = connector.query("SELECT original_data FROM original_records WHERE job_id = %s ORDER BY id", (job,))
    expected = {"name": 'O\'Neill, "7"\n\\N', "nul": "a\ufffdb"}
    assert len(originals) == len(records)
    assert originals[7][0] == expected, "NUL, which JSONB cannot hold, becomes U+FFFD; all else comes back as it was"


def test_absent_keys_take_the_seeds_defaults(connector: PostgreSQLConnector) -> None:
    """Only the job must be named; nothing personal is stored unasked."""
    job = a_job()
    connector.batch_insert_records([{"job_id": job}])
    columns = "compliance_status, violation_count, violation_types, anonymization_applied, processed_data"
    assert connector.query(f"SELECT {columns} FROM data_records WHERE job_id = %s", (job,)) == [
        (True, 0, [], False, None)
    ]
    assert count(connector, "original_records", job) == 0


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"violation_count": "secret-value"}, "violation_count"),
        ({"violation_count": 99_999}, "violation_count"),
        ({"processed_data": {"x": float("nan")}}, "JSON"),
        ({"nonsense": 1}, "unknown key 'nonsense'"),
        ({"job_id": None}, "'job_id' is missing"),
        ({"job_id": "secret-value" * 20}, "StringDataRightTruncation"),
    ],
)
def test_one_bad_record_keeps_all_of_them_out(
    connector: PostgreSQLConnector, broken: dict[str, object], message: str
) -> None:
    """All rows or none, also where the bad one comes late; the error never quotes a value."""
    job = a_job()
    records = [{"job_id": job, "original_data": {"a": 1}} for _ in range(12_000)]
    records[11_500] |= broken
    with pytest.raises(StoreError, match=message) as caught:
        connector.batch_insert_records(records)
    assert "secret-value" not in str(caught.value)
    assert count(connector, "data_records", job) == count(connector, "original_records", job) == 0
    assert len(connector.batch_insert_records([{"job_id": job}])) == 1, "the connection can be used again"


def test_violations_are_stored_with_their_place(connector: PostgreSQLConnector) -> None:
    """Rule, field and span; without a span the whole field is meant."""
    job = a_job()
    whole = {"job_id": job, "rule": "hipaa-ssn", "field": "ssn", "severity": "high", "ordinal": 5}
    inside = {"job_id": job, "rule": "hipaa-text-ssn", "field": "notes", "start": 3, "end": 14, "article": "164.514"}
    ids = connector.batch_insert_violations([whole, inside])
    assert len(ids) == 2
    found = connector.query(
        "SELECT rule, field, severity, article, ordinal, span_start, span_end FROM violations"
        " WHERE job_id = %s ORDER BY id",
        (job,),
    )
    assert found == [
        ("hipaa-ssn", "ssn", "high", "", 5, -1, -1),
        ("hipaa-text-ssn", "notes", "", "164.514", None, 3, 14),
    ]
    with pytest.raises(StoreError, match="'rule' is missing"):
        connector.batch_insert_violations([{"job_id": job, "field": "ssn"}])


def test_nothing_is_nothing(connector: PostgreSQLConnector) -> None:
    """An empty batch needs no database."""
    assert connector.batch_insert_records([]) == connector.batch_insert_violations([]) == []


def test_concurrent_loads_never_share_an_id(migrated_url: str) -> None:
    """Blocks of ids belong to one load each, whoever else loads meanwhile."""
    job = a_job()
    with PostgreSQLConnector(migrated_url) as one, PostgreSQLConnector(migrated_url) as other:
        ids = [number for turn in (one, other) * 3 for number in turn.batch_insert_records([{"job_id": job}] * 1_500)]
    assert len(set(ids)) == len(ids) == 9_000


def test_a_cut_connection_is_made_again(migrated_url: str) -> None:
    """An idle connection that the server ended is replaced without the caller noticing."""
    job = a_job()
    with PostgreSQLConnector(migrated_url, retries=Retries((0.01,))) as connector:
        backend = connector.query("SELECT pg_backend_pid()")[0][0]
        with PostgreSQLConnector(migrated_url) as other:
            other.query("SELECT pg_terminate_backend(%s, 5000)", (backend,))
        assert len(connector.batch_insert_records([{"job_id": job}])) == 1
        assert connector.reconnections == 1
        assert count(connector, "data_records", job) == 1


def test_an_answer_lost_after_the_commit_is_not_repeated(migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hardest case: the server committed, the client never heard. The rows are there once."""
    job = a_job()
    with PostgreSQLConnector(migrated_url, retries=Retries((0.01, 0.01))) as connector:
        attempts = []
        transaction = connector.transaction

        def losing(work, **options):
            if "done" not in options:
                return transaction(work, **options)

            def work_and_lose(cursor):
                result = work(cursor)
                if not attempts:
                    attempts.append(1)
                    cursor.connection.commit()
                    raise psycopg2.OperationalError("server closed the connection unexpectedly")
                return result

            return transaction(work_and_lose, **options)

        monkeypatch.setattr(connector, "transaction", losing)
        ids = connector.batch_insert_records([{"job_id": job}] * 10)
        monkeypatch.undo()
        assert attempts == [1]
        assert len(ids) == count(connector, "data_records", job) == 10


def test_a_server_that_stays_away_is_one_clear_error_after_back_off(migrated_url: str) -> None:
    """Every pause is taken, then the caller is told what to do; the password is nowhere."""
    pauses: list[float] = []
    gone = "postgresql://me:hunter2@127.0.0.1:1/none"
    with pytest.raises(StoreError, match="Connection refused") as caught:
        PostgreSQLConnector(gone, retries=Retries((0.1, 0.2, 0.4), sleep=pauses.append)).__enter__()
    assert pauses == [0.1, 0.2, 0.4]
    assert "hunter2" not in str(caught.value)


def test_an_embedded_server_that_was_killed_is_started_again(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an address of somebody else's, the connector may heal its server, and does."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("MICROFLOW_STATE", str(server_folder.parent))
    folder = server_folder.parent / "postgresql-18"
    server_folder.symlink_to(folder)  # so that the fixture stops the server that the connector starts
    with PostgreSQLConnector() as connector:
        assert connector.url == ensure_server(folder)
        os.kill(int((folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        os.kill(connector.query("SELECT pg_backend_pid()")[0][0], signal.SIGKILL)
        assert len(connector.batch_insert_records([{"job_id": a_job()}])) == 1


def test_while_the_clock_runs_no_database_work_is_done(connector: PostgreSQLConnector) -> None:
    """The guard refuses a connector's every call inside the pure phase, and lets it be before and after."""
    clock = PhaseClock(guard=PurityGuard())
    with pytest.raises(TimingContaminationError), clock.pure():
        connector.query("SELECT 1")
    with pytest.raises(TimingContaminationError), clock.pure():
        PostgreSQLConnector(connector.url).__enter__()
    assert connector.query("SELECT 1") == [(1,)]


def test_tls_settings_reach_the_driver() -> None:
    """What the address says about TLS is passed through: a server without it is refused when it is required."""
    dsn = driver_dsn("postgresql://me@127.0.0.1:1/db?sslmode=verify-full&sslrootcert=/ca.pem")
    assert "sslmode=verify-full" in dsn
    assert "sslrootcert" in dsn
