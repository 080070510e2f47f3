"""Attempts at a job in processes that can be killed at a call counted beforehand.

Processes are forked from a clean server that has imported everything and started nothing, so that an attempt costs
little more than its work.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from microflow.anonymize.contract import MethodSettings
from microflow.errors import MicroflowError
from microflow.pipeline import CommitPolicy, JobSpec, PipelineOrchestrator, StoreRecords
from microflow.settings import Retries
from microflow.store.connector import PostgreSQLConnector

__all__ = ["MICROFLOW_ROWS", "Attempt", "Ending", "job_for", "named", "run_attempt"]

#: Calls are counted in these rooms: the ones that touch disk and database, and their calls into C.
_ROOMS = tuple(f"{os.sep}microflow{os.sep}{room}{os.sep}" for room in ("pipeline", "store", "sources"))
KEY = "5f" * 64
MICROFLOW_ROWS = 50
#: Small groups by count, never by time: the same calls in the same order in every attempt.
COMMITS = CommitPolicy(microflows=3, seconds=1e9)
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["faults.attempts", "microflow.engine.hybrid", "microflow.engine.stream"])


@dataclass(frozen=True)
class Attempt:
    """A job to run, or to resume, and what is to go wrong with it."""

    job: JobSpec
    url: str | None
    resume: bool = False
    kill_at: int | None = None
    """The counted call before which the process kills itself."""
    largest_file: int | None = None
    """Bytes after which the disk counts as full."""
    pauses: tuple[float, ...] = Retries().pauses
    environ: tuple[tuple[str, str], ...] = ()
    slow: float = 0.0
    """Seconds that pass after each group of microflows."""


@dataclass(frozen=True)
class Ending:
    """How an attempt ended: killed, with an error, or done; and the calls that were counted."""

    killed: bool
    error: str | None = None
    calls: int = 0
    metrics: dict[str, Any] | None = None


def run_attempt(attempt: Attempt, meanwhile: Callable[[int], None] | None = None) -> Ending:
    """Run an attempt in a process of its own; ``meanwhile`` gets its process identifier and may do it harm."""
    receiver, sender = _context.Pipe(duplex=False)
    child = _context.Process(target=_attempt, args=(attempt, sender))
    child.start()
    sender.close()
    if meanwhile is not None:
        meanwhile(child.pid or 0)
    try:
        ending: Ending = receiver.recv()
    except EOFError:
        ending = Ending(killed=True)
    child.join()
    if ending.killed and child.exitcode != -signal.SIGKILL:
        raise AssertionError(f"an attempt ended with status {child.exitcode} and no word")
    return ending


def _attempt(attempt: Attempt, sender: Any) -> None:
    os.environ.update({"MICROFLOW_TOKEN_KEY": KEY, **dict(attempt.environ)})
    if attempt.largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (attempt.largest_file, resource.RLIM_INFINITY))
    counter = _Counter(attempt.kill_at)
    try:
        with PostgreSQLConnector(attempt.url, retries=Retries(attempt.pauses)) as connector:
            orchestrator = PipelineOrchestrator(
                connector, commits=COMMITS, retries=Retries(attempt.pauses), observe=_slowly(attempt.slow)
            )
            sys.setprofile(counter)
            metrics = orchestrator.resume(str(attempt.job.job_id)) if attempt.resume else orchestrator.run(attempt.job)
            sys.setprofile(None)
        sender.send(Ending(killed=False, calls=counter.calls, metrics=metrics))
    except MicroflowError as error:
        sys.setprofile(None)
        sender.send(Ending(killed=False, error=f"{type(error).__name__}: {error}", calls=counter.calls))
    except BaseException:  # noqa: BLE001 - whatever it is, the parent must be told
        sys.setprofile(None)
        sender.send(Ending(killed=False, error=traceback.format_exc(), calls=counter.calls))


def _slowly(seconds: float) -> Callable[[object], None]:
    def observe(_: object) -> None:
        time.sleep(seconds)

    return observe


class _Counter:
    """A profile function: counts calls made by the rooms that write, and kills the process before one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.calls = 0
        self._kill_at = kill_at
        self._counted: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        counted = self._counted.get(code)
        if counted is None:
            counted = self._counted[code] = any(room in code.co_filename for room in _ROOMS)
        if counted and event in {"call", "c_call"}:
            self.calls += 1
            if self.calls == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def named(job: JobSpec, name: str, folder: Path) -> JobSpec:
    """The same job under another name, with an output of its own."""
    return replace(job, job_id=name, output=folder / f"{name}{''.join(job.output.suffixes)}")


def job_for(people: Path, folder: Path, method: MethodSettings, *, pipeline: str, engine: str, suffix: str) -> JobSpec:
    """A job on the people, storing all that can be stored."""
    return JobSpec(
        input=people,
        output=folder / f"base{suffix}",
        schema="healthcare",
        method=method,
        pipeline=pipeline,
        engine=engine,
        microflow_rows=MICROFLOW_ROWS,
        quarantine=folder / "base.quarantine.csv",
        store_records=StoreRecords.ORIGINAL,
    )
