"""A stored job is resumed only as its user began it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from microflow.errors import CheckpointError, SetupError
from microflow.pipeline.seal import check_seal, sealed

DOCUMENT = {"input": "/data/in.csv", "output": "/data/out.csv", "method": {"k": 5}}


def test_an_unchanged_document_is_given_back(tmp_path: Path) -> None:
    """Also after a trip through JSON, as the database stores it, in whatever order of keys."""
    stored = json.loads(json.dumps(sealed("job", DOCUMENT, folder=tmp_path), sort_keys=True))
    assert check_seal("job", stored, folder=tmp_path) == DOCUMENT


@pytest.mark.parametrize(
    "change",
    [{"output": "/home/me/.ssh/authorized_keys"}, {"seal": "0" * 64}, {"seal": None}, {"more": 1}],
)
def test_a_changed_document_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """A path redirected in the database, a forged seal and an added setting all stop the job."""
    stored = sealed("job", DOCUMENT, folder=tmp_path) | change
    with pytest.raises(CheckpointError, match="not begun by this user"):
        check_seal("job", stored, folder=tmp_path)


def test_a_seal_belongs_to_one_job_and_one_user(tmp_path: Path) -> None:
    """It cannot be moved to another job, and another user's key does not make it."""
    stored = sealed("job", DOCUMENT, folder=tmp_path / "me")
    with pytest.raises(CheckpointError):
        check_seal("other", stored, folder=tmp_path / "me")
    with pytest.raises(CheckpointError):
        check_seal("job", stored, folder=tmp_path / "nobody")
    sealed("job", DOCUMENT, folder=tmp_path / "another")
    with pytest.raises(CheckpointError):
        check_seal("job", stored, folder=tmp_path / "another")


def test_the_key_is_private(tmp_path: Path) -> None:
    """Mode 0600 whatever the umask; a key that others may read is refused."""
    sealed("job", DOCUMENT, folder=tmp_path)
    key = tmp_path / "job-seal.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [key.name]
    key.chmod(0o644)
    with pytest.raises(SetupError, match="may be read by others"):
        sealed("job", DOCUMENT, folder=tmp_path)
