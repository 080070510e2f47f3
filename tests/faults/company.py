"""Other jobs and other hands: two jobs on one output or database, a paused process, files that are changed."""

from __future__ import annotations

import os
import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace

from faults.attempts import Attempt, run_attempt
from faults.stand import Outcome, Stand, must_end, must_fail, wait_for_microflows
from microflow.pipeline import JobSpec
from microflow.store import PostgreSQLConnector
from microflow.store.jobs import JobStore

__all__ = ["COMPANY"]

_METHODS = ("tokenization", "k_anonymity")


def _point(stand: Stand, job: JobSpec, seed: int) -> int:
    """A call in the middle half of an uninterrupted run."""
    calls = stand.whole(job)[1]
    return random.Random(f"point {seed}").randrange(calls // 4, calls * 3 // 4)


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
    return stand.outcome("second process refused", job, own)


def two_jobs_one_output(stand: Stand, seed: int) -> Outcome:
    """A second job on the output of a running one is refused by name; the first one is not disturbed."""
    job = stand.job("batch", "local", random.Random(f"two jobs {seed}").choice(_METHODS), ".csv")
    own = stand.fresh(job, "first")

    def start_another(pid: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            wait_for_microflows(connector, own, 1)
        other = replace(own, job_id=f"{own.job_id}-second", overwrite=True)
        os.kill(pid, signal.SIGSTOP)  # so that the second one finds it at work, however slow this machine is
        try:
            must_fail(run_attempt(Attempt(other, stand.url)), f"JobConflictError: job {own.job_id} is writing")
        finally:
            os.kill(pid, signal.SIGCONT)

    must_end(run_attempt(Attempt(own, stand.url, slow=0.3), start_another))
    return stand.outcome("two jobs, one output", job, own)


def another_job_between(stand: Stand, seed: int) -> Outcome:
    """Killed, another job takes the output and is killed too; resumed, the first one continues its own rows only."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "between")
    assert run_attempt(Attempt(own, stand.url, kill_at=_point(stand, job, seed))).killed
    other = replace(own, job_id=f"{own.job_id}-other")
    assert run_attempt(Attempt(other, stand.url, kill_at=_point(stand, job, -seed))).killed
    stand.finish(own)
    return stand.outcome("another job killed on the output", job, own)


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
    return stand.outcome("settled part overwritten", job, own, note=f"byte {place}")


def input_changed(stand: Stand, seed: int) -> Outcome:
    """The input grows, shrinks or is replaced while it is read: refused, nothing appears; put back, it is resumed."""
    job = stand.job("batch", "local", "tokenization", ".csv")
    own = stand.fresh(job, "input")
    copy = own.output.with_name(f"{own.job_id}.input.csv")
    shutil.copy2(job.input, copy)
    before = copy.stat()
    own = replace(own, input=copy)

    def change(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            wait_for_microflows(connector, own, 1)
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
    return stand.outcome("input changed while read", job, own, note=("grown", "cut", "replaced")[seed % 3])


def paused_and_fenced(stand: Stand, seed: int) -> Outcome:
    """A process is paused and loses its connection; another completes the job; the first wakes and changes nothing."""
    draw = random.Random(f"paused {seed}")
    job = stand.job("batch", "local", draw.choice(_METHODS), ".csv")
    own = stand.fresh(job, "paused")
    mark = draw.randrange(1, stand.microflows * 2 // 3)

    def pause(pid: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            wait_for_microflows(connector, own, mark)
            os.kill(pid, signal.SIGSTOP)
            connector.query(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        must_end(run_attempt(Attempt(own, stand.url, resume=True)))
        os.kill(pid, signal.SIGCONT)

    must_fail(run_attempt(Attempt(own, stand.url, slow=0.3), pause), "JobConflictError")
    return stand.outcome("paused and fenced", job, own, note=f"at microflow {mark}")


def two_jobs_at_once(stand: Stand, seed: int) -> Outcome:
    """A second job runs from its begin to its end while the first is at work: each ends as if it were alone."""
    draw = random.Random(f"at once {seed}")
    first = stand.job("batch", "local", draw.choice(_METHODS), ".csv")
    second = stand.job(draw.choice(("stream", "hybrid")), "local", draw.choice(_METHODS), ".csv")
    own, other = stand.fresh(first, "one"), stand.fresh(second, "two")

    def run_the_other(_: int) -> None:
        with PostgreSQLConnector(stand.url) as connector:
            wait_for_microflows(connector, own, 1)
        must_end(run_attempt(Attempt(other, stand.url)))

    must_end(run_attempt(Attempt(own, stand.url, slow=0.1), run_the_other))
    one, two = stand.outcome("two jobs at once", first, own), stand.outcome("the other", second, other)
    note = f"beside {second.pipeline}"
    return Outcome(
        one.case, one.losses + two.losses, one.duplicates + two.duplicates, one.differences + two.differences, note
    )


#: Case to the number of times it is run.
COMPANY: dict[Callable[[Stand, int], Outcome], int] = {
    second_process: 3,
    two_jobs_one_output: 4,
    two_jobs_at_once: 4,
    another_job_between: 4,
    settled_part_overwritten: 4,
    input_changed: 6,
    paused_and_fenced: 6,
}
