"""Which Java is chosen, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from microflow.errors import SetupError
from microflow.jvm import java


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
    assert java.find_java() == chosen


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.22"])
def test_an_old_java_is_passed_over_and_named(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what was found and how to get what is needed."""
    fake_java(tmp_path / "old", version)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "old"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path / "state"))
    with pytest.raises(SetupError, match=r"17 or newer was not found.*apt install") as caught:
        java.find_java()
    assert "is Java" in caught.value.message


def test_what_an_earlier_set_up_installed_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed once, found ever after."""
    installed = fake_java(tmp_path / "state" / "jdk" / "jdk-17.0.9-jre", "17.0.9")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path / "state"))
    assert java.find_java() == installed
