"""A job as data: stored, named by a hash, sealed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from microflow.anonymize.contract import Method, MethodSettings, Scope
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.engine import ProcessingSpec
from microflow.errors import CheckpointError, InputError, SetupError
from microflow.pipeline import JobSpec, StoreRecords
from microflow.pipeline.job import check_seal, sealed, work_hash
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
    """A field that is no longer known is a clear error, not a guess."""
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


DOCUMENT = {"input": "/data/in.csv", "output": "/data/out.csv", "method": {"k": 5}}


@pytest.fixture
def key_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Gives a user a state folder of his own, and says where his key is."""

    def user(name: str) -> Path:
        monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path / name))
        return tmp_path / name / "job-seal.key"

    user("me")
    return user


@pytest.mark.usefixtures("key_of")
def test_an_unchanged_document_is_given_back() -> None:
    """Also after a trip through JSON, as the database stores it, in whatever order of keys."""
    stored = json.loads(json.dumps(sealed("job", DOCUMENT), sort_keys=True))
    assert check_seal("job", stored) == DOCUMENT


@pytest.mark.usefixtures("key_of")
@pytest.mark.parametrize(
    "change",
    [{"output": "/home/me/.ssh/authorized_keys"}, {"seal": "0" * 64}, {"seal": None}, {"more": 1}],
)
def test_a_changed_document_is_refused(change: dict[str, object]) -> None:
    """A path redirected in the database, a forged seal and an added setting all stop the job."""
    stored = sealed("job", DOCUMENT) | change
    with pytest.raises(CheckpointError, match="not begun by this user"):
        check_seal("job", stored)


def test_a_seal_belongs_to_one_job_and_one_user(key_of: Callable[[str], Path]) -> None:
    """It cannot be moved to another job, and another user's key does not make it."""
    stored = sealed("job", DOCUMENT)
    with pytest.raises(CheckpointError):
        check_seal("other", stored)
    key_of("nobody")
    with pytest.raises(CheckpointError):
        check_seal("job", stored)
    key_of("another")
    sealed("job", DOCUMENT)
    with pytest.raises(CheckpointError):
        check_seal("job", stored)


def test_the_key_is_private(key_of: Callable[[str], Path]) -> None:
    """Mode 0600 whatever the umask; a key that others may read is refused."""
    sealed("job", DOCUMENT)
    key = key_of("me")
    assert key.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in key.parent.iterdir()] == [key.name]
    key.chmod(0o644)
    with pytest.raises(SetupError, match="may be read by others"):
        sealed("job", DOCUMENT)
