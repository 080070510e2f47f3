"""What a command may write: never what it reads, nothing that is there unasked, only where a file can be made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import InputError
from microflow.pipeline.paths import require_free

SCHEMA = """
policy: gdpr
columns:
  id: {role: record_id, type: integer}
  name: {role: identifier}
  age: {role: quasi_identifier, type: integer}
"""
ROWS = "id,name,age\n" + "".join(f"{n},n{n},{n % 5}\n" for n in range(20))
KEY = {"MICROFLOW_TOKEN_KEY": "00" * 32}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text(ROWS)
    Path("s.yaml").write_text(SCHEMA)
    Path("hard.csv").hardlink_to("in.csv")
    Path("soft.csv").symlink_to("in.csv")
    return tmp_path


@pytest.mark.parametrize("target", ["in.csv", "./in.csv", "soft.csv", "hard.csv"])
@pytest.mark.parametrize(
    "command",
    [
        "run in.csv {} --schema s.yaml --method identity --no-database --overwrite",
        "run in.csv out.csv --schema s.yaml --method identity --no-database --overwrite --metrics {}",
        "release in.csv {} --schema s.yaml --method k_anonymity --overwrite",
        "release in.csv out.csv --schema s.yaml --method k_anonymity --overwrite --certificate {}",
        "describe in.csv -o {} --overwrite",
        "assess in.csv in.csv --schema s.yaml --attempts 10 --json {}",
        "verify in.csv --schema s.yaml --json {}",
        "detokenize in.csv {} --schema s.yaml --overwrite",
        "recommend in.csv --schema s.yaml --html {}",
    ],
    ids=lambda command: command.split()[0],
)
def test_no_command_writes_over_what_it_reads(command, target, folder):
    """Whatever its name is there, and even with --overwrite."""
    done = CliRunner().invoke(cli, command.format(target).split(), env=KEY)
    assert isinstance(done.exception, InputError), done.output
    assert "one file" in str(done.exception) or "a file that is read" in str(done.exception)
    assert Path("in.csv").read_text() == ROWS
    assert not Path("out.csv").exists()


@pytest.mark.parametrize(
    "command",
    [
        "run in.csv mine --schema s.yaml --method identity --no-database",
        "release in.csv mine --schema s.yaml --method k_anonymity",
        "generate iot mine --rows 3",
        "generate iot out.csv --rows 3 --truth mine",
        "describe in.csv -o mine",
        "assess in.csv in.csv --schema s.yaml --attempts 10 --json mine",
        "detokenize in.csv mine --schema s.yaml",
    ],
    ids=lambda command: command.split()[0],
)
def test_nothing_is_destroyed_unasked(command, folder):
    """A file of somebody's is there already, or a link to where one will be."""
    for name in ("mine.csv", "lost.csv"):
        Path("mine.csv").write_text("mine")
        if not Path("lost.csv").is_symlink():
            Path("lost.csv").symlink_to("elsewhere.csv")
        done = CliRunner().invoke(cli, command.replace("mine", name).split(), env=KEY)
        assert isinstance(done.exception, InputError), done.output
        assert "is there already" in str(done.exception)
    assert Path("mine.csv").read_text() == "mine"
    assert not Path("elsewhere.csv").exists()


def test_an_earlier_document_is_replaced(folder):
    """What was measured is measured again."""
    command = ["assess", "in.csv", "in.csv", "--schema", "s.yaml", "--attempts", "10", "--json", "risk.json"]
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert CliRunner().invoke(cli, command).exit_code == 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody can make a file")
def test_a_folder_that_takes_no_file():
    """One line instead of the system's error, before anything is read."""
    schema = "adult"
    for command in ("run", "release"):
        words = [command, "in.csv", "/proc/out.csv", "--schema", schema, "--method", "k_anonymity"]
        done = CliRunner().invoke(cli, words + ["--no-database"] * (command == "run"))
        assert isinstance(done.exception, InputError)
    assert str(done.exception).startswith("/proc/out.csv: cannot be written: ")


def test_folders_and_devices(folder):
    """A folder that is not there is named; a device may be written to."""
    with pytest.raises(InputError, match=r"none/x\.json: cannot be written: its folder is not there"):
        require_free(Path("none/x.json"))
    with pytest.raises(InputError, match="this is a directory"):
        require_free(folder)
    require_free(Path(os.devnull))
