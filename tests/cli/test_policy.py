"""Policies are listed, explained and checked, and a mistake is answered with the place and the words allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.__main__ import main
from microflow.cli.policy import policy
from microflow.descriptors import load_schema

GOOD = """
reference_date: 2026-01-01
include: [pci_dss]
rules:
  - {id: house-mail, applies_to: {kinds: [email]}, condition: {present: true}, remedy: blank,
     unless: [{kind: consent_status, one_of: [granted]}]}
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(policy, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_list_names_what_ships() -> None:
    """Every shipped policy with its size and reference date."""
    output = run("list")
    assert [line.split()[0] for line in output.splitlines()] == ["combined", "gdpr", "hipaa", "pci_dss"]
    assert "rules as of 2026-01-01" in output


def test_show_explains_every_rule() -> None:
    """Rule, severity, article, what it applies to, condition, guards and remedy, in words of the vocabulary."""
    output = run("show", "gdpr")
    assert "gdpr-location  [high]" in output
    assert "kinds latitude, longitude decimals_above 2, unless consent_status one_of granted" in " ".join(
        output.split()
    )
    assert "remedy: suppress_record" in output


def test_check_says_which_columns_are_covered(tmp_path: Path) -> None:
    """A right file is confirmed; with a schema, each column's rules and the rules without a column are named."""
    file = tmp_path / "house.yaml"
    file.write_text(GOOD)
    assert "10 rules as of 2026-01-01, no errors" in run("check", str(file))
    output = run("check", str(file), "--schema", "iot")
    assert "message: pci-text-pan, pci-text-email, pci-text-phone" in output
    assert "without a column: pci-pan, pci-cvv, pci-name, pci-email, house-mail" in output


def test_the_schema_describes_what_may_be_written() -> None:
    """Editors complete keys and words with it."""
    models = json.loads(run("schema"))["$defs"]
    assert {"rules", "patterns", "include"} <= set(models["PolicyModel"]["properties"])
    assert {"missing", "national_id", "contains"} <= set(models["ConditionModel"]["properties"])


def test_a_mistake_is_one_line_with_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names file and rule, the hint the words allowed, and the exit status is 2."""
    file = tmp_path / "house.yaml"
    file.write_text(GOOD.replace("present: true", "presnt: true"))
    monkeypatch.setattr("sys.argv", ["microflow", "policy", "check", str(file)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message == f"error: {file}:5: rules[0].condition: unknown key 'presnt'"
    assert hint.startswith("hint: did you mean 'present'? allowed are: missing, present, contains")


def test_everything_as_json(tmp_path: Path) -> None:
    """For programs: the list, the rules, and what a file of one's own covers."""
    file = tmp_path / "house.yaml"
    file.write_text(GOOD)
    assert [one["policy"] for one in json.loads(run("list", "--json"))] == ["combined", "gdpr", "hipaa", "pci_dss"]
    shown = json.loads(run("show", "gdpr", "--json"))
    assert shown["number_of_rules"] == len(shown["rules"])
    assert {"id": "gdpr-location", "severity": "high"}.items() <= next(
        rule.items() for rule in shown["rules"] if rule["id"] == "gdpr-location"
    )
    checked = json.loads(run("check", str(file), "--schema", "iot", "--json"))
    assert (checked["number_of_rules"], checked["schema"]) == (10, "iot")
    assert set(checked["columns"]) == set(load_schema("iot").names)
