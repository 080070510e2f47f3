"""Everything but the process itself fails: server, line, disk; or somebody cancels."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psutil

from faults.attempts import Attempt, run_attempt
from faults.stand import METHODS, Case, Outcome, Stand, must_end, must_fail
from microflow.pipeline import JobSpec
from microflow.store.connector import PostgreSQLConnector
from microflow.store.jobs import JobStore
from microflow.store.server import ensure_server, server_url, stop_server

__all__ = ["OUTAGES"]

_SHORT = (0.05, 0.1)


def cut_connection(stand: Stand, seed: int) -> Outcome:
    """The server ends the job's connection three times; the job makes a new one, takes its lock again and goes on."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "cut")
    draw = random.Random(f"cut_connection {seed}")
    marks = sorted(draw.sample(range(1, stand.microflows * 3 // 4), 3))

    def cut(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            for mark in marks:
                stand.wait(own, mark)
                connector.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    must_end(run_attempt(Attempt(own, stand.url), cut))
    return stand.outcome(job, own, note=f"at microflows {marks}")


def killed_server_comes_back(stand: Stand, seed: int) -> Outcome:
    """The embedded server is killed; the job starts it again and ends as if nothing had been."""
    draw = random.Random(f"killed_server_comes_back {seed}")
    job = stand.job(draw.choice(("batch", "stream", "hybrid")), "local", "tokenization", ".csv")
    own = stand.fresh(job, "server")
    mark = draw.randrange(1, stand.microflows * 3 // 4)
    with _server_of_its_own() as state:
        url = server_url(state)
        environ = (("MICROFLOW_STATE", str(state.parent)), ("DATABASE_URL", ""))
        must_end(run_attempt(Attempt(own, None, environ=environ), _kill_server(stand, state, own, mark)))
        return stand.outcome(job, own, url, note=f"at microflow {mark}")


def killed_server_stays_away(stand: Stand, seed: int) -> Outcome:
    """Somebody else's server is killed: retries, then one clear error; once it runs again the job is resumed."""
    draw = random.Random(f"killed_server_stays_away {seed}")
    job = stand.job(draw.choice(("batch", "stream", "hybrid")), "local", "k_anonymity", ".csv")
    own = stand.fresh(job, "away")
    mark = draw.randrange(1, stand.microflows * 3 // 4)
    with _server_of_its_own() as state:
        url = server_url(state)
        ending = run_attempt(Attempt(own, url, pauses=_SHORT), _kill_server(stand, state, own, mark))
        must_fail(ending, "StoreError: PostgreSQL failed")
        ensure_server(state)
        stand.finish(own, url)
        return stand.outcome(job, own, url, note=f"at microflow {mark}")


def full_disk(stand: Stand, seed: int) -> Outcome:
    """No file may grow beyond a seeded size: one clear error, nothing appears; with room the job is resumed."""
    draw = random.Random(f"full_disk {seed}")
    job = stand.job("batch", "local", "tokenization", draw.choice((".csv", ".jsonl", ".parquet")))
    own = stand.fresh(job, "full")
    room = draw.randrange(2_000, stand.microflows * 2_000)
    must_fail(run_attempt(Attempt(own, stand.url, largest_file=room, pauses=_SHORT)), "MicroflowError")
    assert not own.output.exists()
    assert stand.status(own) == "failed"
    stand.finish(own)
    return stand.outcome(job, own, note=f"after {room} bytes")


def cancelled(stand: Stand, seed: int) -> Outcome:
    """Somebody cancels the job: it stops at its next commit, says so, and can be resumed."""
    job = stand.job("stream", "local", "k_anonymity", ".csv")
    own = stand.fresh(job, "cancel")
    mark = random.Random(f"cancelled {seed}").randrange(1, stand.microflows // 2)

    def cancel(_: int) -> None:
        stand.wait(own, mark)
        with PostgreSQLConnector(stand.url) as connector:
            JobStore(connector).request_cancel(str(own.job_id))

    must_fail(run_attempt(Attempt(own, stand.url), cancel), "JobCancelledError")
    assert stand.status(own) == "cancelled"
    stand.finish(own)
    return stand.outcome(job, own, note=f"at microflow {mark}")


def metrics_unwritable(stand: Stand, _: int) -> Outcome:
    """The folder of the metrics vanishes: the job is completed all the same and its document is in the database."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "metrics")
    folder = own.output.with_name(f"{own.job_id}.folder")
    folder.mkdir()
    own = replace(own, metrics=folder / "metrics.json")

    def remove(_: int) -> None:
        stand.wait(own, 1)
        folder.rmdir()

    must_end(run_attempt(Attempt(own, stand.url, slow=0.3), remove))
    assert stand.status(own) == "completed"
    return stand.outcome(job, own)


def full_disk_of_workers(stand: Stand, seed: int) -> Outcome:
    """Parts and spools of worker processes find the disk full: one clear error; with room the job is resumed."""
    draw = random.Random(f"full_disk_of_workers {seed}")
    job = replace(stand.job("batch", "local", draw.choice(METHODS), ".csv"), workers=2, split_bytes=20_000)
    stand.whole(job)  # Python's own compiled files are there then: it would leave broken ones on a full disk
    own = stand.fresh(job, "full")
    room = draw.randrange(500, 4_000)
    must_fail(run_attempt(Attempt(own, stand.url, largest_file=room, pauses=_SHORT)), "MicroflowError")
    assert not own.output.exists()
    assert stand.status(own) == "failed"
    stand.finish(own)
    return stand.outcome(job, own, note=f"after {room} bytes")


@contextmanager
def _server_of_its_own() -> Iterator[Path]:
    """A server that may be killed, in a state folder that is open to the system user root makes."""
    folder = Path(tempfile.mkdtemp(prefix="mf-", dir="/var/tmp"))
    folder.chmod(0o755)
    state = folder / "postgresql-18"
    ensure_server(state)
    try:
        yield state
    finally:
        stop_server(state)
        shutil.rmtree(folder)


def _kill_server(stand: Stand, state: Path, own: JobSpec, mark: int) -> Callable[[int], None]:
    url = server_url(state)

    def kill(_: int) -> None:
        stand.wait(own, mark, url)
        postmaster = int((state / "data" / "postmaster.pid").read_text().split()[0])
        children = psutil.Process(postmaster).children()
        for victim in (postmaster, *(child.pid for child in children)):
            with suppress(ProcessLookupError):  # they also end by themselves once the first is gone
                os.kill(victim, signal.SIGKILL)

    return kill


#: Case to the number of times it is run.
OUTAGES: dict[str, tuple[Case, int]] = {
    "connection cut": (cut_connection, 5),
    "server killed, comes back": (killed_server_comes_back, 4),
    "server killed, stays away": (killed_server_stays_away, 4),
    "disk full": (full_disk, 10),
    "disk full for workers": (full_disk_of_workers, 4),
    "cancelled": (cancelled, 4),
    "metrics unwritable": (metrics_unwritable, 2),
}
