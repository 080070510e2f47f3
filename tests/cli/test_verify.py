"""Counting equivalence classes of files."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from microflow.cli.assess import verify
from microflow.errors import InputError

SCHEMA = """
columns:
  age: {role: quasi_identifier, type: integer}
  sex: {role: quasi_identifier}
  illness: {role: sensitive}
"""


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SCHEMA)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_null_is_a_value_and_every_format_is_read(suffix: str, schema: Path, tmp_path: Path) -> None:
    """Two rows of unknown sex are a class of two, not two classes and not none."""
    rows = pd.DataFrame({"age": ["[1-9]"] * 5, "sex": ["F", "F", "F", None, None], "illness": list("abcde")})
    file = tmp_path / f"released.{suffix}"
    match suffix:
        case "csv":
            rows.to_csv(file, index=False)
        case "parquet":
            rows.to_parquet(file, index=False)
        case _:
            rows.to_json(file, orient="records", lines=True)
    assert CliRunner().invoke(verify, [str(file), "--schema", str(schema), "--k", "2"]).exit_code == 0
    refused = CliRunner().invoke(verify, [str(file), "--schema", str(schema), "--k", "3"])
    assert refused.exit_code == 1
    assert "smallest of 2 classes has 2 rows" in refused.stdout


def test_an_empty_file_is_no_proof(schema: Path, tmp_path: Path) -> None:
    """Nothing is not k-anonymous: it is an error."""
    file = tmp_path / "released.csv"
    file.write_text("age,sex,illness\n")
    result = CliRunner().invoke(verify, [str(file), "--schema", str(schema)])
    assert isinstance(result.exception, InputError)


def test_k_counts_persons_where_a_column_names_them(schema: Path, tmp_path: Path) -> None:
    """Six rows of two persons are two-anonymous, not six-anonymous, and the answer says what was counted."""
    schema.write_text(SCHEMA + "  patient: {role: person}\n")
    rows = pd.DataFrame({"age": ["[1-9]"] * 6, "sex": ["F"] * 6, "illness": list("abcdef"), "patient": list("xxxyyy")})
    file, report = tmp_path / "released.csv", tmp_path / "found.json"
    rows.to_csv(file, index=False)
    options = [str(file), "--schema", str(schema), "--json", str(report)]
    assert CliRunner().invoke(verify, [*options, "--k", "2"]).exit_code == 0
    refused = CliRunner().invoke(verify, [*options, "--k", "3"])
    assert refused.exit_code == 1
    assert "has 2 persons" in refused.stdout
    found = json.loads(report.read_text())
    assert (found["k"], found["unit"], found["rows_below"], found["satisfied"]) == (2, "person", 6, False)


def test_a_release_without_persons_is_counted_in_rows_and_says_so(schema: Path, tmp_path: Path) -> None:
    """Methods that remove identifiers leave nobody to count: k is that of rows, with a warning."""
    schema.write_text(SCHEMA + "  patient: {role: person}\n")
    file = tmp_path / "released.csv"
    file.write_text("age,sex,illness,patient\n" + "[1-9],F,a,\n" * 3)
    result = CliRunner().invoke(verify, [str(file), "--schema", str(schema), "--k", "3"])
    assert result.exit_code == 0
    assert "rows are counted" in result.stderr
    assert "has 3 rows" in result.stdout


def test_the_counts_as_json(schema: Path, tmp_path: Path) -> None:
    """On standard output where no file is named; the exit status says the same."""
    file = tmp_path / "released.csv"
    file.write_text("zip,age\n" + "1,2\n" * 3)
    schema.write_text("columns: {zip: {role: quasi_identifier}, age: {role: quasi_identifier}}")
    done = CliRunner().invoke(verify, [str(file), "--schema", str(schema), "--k", "4", "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["k"], found["required_k"], found["satisfied"], found["rows"]) == (3, 4, False, 3)
