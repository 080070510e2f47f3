"""A database by its address: what the address means, and migrations that build what the models say."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator

import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from microflow.errors import StoreError
from microflow.store.database import create_database, driver_dsn, drop_database, engine_url, ensure_schema, migrate
from microflow.store.models import Base


@pytest.fixture
def empty_url(database_url: str) -> Iterator[str]:
    name = f"microflow_empty_{uuid.uuid4().hex[:8]}"
    yield create_database(database_url, name)
    drop_database(database_url, name)


def tables(url: str) -> set[str]:
    engine = create_engine(engine_url(url))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_the_models_are_what_the_migrations_build(empty_url: str) -> None:
    """Alembic finds no difference between the newest schema and the models."""
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    with engine.connect() as connection:
        options = {"compare_type": True, "compare_server_default": False}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_processes_that_migrate_together_take_turns(empty_url: str) -> None:
    """Several first users at once end with one schema and no error."""
    errors: list[Exception] = []

    def run() -> None:
        try:
            ensure_schema(empty_url)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test must see it
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert {"jobs", "trials", "alembic_version"} <= tables(empty_url)


@pytest.mark.parametrize(("revision", "said"), [("9999", "newer than this version"), ("0001", "older than this")])
def test_a_database_of_another_time_is_left_alone(empty_url: str, revision: str, said: str) -> None:
    """This version of the package neither migrates nor uses a schema it does not know."""
    migrate(empty_url)
    engine = create_engine(engine_url(empty_url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    engine.dispose()
    with pytest.raises(StoreError, match=said):
        ensure_schema(empty_url)


def test_a_server_that_is_not_there_is_one_clear_error() -> None:
    """The message names neither password nor traceback."""
    with pytest.raises(StoreError) as caught:
        migrate("postgresql://me:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hunter2", "cannot be read"),
        ("postgresql:hunter2", "cannot be read"),
        ("postgresql://me:hunter2@host:port/db", "cannot be read"),
        ("postgresql://me:hunter2@[::1/db", "cannot be read"),
        ("host=db password=hunter2 url=postgresql://x y", "cannot be read"),
        ("mysql://me:hunter2@host/db", "mysql is not PostgreSQL"),
    ],
)
def test_an_address_that_is_none_is_not_repeated(url: str, said: str) -> None:
    """It may hold a password."""
    for read in (driver_dsn, engine_url):
        with pytest.raises(StoreError, match=said) as caught:
            read(url)
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_both_libraries_read_the_same_parameters(empty_url: str) -> None:
    """A blank is written as a plus or as %20."""
    for blank in ("+", "%20"):
        url = f"{empty_url}&options=-c{blank}statement_timeout%3D7s"
        connection = psycopg2.connect(driver_dsn(url))
        with connection, connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            assert cursor.fetchone() == ("7s",)
        connection.close()
        with create_engine(engine_url(url)).connect() as opened:
            assert opened.execute(text("SHOW statement_timeout")).scalar() == "7s"
