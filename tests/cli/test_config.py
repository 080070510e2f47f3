"""Options of microflow.toml act as if they were typed, and an unknown one is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import InputError

SCHEMA = "columns: {id: {role: record_id}, age: {role: quasi_identifier, type: integer}}"
CONFIG = """
schema = "s.yaml"
no_database = true

[run]
method = "k_anonymity"
k = 4

[verify]
k = 4

[policy.check]
schema = "s.yaml"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text(SCHEMA)
    Path("in.csv").write_text("id,age\n" + "".join(f"{n},{n}\n" for n in range(20)))
    Path("microflow.toml").write_text(CONFIG)
    return tmp_path


def call(*words):
    done = CliRunner().invoke(cli, list(words))
    if isinstance(done.exception, InputError):
        raise done.exception
    return done


def test_options_are_those_of_the_file(folder):
    """Shared ones and those of a command; what is typed wins."""
    assert call("run", "in.csv", "out.csv").exit_code == 0
    assert "4-anonymous: 20 rows" in call("verify", "out.csv").output
    assert "not 7-anonymous" in call("verify", "out.csv", "--k", "7").output
    assert "without a column: " in call("policy", "check", "gdpr").output
    Path("other.toml").write_text(CONFIG.replace("k = 4", "k = 9"))
    assert "not 9-anonymous" in call("--config", "other.toml", "verify", "out.csv").output
    assert call("policy", "list").exit_code == 0
    assert call("--help").exit_code == 0


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("schema = ", "microflow.toml: not readable as TOML"),
        ("epsilom = 0.1", "no command has an option --epsilom"),
        ("[run]\nkk = 3", "[run] has no option --kk (options are: --delta"),
        ("[run]\nk = [3]", "[run] k must be a single value"),
        ("[ran]\nk = 3", "there is no command 'ran'"),
        ("[policy.chek]\nschema = 's'", "[policy] has no option --chek"),
        ("[policy.check]\nscheme = 's'", "[policy.check] has no option --scheme"),
    ],
)
def test_what_is_wrong_is_named(text, part, folder):
    """Before anything is done: a misspelt budget would be the default one."""
    Path("microflow.toml").write_text(text)
    command = ("policy", "check", "gdpr") if "policy" in text else ("run", "in.csv", "out.csv", "--schema", "s.yaml")
    with pytest.raises(InputError) as caught:
        call(*command, *(["--method", "identity"] if command[0] == "run" else []))
    assert part in str(caught.value)
    assert not Path("out.csv").exists()


def test_a_value_of_the_file_that_is_none(folder):
    """The message says where it stands; a configuration that is not there is named."""
    Path("microflow.toml").write_text("[verify]\nk = 1")
    words = [sys.executable, "-m", "microflow", "verify", "in.csv", "--schema", "s.yaml"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2
    assert "hint: the value stands in the configuration file, by default microflow.toml" in done.stderr
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        call("--config", "none.toml", "verify", "in.csv")
