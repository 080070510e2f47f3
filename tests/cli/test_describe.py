"""``microflow describe``: three commands from a file to a proved release, and drift that fails."""

from __future__ import annotations

import csv
import json

import pytest
from click.testing import CliRunner

from advise.shapes import CMS, COMPAS, GERMAN, OMOP, OMOP_CONDITIONS, SYNTHEA, SYNTHEA_ENCOUNTERS
from microflow.cli.assess import verify
from microflow.cli.data import describe
from microflow.cli.run import run
from microflow.errors import InputError, SchemaError


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
