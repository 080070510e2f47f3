"""A stand on which jobs are broken: what is left at the end is compared with an uninterrupted run of the same job."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, replace
from pathlib import Path

from faults.attempts import MICROFLOW_ROWS, Attempt, Ending, job_for, named, run_attempt
from faults.evidence import Evidence, gather
from faults.people import write_people
from microflow.anonymize.contract import Method, MethodSettings
from microflow.pipeline import JobSpec
from microflow.store import PostgreSQLConnector

__all__ = ["Outcome", "Stand", "must_end", "must_fail", "wait_for_microflows"]

_PATIENCE_SECONDS = 60.0

ROWS = 1_200


@dataclass(frozen=True)
class Outcome:
    """A case and how it ended."""

    case: str
    losses: int
    duplicates: int
    differences: tuple[str, ...]
    note: str = ""

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled or different."""
        return not (self.losses or self.duplicates or self.differences)


class Stand:
    """Makes jobs of ``microflows`` microflows (a few less with what is quarantined), runs each uninterrupted once."""

    def __init__(self, folder: Path, url: str, rows: int = ROWS) -> None:
        self.folder = folder
        self.url = url
        self.microflows = rows // MICROFLOW_ROWS
        self._people = folder / "people.csv"
        write_people(self._people, rows)
        self._whole: dict[JobSpec, tuple[Evidence, int]] = {}
        self._jobs = 0

    def job(self, pipeline: str, engine: str, method: str, suffix: str) -> JobSpec:
        """A job by its four words; seeded, so that noise is the same in every attempt."""
        settings = MethodSettings(Method(method), k=3, seed=11, delta=200)
        return job_for(self._people, self.folder, settings, pipeline=pipeline, engine=engine, suffix=suffix)

    def whole(self, job: JobSpec) -> tuple[Evidence, int]:
        """What an uninterrupted run leaves behind, and the number of calls it takes."""
        if job not in self._whole:
            own = self.fresh(job, "whole")
            ending = must_end(run_attempt(Attempt(own, self.url)))
            self._whole[job] = self.evidence(own), ending.calls
        return self._whole[job]

    def fresh(self, job: JobSpec, what: str) -> JobSpec:
        """The job under a name, and with files, that no other has."""
        self._jobs += 1
        name = f"{what}-{self._jobs}-{random.SystemRandom().getrandbits(32):08x}"
        return replace(named(job, name, self.folder), quarantine=self.folder / f"{name}.quarantine.csv")

    def status(self, own: JobSpec, url: str | None = None) -> str | None:
        """What the database says about a job; ``None`` if it never got as far as being entered."""
        with PostgreSQLConnector(url or self.url) as connector:
            found = connector.query("SELECT status FROM jobs WHERE id = %s", (own.job_id,))
        return str(found[0][0]) if found else None

    def finish(self, own: JobSpec, url: str | None = None) -> None:
        """Bring a job that stopped early to its end."""
        status = self.status(own, url)
        if status != "completed":
            must_end(run_attempt(Attempt(own, url or self.url, resume=status is not None)))

    def evidence(self, own: JobSpec, url: str | None = None) -> Evidence:
        """What a job has left behind."""
        with PostgreSQLConnector(url or self.url) as connector:
            return gather(connector, own)

    def outcome(self, case: str, job: JobSpec, own: JobSpec, url: str | None = None, note: str = "") -> Outcome:
        """Compare a finished job with the uninterrupted one."""
        whole, _ = self.whole(job)
        mine = self.evidence(own, url)
        return Outcome(case, mine.losses(whole), mine.duplicates, tuple(mine.differences(whole)), note)


def must_end(ending: Ending) -> Ending:
    """The attempt came to its end without an error."""
    assert not ending.killed, "the attempt was killed"
    assert ending.error is None, ending.error
    return ending


def must_fail(ending: Ending, error: str) -> None:
    """The attempt ended with a clear error of this kind."""
    assert ending.error is not None, f"the attempt was expected to end with {error}"
    assert ending.error.startswith(error), ending.error


def wait_for_microflows(connector: PostgreSQLConnector, own: JobSpec, count: int) -> None:
    """Until the job has committed ``count`` microflows."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if connector.query("SELECT 1 FROM jobs WHERE id = %s AND microflows >= %s", (own.job_id, count)):
            return
        time.sleep(0.002)
    raise AssertionError(f"job {own.job_id} committed nothing for {_PATIENCE_SECONDS} s")
