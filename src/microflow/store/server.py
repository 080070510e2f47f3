"""A real PostgreSQL that needs no installation: started when asked for, shared by every process, left running.

One server belongs to one data folder (`microflow.store.place`); whoever calls `ensure_server` first makes it, everybody
else finds it. It listens on a socket inside its folder only (mode 0700), so that no password is needed. It outlives its
clients, killed ones included; `stop_server` (``make db-stop``) ends it.

No second server ever runs on a folder, whoever sees it: every process of a server holds a lock on the folder's
``running`` file, which also speaks across containers that cannot see each other's process identifiers. On a network
file system, where a lock of a machine that has gone may have gone with it, nothing is decided: a person is asked.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
from sqlalchemy.engine import make_url

from microflow.errors import SetupError, StoreError
from microflow.store.addresses import driver_dsn
from microflow.store.occupancy import is_running, remove_stale_pid, running_lock
from microflow.store.place import SYSTEM_USER, Place

__all__ = ["create_database", "drop_database", "ensure_server", "server_url", "stop_server"]

START_SECONDS = 60
_POLL_SECONDS = 0.05
#: Room for the unfinished COPY of a large job, and for every test worker; the rest is PostgreSQL's own default.
OPTIONS = {"listen_addresses": "''", "max_connections": "64", "shared_buffers": "256MB", "max_wal_size": "4GB"}
#: No value of a row gets into the server's log: neither statements nor the context of a COPY that was cut, nor errors,
#: which quote what could not be converted; the client is told of those, and keeps the values to itself.
OPTIONS |= {"log_error_verbosity": "terse", "log_min_error_statement": "panic", "log_statement": "none"}
OPTIONS |= {"log_min_messages": "fatal"}
DATABASE = "microflow"


def server_url(folder: Path | None = None) -> str:
    """The address of the embedded server's own database, whether it runs or not."""
    return Place.of(folder).url(DATABASE)


def ensure_server(folder: Path | None = None) -> str:
    """Start the embedded server unless it already runs, and return its address; about a second the first time.

    Args:
        folder: Where the server keeps its files; by default ``postgresql-18`` in the state folder.

    Raises:
        SetupError: The server cannot be made or started here; the hint names the remedy.
    """
    place = Place.of(folder)
    if _answers(place):
        return place.url(DATABASE)
    with _only_one(place):
        if not _answers(place):
            _initialise(place)
            _start(place)
    return place.url(DATABASE)


def stop_server(folder: Path | None = None) -> bool:
    """Stop the embedded server; false if none was running. Open transactions are rolled back."""
    place = Place.of(folder)
    if not place.data.exists():
        return False
    with _only_one(place):
        if not is_running(place.folder):
            return False
        place.run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(place.data))
    return True


def create_database(url: str, name: str) -> str:
    """Create an empty database on the server of ``url`` and return its address."""
    _administer(url, f"CREATE DATABASE {_identifier(name)}")
    return make_url(url).set(database=name).render_as_string(hide_password=False)


def drop_database(url: str, name: str) -> None:
    """Drop a database and disconnect whoever uses it; one that does not exist is no error."""
    _administer(url, f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")


def _identifier(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise StoreError(f"{name!r} is no database name", hint="use letters, digits and underscores")
    return f'"{name}"'


def _administer(url: str, statement: str) -> None:
    """Run what PostgreSQL refuses inside a transaction."""
    try:
        connection = psycopg2.connect(driver_dsn(url))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise StoreError(f"PostgreSQL refused: {str(error).strip()}") from error


@contextmanager
def _only_one(place: Place) -> Iterator[None]:
    """Let one process at a time make, start or stop the server; the kernel frees the lock of a killed one."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _answers(place: Place) -> bool:
    try:
        psycopg2.connect(driver_dsn(place.url("postgres")), connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def _initialise(place: Place) -> None:
    """Make the data folder beside its final place and rename it: killed half way, it is simply made again."""
    if place.data.exists():
        return
    with tempfile.TemporaryDirectory(prefix="new-", dir=place.folder) as scratch:
        new = Path(scratch)
        if place.user is not None:
            os.chown(new, place.user.pw_uid, place.user.pw_gid)
        local = ("-U", SYSTEM_USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
        place.run("initdb", "-D", str(new / "data"), *local)
        (new / "data").rename(place.data)


def _start(place: Place) -> None:
    """Start and wait until it answers; children of a killed server may hold its memory for a moment longer."""
    options = " ".join(f"-c {name}={value}" for name, value in OPTIONS.items())
    options += f" -c unix_socket_directories={place.data}"
    log = str(place.data / "server.log")
    deadline = time.monotonic() + START_SECONDS
    while not _answers(place):
        with suppress(BlockingIOError), running_lock(place.folder) as lock:
            remove_stale_pid(place)
            place.run(
                "pg_ctl", "start", "-w", "-D", str(place.data), "-l", log, "-o", options, check=False, inherit=(lock,)
            )
        if time.monotonic() > deadline:
            raise SetupError(
                "the embedded PostgreSQL does not start",
                hint=f"a server of another container or machine may hold {place.folder}; its log is {log}",
            )
        time.sleep(_POLL_SECONDS)
    _create_own_database(place)


def _create_own_database(place: Place) -> None:
    with psycopg2.connect(driver_dsn(place.url("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        missing = cursor.fetchone() is None
    connection.close()
    if missing:
        create_database(place.url("postgres"), DATABASE)
