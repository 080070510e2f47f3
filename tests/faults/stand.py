"""A stand on which jobs are broken: what is left at the end is compared with an uninterrupted run of the same job."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from faults.attempts import MICROFLOW_ROWS, Attempt, Ending, job_for, named, run_attempt
from microflow.anonymize.contract import Method, MethodSettings
from microflow.descriptors import load_schema
from microflow.pipeline import JobSpec
from microflow.store.connector import PostgreSQLConnector

__all__ = ["METHODS", "PATIENCE_SECONDS", "Case", "Outcome", "Stand", "must_end", "must_fail", "wait", "write_people"]

#: How long something may take before it counts as stuck; ``MICROFLOW_PATIENCE=5`` waits five times as long, for a
#: machine that is busy with other work.
PATIENCE_SECONDS = 60.0 * float(os.environ.get("MICROFLOW_PATIENCE", "1"))
METHODS = ("tokenization", "k_anonymity")
ROWS = 1_200
_NAMES = ("Ada Byron", "Grace Murray", "Alan Mathison", "Mary Jackson")

#: Everything the database says about a job's rows, but for its name, identities, and when and how fast it was.
_TABLES = {
    "data_records": "ordinal, record_id, released, compliance_status, violation_count, violation_types,"
    " anonymization_applied, processed_data",
    "violations": "ordinal, rule, field, severity, regulation, article, span_start, span_end",
    "original_records": "ordinal, original_data",
    "checkpoints": "microflow, first_row, rows_in, released, suppressed, violations",
    "jobs": "status, total_rows, microflows, rows_read, rows_released, rows_suppressed, rows_quarantined, violations",
}


@dataclass(frozen=True)
class Evidence:
    """Digests of output, quarantine and tables, and which rows are where."""

    digests: tuple[tuple[str, str], ...]
    ordinals: tuple[int, ...]

    def differences(self, other: Evidence) -> list[str]:
        """What is not the same, by name."""
        return [name for (name, mine), (_, theirs) in zip(self.digests, other.digests, strict=True) if mine != theirs]

    @property
    def duplicates(self) -> int:
        """Rows that are in the database more than once."""
        return len(self.ordinals) - len(set(self.ordinals))

    def losses(self, whole: Evidence) -> int:
        """Rows that an uninterrupted run has and this one lacks."""
        return len(set(whole.ordinals) - set(self.ordinals))


def gather(connector: PostgreSQLConnector, job: JobSpec) -> Evidence:
    """Read the files and tables of a finished job."""
    digests = [("output", _digest(job.output)), ("quarantine", _digest(job.quarantine) if job.quarantine else "")]
    for table, columns in _TABLES.items():
        digests.append((table, _table_digest(connector, str(job.job_id), table, columns)))
    rows = connector.query("SELECT ordinal FROM data_records WHERE job_id = %s ORDER BY 1", (job.job_id,))
    return Evidence(tuple(digests), tuple(ordinal for (ordinal,) in rows))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _table_digest(connector: PostgreSQLConnector, job_id: str, table: str, columns: str) -> str:
    name = "id" if table == "jobs" else "job_id"
    rows: Sequence[tuple[object, ...]] = connector.query(
        f"SELECT t::text FROM (SELECT {columns} FROM {table} WHERE {name} = %s) t ORDER BY 1", (job_id,)
    )
    return hashlib.sha256(repr(rows).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """How a case ended."""

    losses: int
    duplicates: int
    differences: tuple[str, ...]
    note: str = ""

    @property
    def is_clean(self) -> bool:
        """Nothing lost, doubled or different."""
        return not (self.losses or self.duplicates or self.differences)


#: What is done to a job on a stand, by a seed.
Case = Callable[["Stand", int], Outcome]


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

    def wait(self, own: JobSpec, microflows: int, url: str | None = None) -> None:
        """Until the job has committed so many microflows."""
        question = "SELECT 1 FROM jobs WHERE id = %s AND microflows >= %s"
        with PostgreSQLConnector(url or self.url) as connector:
            found = lambda: bool(connector.query(question, (own.job_id, microflows)))  # noqa: E731
            wait(found, f"job {own.job_id} did not commit {microflows} microflows")

    def evidence(self, own: JobSpec, url: str | None = None) -> Evidence:
        """What a job has left behind."""
        with PostgreSQLConnector(url or self.url) as connector:
            return gather(connector, own)

    def outcome(self, job: JobSpec, own: JobSpec, url: str | None = None, note: str = "") -> Outcome:
        """Compare a finished job with the uninterrupted one."""
        whole, _ = self.whole(job)
        mine = self.evidence(own, url)
        return Outcome(mine.losses(whole), mine.duplicates, tuple(mine.differences(whole)), note)


def must_end(ending: Ending) -> Ending:
    """The attempt came to its end without an error."""
    assert not ending.killed, "the attempt was killed"
    assert ending.error is None, ending.error
    return ending


def must_fail(ending: Ending, error: str) -> None:
    """The attempt ended with a clear error of this kind."""
    assert ending.error is not None, f"the attempt was expected to end with {error}"
    assert ending.error.startswith(error), ending.error


def wait(is_so: Callable[[], bool], otherwise: str) -> None:
    """Until ``is_so``, or `PATIENCE_SECONDS` have passed."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"{otherwise} in {PATIENCE_SECONDS:.0f} s"
        time.sleep(0.002)


def write_people(path: Path, rows: int, seed: int = 7) -> None:
    """Healthcare records: one in ten leaks something, one in a hundred cannot be read."""
    draw = random.Random(seed)
    names = load_schema("healthcare").names
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        for number in range(rows):
            writer.writerow(_person(draw, number))


def _person(draw: random.Random, number: int) -> dict[str, object]:
    leaks = draw.random() < 0.1
    return {
        "record_id": number,
        **{f"{what}_ref": f"{draw.getrandbits(48):012x}" for what in ("patient", "provider", "facility", "encounter")},
        "patient_name": draw.choice(_NAMES) if leaks else "",
        "ssn": f"{draw.randint(100, 665)}-{draw.randint(10, 99)}-{draw.randint(1000, 9999)}" if leaks else "",
        "age": "unknown" if draw.random() < 0.01 else draw.randint(1, 99),
        "sex": draw.choice("FMX"),
        "zip": draw.choice(("941", "100", "606", "94110" if leaks else "941")),
        "admission_date": draw.choice(("2021", "2022-03-04" if leaks else "2022")),
        "diagnosis": draw.choice(("E11", "I10", "J45")),
        "treatment_cost": round(draw.uniform(100, 90_000), 2),
        "triage": draw.choices(("routine", "urgent", "emergency"), (8, 1, 1))[0],
        "consent": "withdrawn" if draw.random() < 0.02 else "granted",
        "retain_until": "2031",
        "notes": "seen by 555-201-3344" if draw.random() < 0.05 else "no complaints",
    }
