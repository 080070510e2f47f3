"""SIGTERM and Ctrl-C, in front of code that loses the exception."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

LOST_IN = {
    "a broad except": "try:\n    sleep(60)\nexcept BaseException:\n    pass\nsleep(60)",
    "two broad excepts": (
        "try:\n    try:\n        sleep(60)\n    except:\n        pass\n    _sleep(60)\nexcept:\n    pass\n_sleep(60)"
    ),
    "a destructor": "class A:\n    def __del__(self):\n        sleep(60)\na = A()\ndel a\nsleep(60)",
    "another exception": "try:\n    sleep(60)\nexcept BaseException:\n    raise ValueError('lost') from None",
    "an exception by itself": "try:\n    sleep(60)\nexcept BaseException:\n    pass\nraise ValueError('lost')",
}
_FRAME = """
import signal, sys
from time import sleep as _sleep
from microflow.cli.signals import TerminatingSignals

def sleep(seconds):
    print("asleep", flush=True)
    _sleep(seconds)

with TerminatingSignals() as signals:
    signals.handle()
{body}
print("went on")
"""


def sent(body: str, number: int, *, before: str = "") -> tuple[int, str, str]:
    """How a process ends that gets the signal as soon as it sleeps."""
    code = before + _FRAME.replace("{body}", "\n".join(f"    {line}" for line in body.splitlines()))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "asleep\n"
    process.send_signal(number)
    said, errors = process.communicate(timeout=50)
    return process.returncode, said, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("body", LOST_IN.values(), ids=LOST_IN)
def test_no_library_can_swallow_a_signal(body: str, number: int) -> None:
    status, said, errors = sent(body, number)
    assert status == 128 + number
    assert "went on" not in said
    assert "Terminated" not in errors


def test_cleaning_up_is_not_cut_short() -> None:
    """It may take longer than the time after which an exception counts as lost, and handle errors of its own."""
    body = """
try:
    sleep(60)
finally:
    try:
        raise OSError
    except OSError:
        _sleep(2.5)
    print("clean")
"""
    assert sent(body, signal.SIGTERM)[:2] == (143, "clean\n")


def test_a_command_that_got_to_its_end_is_done() -> None:
    body = "try:\n    sleep(60)\nexcept BaseException:\n    pass"
    assert sent(body, signal.SIGTERM)[:2] == (0, "went on\n")


def test_an_ignored_signal_stays_ignored() -> None:
    """As ``nohup`` and shells without job control ask for."""
    before = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    assert sent("sleep(1)", signal.SIGINT, before=before)[:2] == (0, "went on\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_imports_ends_at_once(number: int) -> None:
    """Also after Polars has put its own handler of SIGINT in place of the system's."""
    begun = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import microflow.__main__, polars"
    code = f"{begun}\nsignal.raise_signal({number})\nprint('went on')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in {128 + number, -number}
    assert done.stdout + done.stderr == ""
