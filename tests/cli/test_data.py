"""``microflow describe``, ``generate`` and ``detokenize``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from advise.shapes import CMS, COMPAS, GERMAN, OMOP, OMOP_CONDITIONS, SYNTHEA, SYNTHEA_ENCOUNTERS
from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.tokenization import Tokenizer
from microflow.cli import cli
from microflow.cli.assess import verify
from microflow.cli.data import describe, detokenize
from microflow.cli.run import run
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.errors import InputError, KeyMaterialError, SchemaError
from microflow.sinks.writers import open_writer
from microflow.sources import Quarantine, read_microflows


def call(command, *arguments):
    result = CliRunner().invoke(command, list(map(str, arguments)))
    if isinstance(result.exception, InputError):
        raise result.exception
    return result


@pytest.mark.parametrize(
    "shape", [SYNTHEA, SYNTHEA_ENCOUNTERS, OMOP, OMOP_CONDITIONS, COMPAS, CMS], ids=lambda shape: shape.name
)
def test_describe_run_verify(shape, tmp_path):
    """Without an editor: all rows are released, 5-anonymous, and no identifier is among them."""
    file, schema, out = shape.write(tmp_path), tmp_path / "mine.yaml", tmp_path / "out.csv"
    assert call(describe, file, "-o", schema).exit_code == 0
    method = ["--method", "k_anonymity", "--k", 5, "--no-database"]
    assert call(run, file, out, "--schema", schema, *method).exit_code == 0
    result = call(verify, out, "--schema", schema, "--k", 5)
    assert result.exit_code == 0
    assert f"{shape.rows:,} rows" in result.stdout
    released = list(csv.DictReader(out.open(encoding="utf-8", newline="")))
    assert {row[name] for row in released for name in shape.identifiers} == {""}


def test_undecided_columns_stop_a_run(tmp_path):
    """A person has to look first; all columns are named."""
    file, schema = GERMAN.write(tmp_path), tmp_path / "mine.yaml"
    assert "undecided: 'column_1', 'column_2'" in call(describe, file, "-o", schema).output
    with pytest.raises(SchemaError, match=r"'column_1', 'column_2'.*undecided"):
        call(run, file, tmp_path / "out.csv", "--schema", schema, "--method", "identity", "--no-database")
    assert not (tmp_path / "out.csv").exists()


def test_drift(tmp_path):
    """A column that is new, missing or holds something else: exit status 1, each named, no value shown."""
    file, schema = COMPAS.write(tmp_path), tmp_path / "mine.yaml"
    call(describe, file, "-o", schema)
    assert call(describe, "--check", file, "--schema", schema).exit_code == 0
    text = file.read_text("utf-8").replace(",dob,", ",born,", 1).replace("Caucasian", "Caucasian")
    lines = text.splitlines()
    place = lines[0].split(",").index("age")
    row = lines[1].split(",")
    row[place] = "forty"
    file.write_text("\n".join([lines[0], ",".join(row), *lines[2:]]), "utf-8")
    result = call(describe, "--check", file, "--schema", schema)
    assert result.exit_code == 1
    assert "new: 'born'" in result.output
    assert "missing: 'dob'" in result.output
    assert "retyped: 1 of 400 values of 'age'" in result.output
    assert "forty" not in result.output
    found = json.loads(call(describe, "--check", file, "--schema", schema, "--json").stdout)
    assert found[str(file)]["retyped"] == {"age": 1}


def test_nothing_is_overwritten_unasked(tmp_path):
    """A schema that a person may have edited stays."""
    file, schema = OMOP.write(tmp_path), tmp_path / "mine.yaml"
    schema.write_text("mine", "utf-8")
    with pytest.raises(InputError, match="is there already"):
        call(describe, file, "-o", schema)
    assert schema.read_text("utf-8") == "mine"
    assert call(describe, file, "-o", schema, "--overwrite").exit_code == 0


def test_a_folder_of_tables(tmp_path):
    """A schema each, named after its file; JSON for programs."""
    files = [OMOP.write(tmp_path), OMOP_CONDITIONS.write(tmp_path)]
    assert call(describe, *files, "-o", tmp_path / "schemas").exit_code == 0
    assert {path.name for path in (tmp_path / "schemas").iterdir()} == {"person.yaml", "condition_occurrence.yaml"}
    found = json.loads(call(describe, *files, "--json").stdout)
    assert [one["name"] for one in found] == ["person", "condition_occurrence"]
    assert found[1]["person"] == "person_id"
    assert "examples" not in found[0]["columns"]["person_id"]


def test_linked_tables_still_join(tmp_path, monkeypatch):
    """Tables shaped as OHDSI's, described together: released keys join the same rows, and are none of the old ones."""
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "00" * 32)
    persons = [{"person_id": 7_000 + n, "gender_concept_id": 8507 + 25 * (n % 2)} for n in range(80)]
    visits = [
        {"visit_occurrence_id": 50_000 + n, "person_id": 7_000 + n * 7 % 80, "visit_concept_id": 9202}
        for n in range(160)
    ]
    conditions = [
        {
            "condition_occurrence_id": n,
            "person_id": visit["person_id"],
            "visit_occurrence_id": visit["visit_occurrence_id"],
        }
        for n, visit in enumerate(visits[::2])
    ]
    tables = {"person": persons, "visit_occurrence": visits, "condition_occurrence": conditions}
    for name, rows in tables.items():
        with (tmp_path / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    files = [tmp_path / f"{name}.csv" for name in tables]
    done = call(describe, *files, "-o", tmp_path / "schemas")
    assert "undecided" not in done.output
    released = {}
    for name in tables:
        out = tmp_path / f"{name}.released.csv"
        options = ["--schema", tmp_path / "schemas" / f"{name}.yaml", "--method", "tokenization", "--no-database"]
        assert call(run, tmp_path / f"{name}.csv", out, *options).exit_code == 0
        released[name] = list(csv.DictReader(out.open(encoding="utf-8", newline="")))

    def joined(found, left, right, key):
        """Which rows of one table have the key of which row of another."""
        place = {str(row[key]): at for at, row in enumerate(found[right])}
        return [place[str(row[key])] for row in found[left]]

    for left, right, key in (
        ("visit_occurrence", "person", "person_id"),
        ("condition_occurrence", "person", "person_id"),
        ("condition_occurrence", "visit_occurrence", "visit_occurrence_id"),
    ):
        assert joined(released, left, right, key) == joined(tables, left, right, key)
    assert not {row["person_id"] for row in released["person"]} & {str(row["person_id"]) for row in persons}
    method = ["--method", "k_anonymity", "--no-database", "--overwrite"]
    files = [tmp_path / "person.csv", tmp_path / "out.csv", "--schema", tmp_path / "schemas" / "person.yaml"]
    assert call(run, *files, *method).exit_code == 0
    grouped = csv.DictReader((tmp_path / "out.csv").open(encoding="utf-8", newline=""))
    assert {row["person_id"] for row in grouped} == {""}


def generated(*words):
    return CliRunner().invoke(cli, ["generate", *(str(word) for word in words)])


@pytest.mark.parametrize("data_type", DATA_TYPES)
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".csv.gz"])
def test_the_reader_reads_all_of_it(data_type, suffix, tmp_path):
    """Whatever the format, the rows that come back are the rows generated; none is quarantined."""
    path = tmp_path / f"out{suffix}"
    assert generated(data_type, path, "--rows", 700, "--seed", 3).exit_code == 0
    quarantine = Quarantine()
    flows = list(read_microflows(path, load_schema(data_type), quarantine=quarantine))
    (block,) = generate(data_type, 700, 3)
    assert quarantine.total == 0
    assert [row for flow in flows for row in flow.rows.to_pylist()] == block.rows.to_pylist()


