"""Database drivers are C code: the gates see them where audit hooks do not. On a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy

from microflow.errors import TimingContaminationError
from microflow.store.database import engine_url
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard
from microflow.timing.refusal import guarded_connection

pytestmark = pytest.mark.database


@pytest.fixture
def clock() -> PhaseClock:
    return PhaseClock(guard=PurityGuard())


@pytest.fixture
def engine(database_url: str, clock: PhaseClock) -> Iterator[sqlalchemy.Engine]:
    engine = sqlalchemy.create_engine(engine_url(database_url))
    yield engine
    engine.dispose()


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg2.extensions.connection]:
    connection = psycopg2.connect(database_url, connection_factory=guarded_connection())
    yield connection
    connection.close()


def test_sqlalchemy_statements_are_refused(engine: sqlalchemy.Engine, clock: PhaseClock) -> None:
    """A statement on a connection opened before the clock started is refused before the driver sees it."""
    with engine.connect() as open_before:
        with pytest.raises(TimingContaminationError, match=r"at .*test_database\.py"), clock.pure():
            open_before.execute(sqlalchemy.text("SELECT 1"))
        assert open_before.execute(sqlalchemy.text("SELECT 1")).scalar() == 1


def test_connecting_is_refused(database_url: str, engine: sqlalchemy.Engine, clock: PhaseClock) -> None:
    """Neither driver nor engine connects inside the clock."""
    with pytest.raises(TimingContaminationError, match=r"psycopg2\.connect"), clock.pure():
        psycopg2.connect(database_url)
    with pytest.raises(TimingContaminationError), clock.pure():
        engine.raw_connection()


@pytest.mark.parametrize("use", ["execute", "fetchall", "copy_expert", "commit", "rollback", "cursor"])
def test_every_way_to_the_server_is_refused(
    use: str, connection: psycopg2.extensions.connection, clock: PhaseClock
) -> None:
    """Cursors opened before the clock, transaction control, COPY: all ask first."""
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    ways = {
        "execute": lambda: cursor.execute("SELECT 2"),
        "fetchall": cursor.fetchall,
        "copy_expert": lambda: cursor.copy_expert("COPY (SELECT 1) TO STDOUT", None),
        "commit": connection.commit,
        "rollback": connection.rollback,
        "cursor": connection.cursor,
    }
    with pytest.raises(TimingContaminationError, match=r"at .*test_database\.py"), clock.pure():
        ways[use]()
    assert cursor.fetchall() == [(1,)]


def test_connections_of_others_are_guarded_too(database_url: str, engine: sqlalchemy.Engine, clock: PhaseClock) -> None:
    """Once the gates are closed a plain ``psycopg2.connect`` hands out guarded connections with any cursor class."""
    connection = psycopg2.connect(database_url)
    cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    cursor.execute("SELECT 1 AS one")
    assert [dict(row) for row in cursor.fetchall()] == [{"one": 1}]
    with pytest.raises(TimingContaminationError), clock.pure():
        cursor.execute("SELECT 1")
    connection.close()


def test_server_side_cursors_still_work(connection: psycopg2.extensions.connection) -> None:
    """A guarded connection is a connection: named cursors, context managers, iteration."""
    with connection, connection.cursor("named") as cursor:
        cursor.execute("SELECT generate_series(1, 3)")
        assert [row[0] for row in cursor] == [1, 2, 3]
