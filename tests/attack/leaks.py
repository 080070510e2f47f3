"""Leaks by sentinel: values, keys and passwords in everything that a job leaves behind; file modes, sockets, roles."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil

from attack.stand import Outcome, judge, microflow
from microflow.store.connector import PostgreSQLConnector
from microflow.store.server import ensure_server, server_url

__all__ = ["cases"]

#: A value for each column of the file that no artefact may hold, unless a person asks for it.
SENTINELS = {
    "name": "Sentinella Quux", "email": "sentinel.quux@example.org", "ssn": "536-22-8765",
    "notes": "call Sentinella Quux at 555-867-5309",
}  # fmt: skip
SCHEMA = """\
policy: hipaa
columns:
  id: {role: record_id, type: integer}
  name: {role: identifier, kind: name}
  email: {role: identifier, kind: email}
  ssn: {role: identifier, kind: ssn}
  age: {role: quasi_identifier, type: integer, low: 0, high: 120}
  notes: {role: free_text}
"""
_KEY = "5e" * 32
_METHODS = ("tokenization", "k_anonymity", "differential_privacy")
_NAMES = (*_METHODS, "file mode", "partial", "server", "the ")


def cases(folder: Path, word: str = "") -> Iterator[Outcome]:
    """Jobs of every method and store, then the machine around them; any word that is not in their names skips all."""
    if word and not any(word in name for name in _NAMES):
        return
    _write(folder / "people.csv")
    (folder / "schema.yaml").write_text(SCHEMA)
    for method in _METHODS:
        yield from _job(folder, method)
    yield from _modes(folder)
    yield from _server(folder)


def _write(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "email", "ssn", "age", "notes"])
        for number in range(200):
            age = "Sentinella Quux" if number % 50 == 7 else 20 + number % 40
            writer.writerow([number, *list(SENTINELS.values())[:3], age, SENTINELS["notes"]])


def _job(folder: Path, method: str) -> Iterator[Outcome]:
    job, output = f"attack-{method}-{os.getpid()}", folder / f"{method}.csv"
    metrics, quarantine = folder / f"{method}.json", folder / f"{method}.quarantine.csv"
    ended = microflow(
        "run", "people.csv", output, "--schema", "schema.yaml", "--method", method, "--job", job, "--metrics", metrics,
        "--quarantine", quarantine, folder=folder,
    )  # fmt: skip
    values = [*SENTINELS.values(), _KEY]
    # The prose of a release is redacted, not removed: the words around the identifiers stay.
    released = [SENTINELS["name"], SENTINELS["email"], SENTINELS["ssn"], "555-867-5309", _KEY]
    yield judge(f"{method}: screen, metrics, quarantine", ended, values, allowed=(0,), artefacts=(metrics, quarantine))
    yield judge(f"{method}: the release", ended, released, allowed=(0,), artefacts=(output,))
    yield Outcome(f"{method}: the database", tuple(_in_database(values)))
    report = folder / f"{method}.html"
    reported = microflow("report", job, "--output", report, folder=folder)
    yield judge(f"{method}: the report", reported, values, artefacts=(report,))


def _in_database(values: list[str]) -> Iterator[str]:
    """The sentinels that any row of any table holds."""
    with PostgreSQLConnector() as connector:
        tables = connector.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables:
            for value in values:
                statement = f'SELECT count(*) FROM "{table}" t WHERE t::text LIKE %s'
                if connector.query(statement, (f"%{value}%",)) != [(0,)]:
                    yield f"{value[:10]}… in table {table}"


def _modes(folder: Path) -> Iterator[Outcome]:
    """Files with raw or detokenized values are their owner's alone, whatever the umask."""
    before = os.umask(0)
    try:
        run = ("run", "people.csv", "raw.csv", "--schema", "schema.yaml", "--method", "tokenization", "--reversible")
        microflow(*run, "--no-database", "--quarantine", "raw.quarantine.csv", "--quarantine-raw", folder=folder)
        microflow("detokenize", "raw.csv", "back.csv", "--schema", "schema.yaml", folder=folder)
    finally:
        os.umask(before)
    for name in ("raw.quarantine.csv", "back.csv"):
        path = folder / name
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else None
        faults = () if mode == 0o600 else (f"mode {mode and oct(mode)}",)
        yield Outcome(f"file mode: {name}", faults=faults)
    left = [path.name for path in folder.iterdir() if ".partial" in path.name or ".staged" in path.name]
    yield Outcome("no partial file is left", faults=tuple(left))


def _listening(process: psutil.Process) -> list[str]:
    """The addresses that a process listens on; none where it has ended meanwhile, as PostgreSQL's helpers do."""
    try:
        found = process.net_connections("inet")
    except psutil.NoSuchProcess:
        return []
    return [f"{one.laddr.ip}:{one.laddr.port}" for one in found if one.status == psutil.CONN_LISTEN]


def _server(folder: Path) -> Iterator[Outcome]:
    """The embedded server: its environment, its log, its sockets."""
    ensure_server()
    data = server_url().split("host=")[1]
    postmaster = psutil.Process(int(Path(data, "postmaster.pid").read_text("ascii").split()[0]))
    environment = " ".join(f"{name}={value}" for name, value in postmaster.environ().items())
    yield Outcome("the server's environment", tuple(leak for leak in (_KEY, "TOKEN_KEY") if leak in environment))
    log = Path(data, "server.log").read_text("utf-8", "replace")
    yield Outcome("the server's log", tuple(value for value in SENTINELS.values() if value in log))
    family = [postmaster, *postmaster.children(recursive=True)]
    open_to_all = [address for process in family for address in _listening(process)]
    yield Outcome("the server listens on no network", faults=tuple(open_to_all))
    mode = stat.S_IMODE(Path(data).stat().st_mode)
    yield Outcome("the server's folder is closed", faults=() if mode & 0o077 == 0 else (oct(mode),))
    assert folder.exists()
