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
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import psutil

from faults.attempts import Attempt, run_attempt
from faults.stand import Outcome, Stand, must_end, must_fail, wait_for_microflows
from microflow.pipeline import JobSpec
from microflow.store import PostgreSQLConnector
from microflow.store.jobs import JobStore
from microflow.store.server import ensure_server, server_url, stop_server

__all__ = ["OUTAGES"]

_SHORT = (0.05, 0.1)
_PATIENCE_SECONDS = 60.0
_METHODS = ("tokenization", "k_anonymity")


def cut_connection(stand: Stand, seed: int) -> Outcome:
    """The server ends the job's connection three times; the job makes a new one, takes its lock again and goes on."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "cut")
    draw = random.Random(f"cut_connection {seed}")
    marks = sorted(draw.sample(range(1, stand.microflows * 3 // 4), 3))

    def cut(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            for mark in marks:
                wait_for_microflows(connector, own, mark)
                connector.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )

    must_end(run_attempt(Attempt(own, stand.url), cut))
    return stand.outcome("connection cut", job, own, note=f"at microflows {marks}")


def killed_server_comes_back(stand: Stand, seed: int) -> Outcome:
    """The embedded server is killed; the job starts it again and ends as if nothing had been."""
    draw = random.Random(f"killed_server_comes_back {seed}")
    job = stand.job(draw.choice(("batch", "stream", "hybrid")), "local", "tokenization", ".csv")
    own = stand.fresh(job, "server")
    mark = draw.randrange(1, stand.microflows * 3 // 4)
    with _server_of_its_own() as state:
        url = server_url(state)
        environ = (("MICROFLOW_STATE", str(state.parent)), ("DATABASE_URL", ""))
        must_end(run_attempt(Attempt(own, None, environ=environ), _kill_server(state, url, own, mark)))
        return stand.outcome("server killed, comes back", job, own, url, note=f"at microflow {mark}")


def killed_server_stays_away(stand: Stand, seed: int) -> Outcome:
    """Somebody else's server is killed: retries, then one clear error; once it runs again the job is resumed."""
    draw = random.Random(f"killed_server_stays_away {seed}")
    job = stand.job(draw.choice(("batch", "stream", "hybrid")), "local", "k_anonymity", ".csv")
    own = stand.fresh(job, "away")
    mark = draw.randrange(1, stand.microflows * 3 // 4)
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
            wait_for_microflows(connector, own, mark)
            JobStore(connector).request_cancel(str(own.job_id))

    must_fail(run_attempt(Attempt(own, stand.url), cancel), "JobCancelledError")
    assert stand.status(own) == "cancelled"
    stand.finish(own)
    return stand.outcome("cancelled", job, own, note=f"at microflow {mark}")


def lost_spark_executor(stand: Stand, _: int) -> Outcome:
    """An executor is killed once it is there: Spark gives its work to another, and nothing is counted twice."""
    job = stand.job("batch", "spark", "tokenization", ".csv")
    own = stand.fresh(job, "executor")
    home = str(Path(find_spec("pyspark").origin).parent)
    environ = (("SPARK_MASTER", "local-cluster[2,1,1024]"), ("SPARK_HOME", home))
    must_end(run_attempt(Attempt(own, stand.url, environ=environ), _kill_first_executor))
    return stand.outcome("Spark executor lost", job, own)


def metrics_unwritable(stand: Stand, _: int) -> Outcome:
    """The folder of the metrics vanishes: the job is completed all the same and its document is in the database."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "metrics")
    folder = own.output.with_name(f"{own.job_id}.folder")
    folder.mkdir()
    own = replace(own, metrics=folder / "metrics.json")

    def remove(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            wait_for_microflows(connector, own, 1)
        folder.rmdir()

    must_end(run_attempt(Attempt(own, stand.url, slow=0.3), remove))
    assert stand.status(own) == "completed"
    return stand.outcome("metrics unwritable", job, own)


def killed_worker(stand: Stand, _: int) -> Outcome:
    """A worker process is killed: one clear error, and the job is resumed."""
    job = replace(stand.job("batch", "local", "tokenization", ".csv"), workers=2, split_bytes=20_000)
    own = stand.fresh(job, "worker")

    def kill(pid: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for process in psutil.Process(pid).children():
                with suppress(psutil.NoSuchProcess):
                    if any("microflow.engine.worker" in word for word in process.cmdline()):
                        process.kill()
                        return
            time.sleep(0.01)
        raise AssertionError("no worker appeared")

    must_fail(run_attempt(Attempt(own, stand.url), kill), "MicroflowError: a worker process was ended")
    assert not own.output.exists()
    stand.finish(own)
    return stand.outcome("worker process killed", job, own)


def killed_with_workers(stand: Stand, seed: int) -> Outcome:
    """SIGKILL from outside at a seeded commit while workers work: they end by themselves, and the job is resumed."""
    draw = random.Random(f"killed_with_workers {seed}")
    job = replace(stand.job("batch", "local", draw.choice(_METHODS), ".csv"), workers=2, split_bytes=20_000)
    own = stand.fresh(job, "workers")
    mark = draw.randrange(1, stand.microflows * 3 // 4)
    workers: list[psutil.Process] = []

    def kill(pid: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            wait_for_microflows(connector, own, mark)
        workers.extend(psutil.Process(pid).children())
        os.kill(pid, signal.SIGKILL)

    assert run_attempt(Attempt(own, stand.url, slow=0.1), kill).killed
    _, alive = psutil.wait_procs(workers, _PATIENCE_SECONDS)
    assert not alive, "a worker outlived its job"
    stand.finish(own)
    return stand.outcome("SIGKILL with workers", job, own, note=f"at microflow {mark}")


def full_disk_of_workers(stand: Stand, seed: int) -> Outcome:
    """Parts and spools of worker processes find the disk full: one clear error; with room the job is resumed."""
    draw = random.Random(f"full_disk_of_workers {seed}")
    job = replace(stand.job("batch", "local", draw.choice(_METHODS), ".csv"), workers=2, split_bytes=20_000)
    stand.whole(job)  # Python's own compiled files are there then: it would leave broken ones on a full disk
    own = stand.fresh(job, "full")
    room = draw.randrange(500, 4_000)
    must_fail(run_attempt(Attempt(own, stand.url, largest_file=room, pauses=_SHORT)), "MicroflowError")
    assert not own.output.exists()
    assert stand.status(own) == "failed"
    stand.finish(own)
    return stand.outcome("disk full for workers", job, own, note=f"after {room} bytes")


#: Case to the number of times it is run.
OUTAGES: dict[Callable[[Stand, int], Outcome], int] = {
    cut_connection: 5,
    killed_server_comes_back: 4,
    killed_server_stays_away: 4,
    full_disk: 10,
    full_disk_of_workers: 4,
    cancelled: 4,
    metrics_unwritable: 2,
    killed_worker: 4,
    killed_with_workers: 6,
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
            wait_for_microflows(connector, own, mark)
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
