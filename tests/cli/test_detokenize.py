"""Tokens of a file back to values, by whoever has the key."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.tokenization import Tokenizer
from microflow.cli.detokenize import detokenize
from microflow.cli.run import run
from microflow.descriptors import load_schema
from microflow.errors import InputError, KeyMaterialError
from microflow.sinks.writers import open_writer

KEY = bytes(range(32))
SCHEMA = """
columns:
  id: {role: record_id, type: integer}
  name: {role: identifier}
  phone: {role: identifier, type: integer}
  age: {role: quasi_identifier, type: integer}
"""
ROWS = {"id": [1, 2, 3], "name": ["Ada", None, "Grace, M."], "phone": [1815, 1906, None], "age": [36, 85, None]}


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(SCHEMA)
    return path


def tokens(path: Path, schema: Path, *, reversible: bool = True) -> Path:
    described = load_schema(schema)
    settings = MethodSettings(Method.TOKENIZATION, reversible=reversible)
    released = Tokenizer(settings, described, KEY).anonymize(pa.RecordBatch.from_pydict(ROWS, schema=described.arrow))
    with open_writer(path, released.rows.schema) as writer:
        writer.write(released.rows)
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_every_format_comes_back(suffix: str, schema: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the values, the gaps and, where the format has them, the types."""
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", KEY.hex())
    output = tmp_path / f"back.{suffix}"
    file = tokens(tmp_path / f"tokens.{suffix}", schema)
    result = CliRunner().invoke(detokenize, [str(file), str(output), "--schema", str(schema)])
    assert result.exit_code == 0, result.output
    assert "3 rows with 4 tokens turned back" in result.output
    match suffix:
        case "csv":
            frame = pd.read_csv(output)
        case "parquet":
            frame = pd.read_parquet(output)
        case _:
            frame = pd.read_json(output, lines=True)
    assert frame.astype(object).where(frame.notna(), None).to_dict("list") == ROWS


Refusal = tuple[bool, bytes, type[Exception]]


@pytest.mark.parametrize(
    "refusal",
    [(False, KEY, InputError), (True, KEY[::-1], KeyMaterialError), (True, KEY[:16], KeyMaterialError)],
    ids=["one-way tokens", "another key", "half a key"],
)
def test_a_refusal_leaves_nothing_behind(
    refusal: Refusal, schema: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the output nor a half of it under another name."""
    reversible, key, error = refusal
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", key.hex())
    folder = tmp_path / "out"
    folder.mkdir()
    file = tokens(tmp_path / "tokens.csv", schema, reversible=reversible)
    result = CliRunner().invoke(detokenize, [str(file), str(folder / "back.csv"), "--schema", str(schema)])
    assert isinstance(result.exception, error)
    assert list(folder.iterdir()) == []


def test_rows_that_cannot_be_read_are_not_lost_silently(
    schema: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ragged row ends the command: the output would have lacked it."""
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", KEY.hex())
    file = tokens(tmp_path / "tokens.csv", schema)
    file.write_text(file.read_text() + "4,too,few\n")
    result = CliRunner().invoke(detokenize, [str(file), str(tmp_path / "back.csv"), "--schema", str(schema)])
    assert isinstance(result.exception, InputError)
    assert not (tmp_path / "back.csv").exists()


@pytest.mark.parametrize("dtype", ["integer", "number", "boolean", "date", "time", "timestamp"])
def test_tokens_of_another_type(dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The column is named, the value is not, and nothing is written."""
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", KEY.hex())
    paths = [tmp_path / name for name in ("in.csv", "tokens.csv", "back.csv", "s.yaml")]
    source, tokenized, back, schema = map(str, paths)
    paths[0].write_text("ref\nAlice Doe\n")
    paths[3].write_text("name: s\ncolumns: {ref: {role: identifier}}")
    made = ["--method", "tokenization", "--reversible", "--no-database"]
    assert CliRunner().invoke(run, [source, tokenized, "--schema", schema, *made]).exit_code == 0
    paths[3].write_text(f"name: s\ncolumns: {{ref: {{role: identifier, type: {dtype}}}}}")
    done = CliRunner().invoke(detokenize, [tokenized, back, "--schema", schema])
    assert isinstance(done.exception, InputError)
    assert f"column 'ref': its tokens do not hold values of type {dtype}" in str(done.exception)
    assert "Alice" not in str(done.exception)
    assert not paths[2].exists()
