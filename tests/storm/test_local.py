"""Apache Storm itself, in one JVM, with a bolt killed on the way."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.processors.contract import ProcessingSpec
from microflow.storm.trial import storm_trial

ROWS = 1_500


def kill_a_bolt_once() -> Callable[[int], None]:
    killed: list[int] = []

    def meanwhile(done: int) -> None:
        if done < ROWS // 5 or killed:
            return
        for process in psutil.Process().children(recursive=True):
            if "microflow.storm.shell" in process.cmdline() and "anonymize" in process.cmdline():
                os.kill(process.pid, signal.SIGKILL)
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
