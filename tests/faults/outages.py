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


def two_jobs_one_output(stand: Stand, _: int) -> Outcome:
    """A second job on the output of a running one is refused by name; the first one is not disturbed."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "first")

    def start_another(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            _wait_for_microflows(connector, own, 1)
        other = replace(own, job_id=f"{own.job_id}-second", overwrite=True)
        must_fail(run_attempt(Attempt(other, stand.url)), f"JobConflictError: job {own.job_id} is writing")

    # The first one waits at a commit, so that the second one finds it at work.
    must_end(run_attempt(Attempt(own, stand.url, slow=0.3), start_another))
    return stand.outcome("two jobs, one output", job, own)


def another_job_between(stand: Stand, _: int) -> Outcome:
    """Killed, another job takes the output and is killed too; resumed, the first one continues its own rows only."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "between")
    middle = stand.whole(job)[1] // 2
    assert run_attempt(Attempt(own, stand.url, kill_at=middle)).killed
    other = replace(own, job_id=f"{own.job_id}-other")
    assert run_attempt(Attempt(other, stand.url, kill_at=middle)).killed
    stand.finish(own)
    return stand.outcome("another job killed on the output", job, own)


def settled_part_overwritten(stand: Stand, _: int) -> Outcome:
    """Bytes changed inside of what was settled: resuming refuses; with the bytes put back it ends as ever."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "changed")
    assert run_attempt(Attempt(own, stand.url, kill_at=stand.whole(job)[1] * 3 // 4)).killed
    (partial,) = own.output.parent.glob(f".{own.output.name}.*.partial")
    right = partial.read_bytes()
    partial.write_bytes(right[:100] + b"X" + right[101:])
    must_fail(run_attempt(Attempt(own, stand.url, resume=True)), "CheckpointError")
    partial.write_bytes(right)
    stand.finish(own)
    return stand.outcome("settled part overwritten", job, own)


def input_changed(stand: Stand, _: int) -> Outcome:
    """The input grows while it is read: refused, nothing appears; put back, the job is resumed."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "input")
    copy = own.output.with_name(f"{own.job_id}.input.csv")
    shutil.copy2(job.input, copy)
    before = copy.stat()
    own = replace(own, input=copy)

    def grow(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            _wait_for_microflows(connector, own, 1)
        with copy.open("ab") as file:
            file.write(b"\n")

    must_fail(run_attempt(Attempt(own, stand.url, slow=0.3), grow), "InputError")
    assert not own.output.exists()
    shutil.copy2(job.input, copy)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    stand.finish(own)
    return stand.outcome("input changed while read", job, own)


def paused_and_fenced(stand: Stand, _: int) -> Outcome:
    """A process is paused and loses its connection; another completes the job; the first wakes and changes nothing."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "paused")

    def pause(pid: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            _wait_for_microflows(connector, own, 1)
            os.kill(pid, signal.SIGSTOP)
            connector.query(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        must_end(run_attempt(Attempt(own, stand.url, resume=True)))
        os.kill(pid, signal.SIGCONT)

    must_fail(run_attempt(Attempt(own, stand.url, slow=0.3), pause), "JobConflictError")
    return stand.outcome("paused and fenced", job, own)


def metrics_unwritable(stand: Stand, _: int) -> Outcome:
    """The folder of the metrics vanishes: the job is completed all the same and its document is in the database."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "metrics")
    folder = own.output.with_name(f"{own.job_id}.folder")
    folder.mkdir()
    own = replace(own, metrics=folder / "metrics.json")

    def remove(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            _wait_for_microflows(connector, own, 1)
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
                    if any("microflow.processors.worker" in word for word in process.cmdline()):
                        process.kill()
                        return
            time.sleep(0.01)
        raise AssertionError("no worker appeared")

    must_fail(run_attempt(Attempt(own, stand.url), kill), "MicroflowError: a worker process was ended")
    assert not own.output.exists()
    stand.finish(own)
    return stand.outcome("worker process killed", job, own)


#: Case to the number of times it is run.
OUTAGES: dict[Callable[[Stand, int], Outcome], int] = {
    cut_connection: 3,
    killed_server_comes_back: 2,
    killed_server_stays_away: 2,
    full_disk: 4,
    cancelled: 2,
    second_process: 1,
    two_jobs_one_output: 2,
    another_job_between: 2,
    settled_part_overwritten: 2,
    input_changed: 2,
    paused_and_fenced: 2,
    metrics_unwritable: 1,
    killed_worker: 3,
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
