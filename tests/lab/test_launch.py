"""Calls in fresh processes: what comes back, what is measured, and what happens when they fail."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from microflow.errors import MicroflowError, SetupError
from microflow.lab.launch import launch

TARGETS = """
import os, subprocess, sys, time
import numpy as np
from microflow.errors import MicroflowError, SetupError

def noisy(config):
    print("to nobody"); os.system("echo from a child")
    return {"pid": os.getpid(), "double": np.float64(2 * config["x"]), "many": np.arange(3)}

def lacking(config): raise SetupError("no Java")
def wrong(config): raise MicroflowError("no such arm", hint="arms are: a, b")
def broken(config): raise ZeroDivisionError
def vanished(config): os._exit(7)
def opaque(config): return object()

def hungry(config):
    block = bytearray(200_000_000)
    end = time.process_time() + 0.3
    while time.process_time() < end: pass
    return {"size": len(block)}

def stuck(config):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    open(config["file"], "w").write(str(child.pid))
    child.wait()
"""


@pytest.fixture(autouse=True)
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trial_targets.py").write_text(TARGETS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))


def test_the_answer_comes_back_whatever_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    """Prints of the call and of its children are not in the way; NumPy values arrive as plain numbers."""
    answer = launch("trial_targets:noisy", {"x": 21}).result
    assert answer["double"] == 42
    assert answer["many"] == [0, 1, 2]
    assert answer["pid"] != os.getpid()
    assert capfd.readouterr() == ("", "")


def test_every_call_has_a_process_of_its_own() -> None:
    """Nothing is reused."""
    pids = {launch("trial_targets:noisy", {"x": 1}).result["pid"] for _ in range(2)}
    assert len(pids) == 2


def test_resources_and_conditions_are_measured() -> None:
    """CPU seconds, memory growth, load and machine travel with the answer."""
    run = launch("trial_targets:hungry", {})
    assert run.usage.cpu_s >= 0.25
    assert run.usage.bytes_per_record(1) >= 190_000_000
    assert run.machine.cpu_model
    assert run.load_before >= 0
    assert run.load_after >= 0


def test_a_users_mistake_keeps_its_message_and_hint() -> None:
    """A MicroflowError crosses the border as one."""
    with pytest.raises(MicroflowError) as caught:
        launch("trial_targets:wrong", {})
    assert (caught.value.message, caught.value.hint) == ("no such arm", "arms are: a, b")


def test_what_the_machine_lacks_stays_told_apart_from_a_mistake() -> None:
    """A caller may do without the one, never without the other."""
    with pytest.raises(SetupError, match="no Java"):
        launch("trial_targets:lacking", {})
    with pytest.raises(MicroflowError) as mistake:
        launch("trial_targets:wrong", {})
    assert not isinstance(mistake.value, SetupError)


@pytest.mark.parametrize("target", ["broken", "vanished", "opaque", "absent"])
def test_a_broken_call_is_an_error_not_an_empty_answer(target: str, capfd: pytest.CaptureFixture[str]) -> None:
    """A traceback, an exit, an answer that is not JSON, no such function: the trial failed, and its last words show."""
    with pytest.raises(MicroflowError, match=f"trial_targets:{target} ended with status"):
        launch(f"trial_targets:{target}", {})
    assert ("Traceback" in capfd.readouterr().err) is (target != "vanished")


def test_a_stuck_call_is_ended_with_all_its_processes(tmp_path: Path) -> None:
    """After the deadline nothing of the trial is left running."""
    note = tmp_path / "pid"
    with pytest.raises(MicroflowError, match="longer than 2 s"):
        launch("trial_targets:stuck", {"file": str(note)}, timeout_s=2)
    grandchild = int(note.read_text())
    for _ in range(50):
        if not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("the trial's own child survived it")
