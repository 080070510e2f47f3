"""Database work that does not belong inside the clock: one function a kind, each done after a microflow's work."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import psycopg2
import pyarrow as pa
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case
from psycopg2.extras import Json, execute_values

from microflow.schema import Record
from microflow.settings import Settings
from microflow.store.addresses import driver_dsn
from microflow.store.server import ensure_server

__all__ = ["CLEAN", "INTRUSIONS", "Intrusion", "Place", "Rows", "documents", "open_place"]

#: What a microflow's work gives: Arrow from the batch engine, records from the stream engine.
Rows: TypeAlias = "pa.RecordBatch | list[Record]"

CLEAN = "clean"
#: A progress row is updated as often as this while a microflow is processed.
RECORDS_PER_PROGRESS = 100


@dataclass(frozen=True, slots=True)
class Place:
    """Where intrusions happen: a cursor that commits each statement, two tables, and a file."""

    cursor: Cursor
    rows_table: sql.Identifier
    progress_table: sql.Identifier
    checkpoint: Path


def documents(rows: Rows) -> list[Record]:
    """The rows as a database driver wants them: for Arrow a conversion, which is part of the intrusion."""
    return rows if isinstance(rows, list) else rows.to_pylist()


def clean(place: Place, rows: Rows) -> None:
    """Nothing: database work is done after the clock has stopped."""


def row_insert(place: Place, rows: Rows) -> None:
    """A single-row INSERT per record, each committed: the seed's "N × DB overhead"."""
    statement = sql.SQL("INSERT INTO {} (document) VALUES (%s)").format(place.rows_table)
    for row in documents(rows):
        place.cursor.execute(statement, (Json(row),))


def progress_update(place: Place, rows: Rows) -> None:
    """A progress row updated and committed every `RECORDS_PER_PROGRESS` records."""
    statement = sql.SQL("UPDATE {} SET done = done + %s").format(place.progress_table)
    for start in range(0, len(rows), RECORDS_PER_PROGRESS):
        place.cursor.execute(statement, (min(RECORDS_PER_PROGRESS, len(rows) - start),))


def batch_insert(place: Place, rows: Rows) -> None:
    """One INSERT of all rows per microflow, committed: better, and still inside the clock."""
    statement = sql.SQL("INSERT INTO {} (document) VALUES %s").format(place.rows_table)
    execute_values(place.cursor, statement, [(Json(row),) for row in documents(rows)], page_size=max(1, len(rows)))


def checkpoint_fsync(place: Place, rows: Rows) -> None:
    """A checkpoint file per microflow, written, synchronised with the disk and renamed into place."""
    written = place.checkpoint.with_suffix(".new")
    with written.open("w", encoding="utf-8") as stream:
        json.dump({"rows": len(rows)}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    written.replace(place.checkpoint)


Intrusion = Callable[[Place, Rows], None]

#: What is done inside the clock after each microflow's work, by name.
INTRUSIONS: dict[str, Intrusion] = {
    CLEAN: clean,
    "row insert": row_insert,
    "progress update": progress_update,
    "batch insert": batch_insert,
    "checkpoint fsync": checkpoint_fsync,
}


@contextmanager
def open_place() -> Iterator[Place]:
    """Tables of our own in ``DATABASE_URL``'s (or the embedded) database, and a file; gone afterwards.

    The tables are logged, as any that are meant to last, so that a commit costs what it costs.
    """
    name = f"contamination_{uuid.uuid4().hex[:12]}"
    rows, progress = sql.Identifier(f"{name}_rows"), sql.Identifier(f"{name}_progress")
    create = sql.SQL(
        "CREATE TABLE {rows} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, document jsonb NOT NULL,"
        " created_at timestamptz NOT NULL DEFAULT now()); CREATE TABLE {progress} (done bigint NOT NULL);"
        " INSERT INTO {progress} VALUES (0)"
    ).format(rows=rows, progress=progress)
    settings = Settings.read()
    state = settings.state_folder
    with closing(psycopg2.connect(driver_dsn(settings.database_url or ensure_server()))) as connection:
        connection.autocommit = True
        # Not the system's temporary folder: that may be memory, where synchronising costs nothing.
        state.mkdir(parents=True, exist_ok=True)
        with connection.cursor() as cursor, tempfile.TemporaryDirectory(dir=state) as folder:
            cursor.execute(create)
            try:
                yield Place(cursor, rows, progress, Path(folder) / "checkpoint.json")
            finally:
                cursor.execute(sql.SQL("DROP TABLE {}, {}").format(rows, progress))
