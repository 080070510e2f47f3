"""Everything but the process itself fails: server, line, disk, Spark executor; or somebody cancels."""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import psutil

from faults.attempts import Attempt, run_attempt
from faults.stand import Outcome, Stand, must_end, must_fail
from microflow.pipeline import JobSpec
from microflow.store import PostgreSQLConnector
from microflow.store.jobs import JobStore
from microflow.store.server import ensure_server, server_url, stop_server

__all__ = ["OUTAGES"]

_SHORT = (0.05, 0.1)
_PATIENCE_SECONDS = 60.0


def cut_connection(stand: Stand, seed: int) -> Outcome:
    """The server ends the job's connection three times; the job makes a new one, takes its lock again and goes on."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "cut")
    draw = random.Random(f"cut_connection {seed}")
    marks = sorted(draw.sample(range(1, stand.microflows * 3 // 4), 3))

    def cut(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            for mark in marks:
                _wait_for_microflows(connector, own, mark)
                connector.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    must_end(run_attempt(Attempt(own, stand.url), cut))
    return stand.outcome("connection cut", job, own, note=f"at microflows {marks}")


def killed_server_comes_back(stand: Stand, seed: int) -> Outcome:
    """The embedded server is killed; the job starts it again and ends as if nothing had been."""
    job = stand.job("stream", "local", "tokenization", ".csv")
    own = stand.fresh(job, "server")
    mark = random.Random(f"killed_server_comes_back {seed}").randrange(1, stand.microflows * 3 // 4)
    with _server_of_its_own() as state:
        url = server_url(state)
        environ = (("MICROFLOW_STATE", str(state.parent)), ("DATABASE_URL", ""))
        must_end(run_attempt(Attempt(own, None, environ=environ), _kill_server(state, url, own, mark)))
        return stand.outcome("server killed, comes back", job, own, url, note=f"at microflow {mark}")


def killed_server_stays_away(stand: Stand, seed: int) -> Outcome:
    """Somebody else's server is killed: retries, then one clear error; once it runs again the job is resumed."""
    job = stand.job("hybrid", "local", "k_anonymity", ".csv")
    own = stand.fresh(job, "away")
    mark = random.Random(f"killed_server_stays_away {seed}").randrange(1, stand.microflows * 3 // 4)
    with _server_of_its_own() as state:
        url = server_url(state)
        ending = run_attempt(Attempt(own, url, pauses=_SHORT), _kill_server(state, url, own, mark))
        must_fail(ending, "StoreError: PostgreSQL failed")
        ensure_server(state)
        stand.finish(own, url)
        return stand.outcome("server killed, stays away", job, own, url, note=f"at microflow {mark}")


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
    return stand.outcome("disk full", job, own, note=f"after {room} bytes")


def cancelled(stand: Stand, seed: int) -> Outcome:
    """Somebody cancels the job: it stops at its next commit, says so, and can be resumed."""
    job = stand.job("stream", "local", "k_anonymity", ".csv")
    own = stand.fresh(job, "cancel")
    mark = random.Random(f"cancelled {seed}").randrange(1, stand.microflows // 2)

    def cancel(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            _wait_for_microflows(connector, own, mark)
            JobStore(connector).request_cancel(str(own.job_id))

    must_fail(run_attempt(Attempt(own, stand.url), cancel), "JobCancelledError")
    assert stand.status(own) == "cancelled"
    stand.finish(own)
    return stand.outcome("cancelled", job, own, note=f"at microflow {mark}")


def second_process(stand: Stand, _: int) -> Outcome:
    """A second process on a job is refused; the first one is not disturbed."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "second")
    assert run_attempt(Attempt(own, stand.url, kill_at=stand.whole(job)[1] // 2)).killed
    with PostgreSQLConnector(stand.url) as connector:
        jobs = JobStore(connector)
        jobs.lock(str(own.job_id))
        must_fail(run_attempt(Attempt(own, stand.url, resume=True)), "JobConflictError")
    stand.finish(own)
    return stand.outcome("second process refused", job, own)


def lost_spark_executor(stand: Stand, _: int) -> Outcome:
    """An executor is killed once it is there: Spark gives its work to another, and nothing is counted twice."""
    job = stand.job("batch", "spark", "tokenization", ".csv")
    own = stand.fresh(job, "executor")
    home = str(Path(find_spec("pyspark").origin).parent)
    environ = (("SPARK_MASTER", "local-cluster[2,1,1024]"), ("SPARK_HOME", home))
    must_end(run_attempt(Attempt(own, stand.url, environ=environ), _kill_first_executor))
    return stand.outcome("Spark executor lost", job, own)


#: Case to the number of times it is run.
OUTAGES: dict[Callable[[Stand, int], Outcome], int] = {
    cut_connection: 3,
    killed_server_comes_back: 2,
    killed_server_stays_away: 2,
    full_disk: 4,
    cancelled: 2,
    second_process: 1,
    lost_spark_executor: 1,
}


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


def _kill_server(state: Path, url: str, own: JobSpec, mark: int) -> Callable[[int], None]:
    def kill(_: int) -> None:
        with PostgreSQLConnector(url) as connector:
            _wait_for_microflows(connector, own, mark)
        postmaster = int((state / "data" / "postmaster.pid").read_text().split()[0])
        children = psutil.Process(postmaster).children()
        for victim in (postmaster, *(child.pid for child in children)):
            with suppress(ProcessLookupError):  # they also end by themselves once the first is gone
                os.kill(victim, signal.SIGKILL)

    return kill


def _kill_first_executor(pid: int) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if any("CoarseGrainedExecutorBackend" in word for word in process.cmdline()):
                    process.kill()
                    return
        time.sleep(0.05)
    raise AssertionError("no executor appeared")


def _wait_for_microflows(connector: PostgreSQLConnector, own: JobSpec, count: int) -> None:
    """Until the job has committed ``count`` microflows."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if connector.query("SELECT 1 FROM jobs WHERE id = %s AND microflows >= %s", (own.job_id, count)):
            return
        time.sleep(0.002)
    raise AssertionError(f"job {own.job_id} committed nothing for {_PATIENCE_SECONDS} s")
