"""Bring a database to the newest schema, from Python: no ini file, no environment script, no working directory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from microflow.errors import StoreError
from microflow.store.addresses import engine_url

__all__ = ["ensure_schema", "migrate"]

#: Any number, as long as every process takes the same: one migrates, the others wait and find it done.
_LOCK = 7_215_004_311


def migrate(url: str, revision: str = "head") -> None:
    """Run every migration that is missing up to ``revision``, in one transaction; safe to call from many processes.

    Raises:
        StoreError: PostgreSQL cannot be reached or refuses.
    """
    engine = create_engine(engine_url(url))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            _upgrade(connection, revision)
    except SQLAlchemyError as error:
        raise StoreError(f"the database cannot be migrated: {_reason(error)}") from error
    finally:
        engine.dispose()


def ensure_schema(url: str) -> None:
    """Migrate unless the database is at the newest schema already (then no privilege to change it is needed).

    Raises:
        StoreError: as `migrate`, or the database was made by a newer version of this package.
    """
    engine = create_engine(engine_url(url))
    try:
        with engine.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
    except SQLAlchemyError as error:
        raise StoreError(f"the database cannot be read: {_reason(error)}") from error
    finally:
        engine.dispose()
    _, scripts = _scripts()
    if found == scripts.get_current_head():
        return
    if found is not None and found not in {script.revision for script in scripts.walk_revisions()}:
        raise StoreError(f"the database has schema {found}, which is newer than this version", hint="update microflow")
    migrate(url)


def _scripts() -> tuple[Config, ScriptDirectory]:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.set_main_option("path_separator", "os")
    return config, ScriptDirectory.from_config(config)


def _upgrade(connection: Connection, revision: str) -> None:
    config, scripts = _scripts()

    def steps(current: Any, _: MigrationContext) -> Any:
        return scripts._upgrade_revs(revision, current)  # noqa: SLF001 - what alembic.command.upgrade itself passes

    with EnvironmentContext(config, scripts, fn=steps) as environment:
        environment.configure(connection=connection)
        environment.run_migrations()


def _reason(error: SQLAlchemyError) -> str:
    """The driver's first line; the statement and its parameters stay out."""
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
