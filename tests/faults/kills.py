"""SIGKILL: at calls drawn beforehand, over every pipeline and again while the job resumes; and of workers."""

from __future__ import annotations

import os
import random
import signal
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil

from faults.attempts import Attempt, run_attempt
from faults.stand import METHODS, PATIENCE_SECONDS, Case, Outcome, Stand, must_end, must_fail, wait

__all__ = ["KILLS", "Line", "killed", "killed_with_workers"]

#: Pipeline, engine, method and format of a job that is killed.
Line = tuple[str, str, str, str]


def killed(line: Line, stand: Stand, seed: int) -> Outcome:
    """SIGKILL before a seeded call of the whole run; every third seed kills again while the job resumes."""
    job = stand.job(*line)
    _, calls = stand.whole(job)
    draw = random.Random(f"{seed} {line}")
    points = [draw.randrange(1, calls + 1) for _ in range(2 if seed % 3 == 2 else 1)]
    own = stand.fresh(job, "kill")
    assert run_attempt(Attempt(own, stand.url, kill_at=points[0])).killed
    for point in points[1:]:
        run_attempt(Attempt(own, stand.url, resume=stand.status(own) is not None, kill_at=point))
    stand.finish(own)
    return stand.outcome(job, own, note=f"before call {points}")


def killed_worker(stand: Stand, _: int) -> Outcome:
    """A worker process is killed: one clear error, and the job is resumed."""
    job = replace(stand.job("batch", "local", "tokenization", ".csv"), workers=2, split_bytes=20_000)
    own = stand.fresh(job, "worker")
    ending = run_attempt(Attempt(own, stand.url), partial(_kill_child, "microflow.engine.worker"))
    must_fail(ending, "MicroflowError: a worker process was ended")
    assert not own.output.exists()
    stand.finish(own)
    return stand.outcome(job, own)


def killed_with_workers(stand: Stand, seed: int) -> Outcome:
    """SIGKILL from outside at a seeded commit while workers work: they end by themselves, and the job is resumed."""
    draw = random.Random(f"killed_with_workers {seed}")
    job = replace(stand.job("batch", "local", draw.choice(METHODS), ".csv"), workers=2, split_bytes=20_000)
    own = stand.fresh(job, "workers")
    mark = draw.randrange(1, stand.microflows * 3 // 4)
    workers: list[psutil.Process] = []

    def kill(pid: int) -> None:
        stand.wait(own, mark)
        workers.extend(psutil.Process(pid).children())
        os.kill(pid, signal.SIGKILL)

    assert run_attempt(Attempt(own, stand.url, slow=0.1), kill).killed
    _, alive = psutil.wait_procs(workers, PATIENCE_SECONDS)
    assert not alive, "a worker outlived its job"
    stand.finish(own)
    return stand.outcome(job, own, note=f"at microflow {mark}")


def lost_spark_executor(stand: Stand, _: int) -> Outcome:
    """An executor is killed once it is there: Spark gives its work to another, and nothing is counted twice."""
    job = stand.job("batch", "spark", "tokenization", ".csv")
    own = stand.fresh(job, "executor")
    home = str(Path(find_spec("pyspark").origin).parent)
    environ = (("SPARK_MASTER", "local-cluster[2,1,1024]"), ("SPARK_HOME", home))
    kill = partial(_kill_child, "CoarseGrainedExecutorBackend")
    must_end(run_attempt(Attempt(own, stand.url, environ=environ), kill))
    return stand.outcome(job, own)


def _kill_child(name: str, pid: int) -> None:
    """Kill the first process below ``pid`` that has ``name`` in its command, once it is there."""

    def kill() -> bool:
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                if any(name in word for word in process.cmdline()):
                    process.kill()
                    return True
        return False

    wait(kill, f"no {name} appeared")


#: Case to the number of times it is run.
KILLS: dict[str, tuple[Case, int]] = {
    **{
        f"SIGKILL {' '.join(line)}": (partial(killed, line), times)
        for line, times in (
            (("batch", "local", "tokenization", ".csv"), 12),
            (("batch", "local", "k_anonymity", ".csv"), 10),
            (("batch", "local", "k_anonymity", ".parquet"), 8),
            (("batch", "local", "differential_privacy", ".jsonl"), 8),
            (("batch", "local", "tokenization", ".csv.gz"), 4),
            (("stream", "local", "tokenization", ".csv"), 10),
            (("stream", "local", "k_anonymity", ".csv"), 10),
            (("hybrid", "local", "tokenization", ".csv.gz"), 8),
            (("hybrid", "local", "k_anonymity", ".csv"), 8),
            (("batch", "spark", "tokenization", ".csv"), 2),
            (("batch", "spark", "k_anonymity", ".csv"), 2),
        )
    },
    "worker process killed": (killed_worker, 4),
    "SIGKILL with workers": (killed_with_workers, 6),
    "Spark executor lost": (lost_spark_executor, 1),
}
