"""The command line as a whole: lazy, complete, and clear about mistakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import click
import pytest
from click.testing import CliRunner

from microflow.cli import COMMANDS, cli


def microflow(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "microflow", *words],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name):
    """What the help lists can be called, and says what it does."""
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    assert isinstance(cli.get_command(click.Context(cli), name), click.Command)


@pytest.mark.parametrize("name", ["run", "generate", "verify", "assess", "bench", "doctor", "completion"])
def test_help_teaches_by_example(name):
    """Below the usage line stands at least one whole command to copy."""
    shown = CliRunner().invoke(cli, [name, "--help"]).output
    assert f"microflow {name}" in shown.split("\n", 1)[1]


def test_help_imports_no_engine():
    """``microflow --help`` loads neither Arrow nor NumPy nor Polars."""
    code = (
        "import sys\nfrom microflow.cli import cli\ncli(['--help'], standalone_mode=False)\n"
        "print(sorted({'pyarrow', 'numpy', 'polars', 'pyspark'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.endswith("[]\n")
    assert "generate" in done.stdout


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["genrate"], "No such command 'genrate'"),
        (["generate"], "Missing argument"),
        (["generate", "iot", "x.csv", "--rows", "-1"], "--rows"),
        (["generate", "iot", "x.csv", "--violation-rate", "nan"], "nan is no finite number"),
        (["run", "--t-closeness", "nan"], "t-closeness"),
        (["release", "x.csv", "y.csv", "--schema", "adult", "--max-risk", "nan"], "no finite number"),
        (["generate", "weather", "x.csv"], "no data type 'weather'"),
    ],
)
def test_mistakes_end_with_status_two(words, part, tmp_path):
    """Usage and input errors: status 2, a clear line on standard error, no traceback, nothing on standard output."""
    done = microflow(*words)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_control_c_ends_cleanly(tmp_path):
    """Interrupted: status 130, no traceback, and no file that looks finished or is left half-written."""
    words = [
        sys.executable,
        "-m",
        "microflow",
        "generate",
        "healthcare",
        str(tmp_path / "big.csv"),
        "--rows",
        "50000000",
    ]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".*.partial")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell):
    """Each shell's script calls us back by the variable that we answer to."""
    done = microflow("completion", shell)
    assert done.returncode == 0
    assert "_MICROFLOW_COMPLETE" in done.stdout


def test_completion_answers():
    """The shell that asks gets the commands that begin so."""
    code = "import sys; sys.argv = ['microflow']; from microflow.cli import main; main()"
    asked = {"_MICROFLOW_COMPLETE": "bash_complete", "COMP_WORDS": "microflow gen", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, **asked}, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["plain,generate"]
