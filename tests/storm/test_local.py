"""Apache Storm itself, in one JVM, with a bolt killed on the way."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.errors import SetupError
from microflow.processors.contract import ProcessingSpec
from microflow.storm import local
from microflow.storm.trial import storm_trial

ROWS = 1_500
#: What stands for a JVM: one that hangs, one that dies at once, and one that does its work.
HANGS, DIES = ["sleep", "60"], ["false"]
WORKS = ["sh", "-c", "printf '1\\n2\\n3\\n' > results.jsonl; sleep 60"]


def kill_a_bolt_once() -> Callable[[int], None]:
    killed: list[int] = []

    def meanwhile(done: int) -> None:
        if done < ROWS // 5 or killed:
            return
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # another child may end, or be a zombie, while we look
                if {"microflow.storm.shell", "anonymize"} <= set(process.cmdline()):
                    process.kill()
                    killed.append(process.pid)
                    return

    return meanwhile


@pytest.mark.timeout(240)
def test_a_killed_bolt_loses_and_doubles_nothing(
    tmp_path: Path, needs_jars: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows out = rows in, each once, and every row equals the in-process run's."""
    needs_jars("storm")
    key = secrets.token_bytes(32)
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", key.hex())
    schema = load_schema("healthcare")
    spec = ProcessingSpec(schema, load_policy(schema.policy), MethodSettings(Method.TOKENIZATION), key=key)
    records = [row for block in generate("healthcare", ROWS, 1) for row in block.rows.to_pylist()]
    folder = tmp_path / "storm"
    trial = storm_trial(folder, spec, "healthcare", schema.policy, records, meanwhile=kill_a_bolt_once())
    assert trial.equal
    assert trial.rows_in == trial.rows_out == (folder / "results.jsonl").read_bytes().count(b"\n")
    assert trial.starts > 1, "the kill did not happen"
    assert key.hex() not in (folder / "job.json").read_text()


def starting(folder: Path, *commands: list[str]) -> Callable[[Path], subprocess.Popen[bytes]]:
    """Instead of a JVM one command after the other; the last again and again."""
    left = list(commands)

    def start(_: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(left.pop(0) if len(left) > 1 else left[0], cwd=folder)

    return start


def test_what_hangs_or_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JVM that lives and does nothing would wait for ever; its successor does the work."""
    monkeypatch.setattr(local, "_start", starting(tmp_path, DIES, HANGS, WORKS))
    monkeypatch.setattr(local, "_WORKER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(local, "_ACKS_S", 0.1)
    assert local.run_local(tmp_path / "job.json", 3).starts == 3


def test_what_keeps_dying_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five starts the error names the log."""
    monkeypatch.setattr(local, "_start", starting(tmp_path, DIES))
    with pytest.raises(SetupError, match=r"kept dying .*storm\.log"):
        local.run_local(tmp_path / "job.json", 3)


def test_what_does_nothing_ends_with_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how far it came."""
    monkeypatch.setattr(local, "_start", starting(tmp_path, HANGS))
    with pytest.raises(SetupError, match="stopped at 0 of 3"):
        local.run_local(tmp_path / "job.json", 3, patience_s=0.2)
