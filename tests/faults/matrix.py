"""Every fault as a case: a job, what goes wrong with it, and whether it ended as if nothing had."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from microflow.anonymize.contract import Method, MethodSettings
from microflow.pipeline import JobSpec
from microflow.store import PostgreSQLConnector
from faults.attempts import Attempt, Ending, job_for, named, run_attempt
from faults.evidence import Evidence, gather
from faults.people import write_people

__all__ = ["KILLS", "Bench", "Outcome"]

#: Pipeline, engine, method and format of the jobs that are killed, and how often.
KILLS = (
    ("batch", "local", "tokenization", ".csv", 10),
    ("batch", "local", "k_anonymity", ".csv", 8),
    ("batch", "local", "k_anonymity", ".parquet", 6),
    ("batch", "local", "differential_privacy", ".jsonl", 6),
    ("stream", "local", "tokenization", ".csv", 8),
    ("stream", "local", "k_anonymity", ".csv", 8),
    ("hybrid", "local", "tokenization", ".csv.gz", 6),
    ("hybrid", "local", "k_anonymity", ".csv", 6),
    ("batch", "spark", "tokenization", ".csv", 3),
)
ROWS = 1_500


@dataclass(frozen=True)
class Outcome:
    """A case and how it ended."""

    case: str
    attempts: int
    losses: int
    duplicates: int
    differences: tuple[str, ...]
    note: str = ""

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled or different."""
        return not (self.losses or self.duplicates or self.differences)


class Bench:
    """Runs cases against uninterrupted runs of the same jobs, which it makes once each."""

    def __init__(self, folder: Path, url: str, rows: int = ROWS) -> None:
        self.folder = folder
        self.url = url
        self.people = folder / "people.csv"
        write_people(self.people, rows)
        self._whole: dict[JobSpec, tuple[Evidence, int]] = {}
        self._cases = 0

    def job(self, pipeline: str, engine: str, method: str, suffix: str) -> JobSpec:
        """The job of a line of `KILLS`; seeded, so that noise is the same in every attempt."""
        settings = MethodSettings(Method(method), k=3, seed=11, delta=200)
        return job_for(self.people, self.folder, settings, pipeline, engine, suffix)

    def whole(self, job: JobSpec) -> tuple[Evidence, int]:
        """What an uninterrupted run leaves behind, and the number of calls it takes."""
        if job not in self._whole:
            own = self.fresh(job, "whole")
            ending = run_attempt(Attempt(own, self.url))
            assert ending.error is None, ending.error
            self._whole[job] = self.evidence(own), ending.calls
        return self._whole[job]

    def fresh(self, job: JobSpec, what: str) -> JobSpec:
        """The job under a name that no other case uses."""
        self._cases += 1
        name = f"{what}-{self._cases}-{random.SystemRandom().getrandbits(32):08x}"
        return replace(named(job, name, self.folder), quarantine=self.folder / f"{name}.quarantine.csv")

    def evidence(self, job: JobSpec) -> Evidence:
        """What a job has left behind."""
        with PostgreSQLConnector(self.url) as connector:
            return gather(connector, job)

    def outcome(self, case: str, job: JobSpec, own: JobSpec, attempts: int, note: str = "") -> Outcome:
        """Compare a finished job with the uninterrupted one."""
        whole, _ = self.whole(job)
        mine = self.evidence(own)
        return Outcome(case, attempts, mine.losses(whole), mine.duplicates, tuple(mine.differences(whole)), note)

    def kill(self, job: JobSpec, points: list[int]) -> Outcome:
        """Kill the job before each of the counted calls in turn, resume it each time, then let it end."""
        own = self.fresh(job, "kill")
        started = False
        for point in points:
            ending = run_attempt(Attempt(own, self.url, resume=started, kill_at=point))
            assert ending.killed or ending.error is None, ending.error
            started = self.exists(own)
            if not ending.killed:
                break
        ending = run_attempt(Attempt(own, self.url, resume=started)) if ending.killed else ending
        assert ending.error is None, ending.error
        return self.outcome("SIGKILL", job, own, len(points) + 1, f"before call {', '.join(map(str, points))}")

    def exists(self, job: JobSpec) -> bool:
        """Whether the job got as far as being entered."""
        with PostgreSQLConnector(self.url) as connector:
            return bool(connector.query("SELECT 1 FROM jobs WHERE id = %s", (job.job_id,)))

    def kill_points(self, job: JobSpec, count: int, seed: int) -> Iterator[list[int]]:
        """Seeded points over the whole run; every third case is killed again while it resumes."""
        _, calls = self.whole(job)
        draw = random.Random(seed)
        for case in range(count):
            first = draw.randrange(1, calls + 1)
            yield [first, draw.randrange(1, calls + 1)] if case % 3 == 2 else [first]


def must_fail(ending: Ending, error: str) -> None:
    """The attempt ended with a clear error of this kind."""
    assert ending.error is not None, "the attempt was expected to fail"
    assert ending.error.startswith(error), ending.error
