"""Other jobs and other hands: two jobs on one output or database, a paused process, files that are changed."""

from __future__ import annotations

import os
import random
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from faults.attempts import Attempt, run_attempt
from faults.stand import METHODS, Case, Outcome, Stand, must_end, must_fail
from microflow.pipeline import JobSpec
from microflow.store.connector import PostgreSQLConnector
from microflow.store.jobs import JobStore

__all__ = ["INTERFERENCE"]

_PIPELINES = ("batch", "stream", "hybrid")


def _point(stand: Stand, job: JobSpec, seed: int) -> int:
    """A call of an uninterrupted run: behind its first half, so that the job is there, and well before its end."""
    calls = stand.whole(job)[1]
    return random.Random(f"point {seed}").randrange(calls // 2, calls * 3 // 4)


def second_process(stand: Stand, seed: int) -> Outcome:
    """A second process on a job is refused; the first one is not disturbed."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "second")
    assert run_attempt(Attempt(own, stand.url, kill_at=_point(stand, job, seed))).killed
    with PostgreSQLConnector(stand.url) as connector:
        jobs = JobStore(connector)
        jobs.lock(str(own.job_id))
        must_fail(run_attempt(Attempt(own, stand.url, resume=True)), "JobConflictError")
    stand.finish(own)
    return stand.outcome(job, own)


def two_jobs_one_output(stand: Stand, seed: int) -> Outcome:
    """A second job on the output of a running one is refused by name; the first one is not disturbed."""
    job = stand.job("batch", "local", random.Random(f"two jobs {seed}").choice(METHODS), ".csv")
    own = stand.fresh(job, "first")

    def start_another(pid: int) -> None:
        stand.wait(own, 1)
        other = replace(own, job_id=f"{own.job_id}-second", overwrite=True)
        os.kill(pid, signal.SIGSTOP)  # so that the second one finds it at work, however slow this machine is
        try:
            must_fail(run_attempt(Attempt(other, stand.url)), f"JobConflictError: job {own.job_id} is writing")
        finally:
            os.kill(pid, signal.SIGCONT)

    must_end(run_attempt(Attempt(own, stand.url, slow=0.3), start_another))
    return stand.outcome(job, own)


def another_job_between(stand: Stand, seed: int) -> Outcome:
    """Killed, another job takes the output and is killed too; resumed, the first one continues its own rows only."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "between")
    assert run_attempt(Attempt(own, stand.url, kill_at=_point(stand, job, seed))).killed
    other = replace(own, job_id=f"{own.job_id}-other")
    assert run_attempt(Attempt(other, stand.url, kill_at=_point(stand, job, -seed))).killed
    stand.finish(own)
    return stand.outcome(job, own)


def settled_part_overwritten(stand: Stand, seed: int) -> Outcome:
    """Bytes changed inside of what was settled: resuming refuses; with the bytes put back it ends as ever."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "changed")
    assert run_attempt(Attempt(own, stand.url, kill_at=stand.whole(job)[1] * 3 // 4)).killed
    (partial,) = own.output.parent.glob(f".{own.output.name}.*.partial")
    right = partial.read_bytes()
    place = random.Random(f"overwritten {seed}").randrange(len(right) // 2)
    partial.write_bytes(right[:place] + bytes([right[place] ^ 1]) + right[place + 1 :])
    must_fail(run_attempt(Attempt(own, stand.url, resume=True)), "CheckpointError")
    partial.write_bytes(right)
    stand.finish(own)
    return stand.outcome(job, own, note=f"byte {place}")


def input_changed(stand: Stand, seed: int) -> Outcome:
    """The input grows, shrinks or is replaced while it is read: refused, nothing appears; put back, it is resumed."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "input")
    copy = own.output.with_name(f"{own.job_id}.input.csv")
    shutil.copy2(job.input, copy)
    before = copy.stat()
    own = replace(own, input=copy)

    def change(_: int) -> None:
        stand.wait(own, 1)
        match seed % 3:
            case 0:
                with copy.open("ab") as file:
                    file.write(b"\n")
            case 1:
                os.truncate(copy, before.st_size // 2)
            case _:
                another = copy.with_suffix(".new")
                shutil.copy2(job.input, another)
                another.replace(copy)

    must_fail(run_attempt(Attempt(own, stand.url, slow=0.3), change), "InputError")
    assert not own.output.exists()
    shutil.copy2(job.input, copy)
    os.utime(copy, ns=(before.st_atime_ns, before.st_mtime_ns))
    stand.finish(own)
    return stand.outcome(job, own, note=("grown", "cut", "replaced")[seed % 3])


def paused_and_fenced(stand: Stand, seed: int) -> Outcome:
    """A process is paused and loses its connection; another completes the job; the first wakes and changes nothing."""
    draw = random.Random(f"paused {seed}")
    job = stand.job("batch", "local", draw.choice(METHODS), ".csv")
    own = stand.fresh(job, "paused")
    mark = draw.randrange(1, stand.microflows * 2 // 3)

    def pause(pid: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            stand.wait(own, mark)
            os.kill(pid, signal.SIGSTOP)
            connector.query(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        must_end(run_attempt(Attempt(own, stand.url, resume=True)))
        os.kill(pid, signal.SIGCONT)

    must_fail(run_attempt(Attempt(own, stand.url, slow=0.3), pause), "JobConflictError")
    return stand.outcome(job, own, note=f"at microflow {mark}")


def jobs_at_once(count: int, stand: Stand, seed: int) -> Outcome:
    """Jobs of every pipeline, method and format at once on one database: each ends as it does alone."""
    draw = random.Random(f"at once {count} {seed}")
    jobs = [
        stand.job(_PIPELINES[turn % 3], "local", draw.choice(METHODS), draw.choice((".csv", ".csv.gz", ".jsonl")))
        for turn in range(count)
    ]
    own = [stand.fresh(job, "together") for job in jobs]
    for job in jobs:
        stand.whole(job)
    with ThreadPoolExecutor(count) as threads:
        for ending in threads.map(lambda one: run_attempt(Attempt(one, stand.url, slow=0.1)), own):
            must_end(ending)
    ended = [stand.outcome(job, one) for job, one in zip(jobs, own, strict=True)]
    differences = tuple(difference for one in ended for difference in one.differences)
    return Outcome(sum(one.losses for one in ended), sum(one.duplicates for one in ended), differences)


#: Case to the number of times it is run.
INTERFERENCE: dict[str, tuple[Case, int]] = {
    "second process refused": (second_process, 3),
    "two jobs, one output": (two_jobs_one_output, 4),
    "two jobs at once": (partial(jobs_at_once, 2), 4),
    "eight jobs at once on one database": (partial(jobs_at_once, 8), 2),
    "another job killed on the output": (another_job_between, 4),
    "settled part overwritten": (settled_part_overwritten, 4),
    "input changed while read": (input_changed, 6),
    "paused and fenced": (paused_and_fenced, 6),
}
