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
from microflow.engine.contract import ProcessingSpec
from microflow.errors import SetupError
from microflow.storm import local
from microflow.storm.local import storm_trial

ROWS = 6_000
#: What stands for a JVM: one that hangs, one that dies at once, and one that does its work.
HANGS, DIES = ["sleep", "60"], ["false"]
WORKS = ["sh", "-c", "printf '1\\n2\\n3\\n' > results.jsonl; sleep 60"]


def kill_a_bolt_once(look: Callable[[], None]) -> Callable[[int], None]:
    killed: list[int] = []

    def meanwhile(done: int) -> None:
        look()
        if not done or killed:
            return
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # another child may end, or be a zombie, while we look
                if {"microflow.storm.shell", "anonymize"} <= set(process.cmdline()):
                    process.kill()
                    killed.append(process.pid)
                    return

    return meanwhile


class Watch:
    """What the processes of a run listen on, and which of them hold a key in their environment."""

    def __init__(self, key: str) -> None:
        self._key = key
        self.addresses: set[str] = set()
        self.holders: set[str] = set()
        self.seen: set[str] = set()

    def __call__(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                self.seen.add(process.name())
                if any(self._key in value for value in process.environ().values()):
                    self.holders.add(process.name())
                for one in process.net_connections("inet"):
                    if one.status == psutil.CONN_LISTEN:
                        self.addresses.add(one.laddr.ip.removeprefix("::ffff:"))


@pytest.mark.timeout(240)
def test_a_killed_bolt_loses_and_doubles_nothing(
    tmp_path: Path, needs_jars: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows out = rows in, each once, equal to the in-process run's; loopback only, no key in an environment."""
    needs_jars("storm")
    key = secrets.token_bytes(32)
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", key.hex())
    schema = load_schema("healthcare")
    spec = ProcessingSpec(schema, load_policy(schema.policy), MethodSettings(Method.TOKENIZATION), key=key)
    records = [row for block in generate("healthcare", ROWS, 1) for row in block.rows.to_pylist()]
    folder = tmp_path / "storm"
    watch = Watch(key.hex())
    trial = storm_trial(folder, spec, "healthcare", schema.policy, records, meanwhile=kill_a_bolt_once(watch))
    assert trial.equal
    assert trial.rows_in == trial.rows_out == (folder / "results.jsonl").read_bytes().count(b"\n")
    assert trial.starts > 1, "the kill did not happen"
    assert key.hex() not in (folder / "job.json").read_text()
    assert (folder / "token.key").stat().st_mode & 0o777 == 0o600
    assert {"java"} <= watch.seen
    assert not watch.holders
    assert watch.addresses == {"127.0.0.1"}


def starting(folder: Path, *commands: list[str]) -> Callable[..., subprocess.Popen[bytes]]:
    """Instead of a JVM one command after the other; the last again and again."""
    left = list(commands)

    def start(*_: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(left.pop(0) if len(left) > 1 else left[0], cwd=folder)

    return start


@pytest.fixture
def no_zookeeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something that runs stands for it."""
    monkeypatch.setattr(local, "_start_zookeeper", lambda *_: subprocess.Popen(HANGS))


@pytest.mark.usefixtures("no_zookeeper")
def test_what_hangs_or_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JVM that lives and does nothing would wait for ever; its successor does the work."""
    monkeypatch.setattr(local, "_start", starting(tmp_path, DIES, HANGS, WORKS))
    monkeypatch.setattr(local, "_WORKER_TIMEOUT_S", 0.3)
    monkeypatch.setattr(local, "_ACKS_S", 0.1)
    _, starts = local.run_local(tmp_path / "job.json", 3)
    assert starts == 3


@pytest.mark.usefixtures("no_zookeeper")
def test_what_keeps_dying_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After five starts the error names the log."""
    monkeypatch.setattr(local, "_start", starting(tmp_path, DIES))
    with pytest.raises(SetupError, match=r"kept dying .*storm\.log"):
        local.run_local(tmp_path / "job.json", 3)


@pytest.mark.usefixtures("no_zookeeper")
def test_what_does_nothing_ends_with_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how far it came."""
    monkeypatch.setattr(local, "_start", starting(tmp_path, HANGS))
    with pytest.raises(SetupError, match="stopped at 0 of 3"):
        local.run_local(tmp_path / "job.json", 3, patience_s=0.2)
