"""A PostgreSQL database by its address: what the address means to two libraries, and bringing it to the newest schema.

SQLAlchemy and Alembic are imported only where something is to be migrated: a job starts without them.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2

from microflow.errors import StoreError

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

__all__ = [
    "create_database", "driver_dsn", "drop_database", "engine_url", "ensure_schema", "migrate", "without_password",
]  # fmt: skip

#: Any number, as long as every process takes the same: one migrates, the others wait and find it done.
_LOCK = 7_215_004_311
_MIGRATIONS = Path(__file__).with_name("migrations")
#: Parameters of an address that are secret (libpq's names).
_SECRETS = {"password", "sslpassword", "oauth_client_secret"}


def driver_dsn(url: str) -> str:
    """The address for psycopg2; everything behind the scheme (TLS settings too) is passed through.

    Raises:
        StoreError: not an address of a PostgreSQL database.

    >>> driver_dsn("postgresql+psycopg2://me@host/db?sslmode=require")
    'postgresql://me@host/db?sslmode=require'
    """
    scheme, separator, rest = url.partition("://")
    try:
        _ = urlsplit(url).port  # which it reads only now
    except ValueError:
        separator = ""
    if not separator or " " in rest:
        # The text itself stays out of the message: it may hold a password.
        raise StoreError("DATABASE_URL cannot be read", hint="write postgresql://user@host:5432/database")
    name = scheme.partition("+")[0]
    if name not in {"postgresql", "postgres"}:
        raise StoreError(f"{name} is not PostgreSQL", hint="results live in PostgreSQL only")
    place, question, parameters = rest.partition("?")
    return f"postgresql://{place}{question}{parameters.replace('+', '%20')}"  # a blank, which libpq writes otherwise


def engine_url(url: str) -> URL:
    """The address for SQLAlchemy, with the driver we ship.

    Raises:
        StoreError: as in `driver_dsn`.

    >>> engine_url("postgres://me@host/db?sslmode=verify-full").drivername
    'postgresql+psycopg2'
    """
    from sqlalchemy.engine import make_url

    return make_url(driver_dsn(url)).set(drivername="postgresql+psycopg2")


def without_password(url: str) -> str:
    """The address as it may be shown.

    >>> without_password("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    >>> without_password("postgresql://host/db?user=me&password=secret")
    'postgresql://host/db?password=hidden&user=me'
    """
    shown = engine_url(url).set(drivername="postgresql")
    hidden = {name: "hidden" for name in shown.query if name.lower() in _SECRETS}
    return shown.update_query_dict(hidden).render_as_string(hide_password=True)


def create_database(url: str, name: str) -> str:
    """Create an empty database on the server of ``url`` and return its address."""
    _administer(url, f"CREATE DATABASE {_identifier(name)}")
    return engine_url(url).set(drivername="postgresql", database=name).render_as_string(hide_password=False)


def drop_database(url: str, name: str) -> None:
    """Drop a database and disconnect its users; one that does not exist is no error."""
    _administer(url, f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")


def _identifier(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise StoreError(f"{name!r} is no database name", hint="use letters, digits and underscores")
    return f'"{name}"'


def _administer(url: str, statement: str) -> None:
    """Run what PostgreSQL refuses inside a transaction."""
    try:
        with closing(psycopg2.connect(driver_dsn(url))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
    except psycopg2.Error as error:
        raise StoreError(f"PostgreSQL refused: {str(error).strip()}") from error


def migrate(url: str) -> None:
    """Run every migration that is missing, in one transaction; safe to call from many processes.

    Raises:
        StoreError: PostgreSQL cannot be reached or refuses.
    """
    from sqlalchemy import create_engine, text
    from sqlalchemy.exc import SQLAlchemyError

    engine = create_engine(engine_url(url))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _upgrade(connection)
    except SQLAlchemyError as error:
        # The driver's first line; the statement and its parameters stay out.
        reason = _first_line(getattr(error, "orig", None) or error)
        raise StoreError(f"the database cannot be migrated: {reason}") from error
    finally:
        engine.dispose()


def ensure_schema(url: str) -> None:
    """Migrate unless the database is at the newest schema already (then no privilege to change it is needed).

    Raises:
        StoreError: as `migrate`, or the database was made by a newer version of this package, or by one before 0.2.
    """
    found = _revision(url)
    known = sorted(path.name[1:5] for path in _MIGRATIONS.glob("v????_*.py"))
    if found == known[-1]:
        return
    if found is not None and found < known[0]:
        hint = "it was made before version 0.2: export its experiments with the microflow that made it, then drop it"
        raise StoreError(f"the database has schema {found}, which is older than this version can update", hint=hint)
    if found is not None and found not in known:
        raise StoreError(f"the database has schema {found}, which is newer than this version", hint="update microflow")
    migrate(url)


def _revision(url: str) -> str | None:
    try:
        with closing(psycopg2.connect(driver_dsn(url))) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT version_num FROM alembic_version")
            found = cursor.fetchone()
    except psycopg2.errors.UndefinedTable:
        return None
    except psycopg2.Error as error:
        raise StoreError(f"the database cannot be read: {_first_line(error)}") from error
    return None if found is None else str(found[0])


def _upgrade(connection: Connection) -> None:
    """From Python: no ini file, no environment script, no working directory."""
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    config = Config()
    for option in ("script_location", "version_locations"):
        config.set_main_option(option, str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)

    def steps(current: Any, _: object) -> Any:
        return scripts._upgrade_revs("head", current)  # noqa: SLF001 - what alembic.command.upgrade itself passes

    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