def test_truth_lies_apart(tmp_path):
    """The truth is a file of its own, and the rows' file has no column of it."""
    rows, truth = tmp_path / "rows.parquet", tmp_path / "truth.parquet"
    assert generated("financial", rows, "--rows", 500, "--truth", truth).exit_code == 0
    (block,) = generate("financial", 500, 1)
    assert pq.read_table(truth).to_pylist() == block.truth.to_pylist()
    assert not {"rule", "truth", "violation"} & set(pq.read_schema(rows).names)


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    """Byte for byte, in text and in Parquet."""
    for suffix in (".csv", ".parquet", ".jsonl.gz"):
        one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
        for path in (one, two):
            generated("iot", path, "--rows", 300, "--seed", 9)
        assert one.read_bytes() == two.read_bytes()


def test_nothing_is_drawn_in_a_pipe(tmp_path):
    """Without a terminal there is no progress bar and no chatter."""
    done = generated("iot", tmp_path / "out.csv", "--rows", 100)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["out.xlsx"], "no format is known"),
        (["none/out.csv"], "cannot be written"),
        (["out.csv", "--truth", "out.csv"], "a file each"),
        (["out.csv", "--truth", "none/truth.csv"], "cannot be written"),
    ],
)
def test_files_that_cannot_be(words, part, tmp_path, monkeypatch):
    """One clear error, and nothing left behind."""
    monkeypatch.chdir(tmp_path)
    done = generated("iot", *words, "--rows", 10)
    assert part in str(done.exception)
    assert list(tmp_path.iterdir()) == []


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
