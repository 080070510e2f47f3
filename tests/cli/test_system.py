"""``microflow doctor`` reports what is there, what is missing, and the remedy; it prints no secret."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import SetupError

SECRET = "00112233445566778899aabbccddeeff"


def examined(monkeypatch, *options, java=True, database=True, **environment):
    """The output of doctor on a machine that has these things."""
    from microflow.cli import system

    def absent(*_):
        raise SetupError("it was not found", hint="install it")

    monkeypatch.setattr(system, "find_java", (lambda: "/usr/bin/java") if java else absent)
    monkeypatch.setattr(system, "_postgresql", (lambda: "18.4, the embedded server") if database else absent)
    for name in ("MICROFLOW_TOKEN_KEY", "MICROFLOW_TOKEN_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return CliRunner().invoke(cli, ["doctor", *options])


def test_all_is_there(monkeypatch):
    """Status 0, every line is ok, and the key is named but never shown."""
    done = examined(monkeypatch, MICROFLOW_TOKEN_KEY=SECRET)
    assert done.exit_code == 0
    assert "--  " not in done.output
    assert "MICROFLOW_TOKEN_KEY" in done.output
    assert SECRET not in done.output


@pytest.mark.parametrize(("missing", "consequence"), [("java", "needs Java"), ("database", "needs PostgreSQL")])
def test_something_is_missing(missing, consequence, monkeypatch):
    """Status 1, the remedy, and what does not run without it."""
    done = examined(monkeypatch, **{missing: False})
    assert done.exit_code == 1
    assert "install it" in done.output
    assert consequence in done.output


def test_as_json(monkeypatch):
    """The same for programs."""
    done = examined(monkeypatch, "--json", java=False)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    java = next(one for one in found["findings"] if one["name"] == "Java")
    assert java == {"name": "Java", "is_there": False, "found": "it was not found", "remedy": "install it"}
    assert any("needs Java" in line for line in found["what_runs"])


def test_a_key_is_no_condition(monkeypatch):
    """Without a key only tokenization is out of reach: still status 0."""
    done = examined(monkeypatch)
    assert done.exit_code == 0
    assert "needs a token key" in done.output


@pytest.mark.database
def test_the_real_database(database_url, monkeypatch):
    """A real server is asked for its version, and the address (which may hold a password) is not shown."""
    from microflow.cli import system

    monkeypatch.setenv("DATABASE_URL", database_url)
    assert "the server of DATABASE_URL" in system._postgresql()
    assert database_url not in system._postgresql()


def test_a_database_that_is_not_there(monkeypatch):
    """Refused at once, without the half minute of retries of a job; the password stays out of the message."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/none")
    from microflow.cli import system

    found = system._tried("PostgreSQL", system._postgresql)
    assert not found.is_there
    assert "hunter2" not in found.found + found.remedy
