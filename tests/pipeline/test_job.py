"""A job as data: stored and read back, and named by what decides its output."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from microflow.anonymize.contract import Method, MethodSettings, Scope
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.engine import ProcessingSpec
from microflow.errors import CheckpointError, InputError
from microflow.pipeline import JobSpec, StoreRecords
from microflow.pipeline.job import work_hash
from microflow.sources.splits import Source

JOB = JobSpec(
    input=Path("in.csv"),
    output=Path("out.csv"),
    schema="healthcare",
    method=MethodSettings(Method.K_ANONYMITY, k=7, scope=Scope.MICROFLOW),
    quarantine=Path("bad.csv"),
    store_records=StoreRecords.PROCESSED,
)


def work(job: JobSpec, key: bytes | None = None) -> ProcessingSpec:
    schema = load_schema(job.schema)
    return ProcessingSpec(schema, load_policy(schema.policy), job.method, job.microflow_rows, key)


def test_a_stored_job_reads_back_equal() -> None:
    """Resuming starts from the very settings the job began with."""
    job = replace(JOB.absolute(), job_id="x")
    assert JobSpec.from_document(job.to_document()) == job
    assert job.input.is_absolute()


def test_a_job_of_another_version_is_refused() -> None:
    """A field nobody knows any more is a clear error, not a guess."""
    for broken in ({"extra": 1}, {"method": {"scope": None, "method": "magic"}}):
        with pytest.raises(CheckpointError, match="another version"):
            JobSpec.from_document(JOB.to_document() | broken)


@pytest.mark.parametrize(
    "changed",
    [
        {"method": replace(JOB.method, k=8)},
        {"method": replace(JOB.method, seed=1)},
        {"pipeline": "stream"},
        {"engine": "spark"},
        {"microflow_rows": 999},
        {"schema": "financial"},
        {"output": Path("out.parquet")},
        {"store_records": StoreRecords.NONE},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_whatever_decides_the_output_changes_the_hash(changed: dict[str, object]) -> None:
    """A job may only be resumed as the job it was."""
    other = replace(JOB, **changed)
    assert work_hash(other, work(other)) != work_hash(JOB, work(JOB))


def test_what_does_not_decide_the_output_does_not_change_the_hash() -> None:
    """Another name or folder is the same work."""
    other = replace(JOB, job_id="other", output=Path("/elsewhere/out.csv"), metrics=Path("m.json"))
    assert work_hash(other, work(other)) == work_hash(JOB, work(JOB))


def test_another_key_is_another_work_and_no_key_is_in_the_hash() -> None:
    """Tokens of two keys must not be mixed in one file."""
    keys = (bytes(32), bytes(31) + b"\1", None)
    assert len({work_hash(JOB, work(JOB, key)) for key in keys}) == 3


def test_the_hash_is_the_same_in_every_process() -> None:
    """Python's own hash, and with it the order of sets, differs from process to process."""
    code = f"import runpy; m = runpy.run_path({__file__!r}); print(m['work_hash'](m['JOB'], m['work'](m['JOB'])))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env={"PYTHONHASHSEED": "1"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == work_hash(JOB, work(JOB))


def test_an_input_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """No traceback for a missing file."""
    with pytest.raises(InputError, match=r"gone\.csv"):
        Source(tmp_path / "gone.csv", work(JOB).schema).sha256()
