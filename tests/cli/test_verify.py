"""Counting equivalence classes of files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from microflow.cli.verify import verify
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
