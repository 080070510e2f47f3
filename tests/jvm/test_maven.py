"""Jars are the ones whose checksums are kept, or an error."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from microflow.errors import SetupError
from microflow.jvm import maven


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path))
    digest = hashlib.sha256(b"the jar").hexdigest()
    monkeypatch.setattr(maven, "_checksums", lambda _: {"one.jar": digest})
    folder = maven._folder("storm")
    folder.mkdir(parents=True)
    (folder / "one.jar").write_bytes(b"the jar")
    return folder


def test_cached_jars_are_used(cache: Path) -> None:
    """No network once they are there."""
    assert maven.jars("storm") == [cache / "one.jar"]


def test_an_altered_jar_is_refused_and_thrown_away(cache: Path) -> None:
    """A mirror that serves something else is not trusted, and not asked twice with the same result."""
    (cache / "one.jar").write_bytes(b"another jar")
    with pytest.raises(SetupError, match="checksums"):
        maven.jars("storm")
    assert not cache.exists()


def test_without_maven_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is in the message."""
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match="apt install maven"):
        maven.jars("storm")
