"""The command line as a whole: lazy, complete, and clear about mistakes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from microflow.cli import COMMANDS, cli, options


def microflow(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "microflow", *words],
        capture_output=True, text=True, env={**os.environ, **environment}, timeout=120, check=False,
    )  # fmt: skip


def commands(group=cli, path=()):
    """Every command and the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name):
    """Every command of the list can be called, and the first line of its help is its purpose in the list."""
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    command = cli.get_command(click.Context(cli), name)
    assert isinstance(command, click.Command)
    assert command.help.splitlines()[0] == COMMANDS[name][1]
    assert command.help.splitlines()[0] in " ".join(shown.output.split())


@pytest.mark.parametrize("name", ["run", "generate", "verify", "assess", "figures", "doctor", "completion"])
def test_help_teaches_by_example(name):
    """Below the usage line stands at least one whole command to copy."""
    shown = CliRunner().invoke(cli, [name, "--help"]).output
    assert f"microflow {name}" in shown.split("\n", 1)[1]


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_option_is_explained(words):
    """Each option of each command has a help text that is a sentence."""
    command = cli
    for word in words:
        command = command.get_command(click.Context(command), word)
    unexplained = [
        option.name
        for option in command.params
        if isinstance(option, click.Option) and not (option.help or "").endswith(".")
    ]
    assert unexplained == []


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


@pytest.mark.parametrize("words", [words for words, _ in commands()], ids=" ".join)
def test_every_help_renders(words):
    r"""Examples keep their lines, and no ``\b`` that asks for that is shown."""
    shown = CliRunner().invoke(cli, [*words, "--help"]).output
    assert "\\b" not in shown
    assert "\b" not in shown
    assert all(line.count("microflow ") <= 2 for line in shown.splitlines())


@pytest.mark.parametrize(
    ("words", "begun", "expected"),
    [
        (["run", "a.csv", "b.csv", "--schema"], "hea", "healthcare"),
        (["recommend", "a.csv", "--policy"], "pci", "pci_dss"),
        (["policy", "show"], "hi", "hipaa"),
    ],
)
def test_names_are_completed(words, begun, expected):
    """What ships with the package, by its first letters; a file of one's own is left to the shell."""
    found = ShellComplete(cli, {}, "microflow", "_MICROFLOW_COMPLETE").get_completions(words, begun)
    assert [one.value for one in found if one.type == "plain"] == [expected]
    assert [one.type for one in found if one.type != "plain"] == ["file"]


def test_no_server_is_started_to_complete_a_job(monkeypatch, tmp_path):
    """Where no database is at hand there is nothing to offer."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("MICROFLOW_STATE", str(tmp_path))
    monkeypatch.setattr("microflow.store.server.ROOT_FOLDER", tmp_path / "root")
    assert ShellComplete(cli, {}, "microflow", "_X").get_completions(["report"], "") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.database
def test_jobs_are_completed(database_url, monkeypatch):
    """The newest jobs of the database, by their first letters."""
    from microflow.store.jobs import JobStore

    monkeypatch.setenv("DATABASE_URL", database_url)
    names = [SimpleNamespace(id="batch-1"), SimpleNamespace(id="stream-2")]
    monkeypatch.setattr(JobStore, "newest", lambda *_: names)
    found = ShellComplete(cli, {}, "microflow", "_X").get_completions(["report"], "str")
    assert [one.value for one in found] == ["stream-2"]


def test_debug_shows_where_an_error_arose():
    """A user's mistake ends with a line; with --log-level debug the traceback is printed, too."""
    words = ("verify", "nowhere.csv", "--schema", "adult")
    plain, more = microflow(*words), microflow("--log-level", "debug", *words)
    assert (plain.returncode, more.returncode) == (2, 2)
    assert "Traceback" not in plain.stderr
    assert "Traceback" in more.stderr
    assert "error: " in more.stderr


def test_work_of_some_seconds_says_so(monkeypatch, capsys):
    """On a terminal, after a while; silent in a pipe."""
    monkeypatch.setattr(options, "_PATIENCE_S", 0.01)
    with options.busy("attacking"):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with options.busy("attacking"):
        time.sleep(0.05)
    assert "attacking … 0 s" in capsys.readouterr().err
