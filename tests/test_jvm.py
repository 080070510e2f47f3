"""Which Java is chosen, that jars are the ones whose checksums are kept, and what is said when there is none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from microflow import jvm
from microflow.errors import SetupError


def fake_java(folder: Path, version: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o755)
    return program


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who says which Java gets that one."""
    chosen = fake_java(tmp_path / "mine", "21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "mine"))
    assert jvm.find_java() == chosen


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_an_old_java_is_passed_over_and_named(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what was found and how to get what is needed."""
    fake_java(tmp_path / "old", version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path / "state"))
    with pytest.raises(SetupError, match=r"17 or newer was not found.*apt install") as caught:
        jvm.find_java()
    assert "is Java" in caught.value.message


def test_what_an_earlier_set_up_installed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed once, found ever after."""
    installed = fake_java(tmp_path / "state" / "jdk" / "jdk-17.0.9-jre", "17.0.9")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path / "state"))
    assert jvm.find_java() == installed


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path))
    monkeypatch.setattr(jvm, "_POMS", tmp_path)
    (tmp_path / "storm.xml").write_text("<project/>")
    (tmp_path / "storm.sha256").write_text(f"{hashlib.sha256(b'the jar').hexdigest()}  one.jar\n")
    folder = jvm._folder("storm")
    folder.mkdir(parents=True)
    (folder / "one.jar").write_bytes(b"the jar")
    return folder


def test_cached_jars_are_used(cache: Path) -> None:
    """No network once they are there."""
    assert jvm.jars("storm") == [cache / "one.jar"]


def test_an_altered_jar_is_refused_and_thrown_away(cache: Path) -> None:
    """A mirror that serves something else is not trusted, and not asked twice with the same result."""
    (cache / "one.jar").write_bytes(b"another jar")
    with pytest.raises(SetupError, match="checksums"):
        jvm.jars("storm")
    assert not cache.exists()


def test_without_maven_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is in the message."""
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SetupError, match="apt install maven"):
        jvm.jars("storm")
