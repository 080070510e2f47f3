"""``microflow assess`` and ``verify``: what a release gives away, and its equivalence classes."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from microflow.cli.assess import assess, verify
from microflow.cli.run import run
from microflow.errors import InputError

SCHEMA = """
columns:
  id: {role: record_id, type: integer}
  name: {role: identifier}
  age: {role: quasi_identifier, type: integer, low: 0, high: 100}
  sex: {role: quasi_identifier, categories: [F, M]}
  illness: {role: sensitive}
  note: {}
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Eighty persons, and a release of all but one, in another order, with ages in classes of ten."""
    (tmp_path / "mine.yaml").write_text(SCHEMA)
    rows = [
        {"id": i, "name": f"person {i}", "age": i, "sex": "FM"[i % 2], "illness": "abc"[i % 3], "note": "x"}
        for i in range(80)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "before.csv", index=False)
    released = [
        row | {"name": None, "age": f"[{row['age'] // 10 * 10}-{row['age'] // 10 * 10 + 9}]", "sex": "{F,M}"}
        for row in reversed(rows[1:])
    ]
    pd.DataFrame(released).to_csv(tmp_path / "after.csv", index=False)
    return {name: tmp_path / name for name in ("mine.yaml", "before.csv", "after.csv", "risk.json")}


def test_a_control_of_others_shows_who_is_in_it(files: dict[str, Path]) -> None:
    """The control persons give the attack on membership, k-map and delta-presence."""
    before, after, schema = (str(files[name]) for name in ("before.csv", "after.csv", "mine.yaml"))
    others = pd.read_csv(before).assign(id=lambda rows: rows["id"] + 1_000)
    others.to_csv(control := files["after.csv"].with_name("others.csv"), index=False)
    asked = [before, after, "--schema", schema, "--attempts", "50"]
    result = CliRunner().invoke(assess, [*asked, "--control", str(control)])
    assert result.exit_code == 0, result.output
    assert "membership" in result.output
    assert "against a population of 160 rows" in result.output
    assert "membership" not in CliRunner().invoke(assess, asked).output


def test_a_table_and_a_document(files: dict[str, Path]) -> None:
    """Labels are read from CSV, rows found by id, and every section is there."""
    before, after, schema, document = (
        str(files[name]) for name in ("before.csv", "after.csv", "mine.yaml", "risk.json")
    )
    result = CliRunner().invoke(assess, [before, after, "--schema", schema, "--json", document, "--attempts", "50"])
    assert result.exit_code == 0, result.output
    assert "79 of 80 rows released, 1 suppressed" in result.output
    for section in ("equivalence classes", "risk from class sizes", "risk by attack", "what was lost", "why"):
        assert section in result.output
    found = json.loads(Path(document).read_text())
    assert found["achieved"]["k"] == 9
    assert found["loss"]["columns"]["age"]["ncp"] == pytest.approx(0.09)
    assert found["linkage"][-1]["main"]["value"] < 0.3
    assert "person" not in result.output.replace("persons", "")


def test_files_that_do_not_belong_together(files: dict[str, Path], tmp_path: Path) -> None:
    """An id that the original does not have, and no rows at all."""
    stranger = tmp_path / "stranger.csv"
    stranger.write_text("id,name,age,sex,illness,note\n999,,1,F,a,x\n")
    arguments = ["--schema", str(files["mine.yaml"])]
    result = CliRunner().invoke(assess, [str(files["before.csv"]), str(stranger), *arguments])
    assert isinstance(result.exception, InputError)
    assert "does not have" in str(result.exception)
    stranger.write_text("id,name,age,sex,illness,note\n")
    result = CliRunner().invoke(assess, [str(files["before.csv"]), str(stranger), *arguments])
    assert isinstance(result.exception, InputError)
    assert "no rows" in str(result.exception)


FORMATTED = """
source: {delimiter: ";", decimal: ",", missing: [NA], encoding: cp1252}
columns:
  id: {role: record_id, type: integer, format: "1.234"}
  born: {role: quasi_identifier, type: date, format: DD.MM.YYYY}
  pay: {role: sensitive, type: number, format: "1.234,50 €", required: true}
  ok: {role: sensitive, type: boolean, format: J/N}
"""


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_release_is_plain_whatever_its_source_was(suffix: str, tmp_path: Path) -> None:
    """Formats, missing values and the dialect are the source's; no released row is lost over them."""
    source, out, schema = tmp_path / "in.csv", tmp_path / f"out.{suffix}", tmp_path / "mine.yaml"
    rows = "".join(f"{i + 1}.000;0{i % 9 + 1}.02.2020;{i}.000,5 €;{'JN'[i % 2]}\n" for i in range(60))
    source.write_text("id;born;pay;ok\n" + rows, "cp1252")
    schema.write_text(FORMATTED, "utf-8")
    options = ["--schema", str(schema)]
    method = ["--method", "k_anonymity", "--k", "5", "--no-database"]
    assert CliRunner().invoke(run, [str(source), str(out), *options, *method]).exit_code == 0
    counted = CliRunner().invoke(verify, [str(out), *options, "--k", "5"])
    assert "5-anonymous: 60 rows" in counted.output
    measured = CliRunner().invoke(assess, [str(source), str(out), *options, "--attempts", "10"])
    assert "60 of 60 rows released, 0 suppressed" in measured.output


def test_a_release_that_cannot_be_read_is_no_small_release(files: dict[str, Path]) -> None:
    """A row that is cut off is an error, and not a suppressed one."""
    with files["after.csv"].open("a") as file:
        file.write("80,,\n")
    arguments = [str(files[name]) for name in ("before.csv", "after.csv")]
    result = CliRunner().invoke(assess, [*arguments, "--schema", str(files["mine.yaml"])])
    assert isinstance(result.exception, InputError)
    assert "1 rows cannot be read (1: 6 fields expected, not 3)" in str(result.exception)


@pytest.mark.parametrize("rows", ["1,x,40,F,a,\n", "1,x,,F,,\n2,y,,M,,\n3,z,,F,,\n"], ids=["one row", "nothing told"])
@pytest.mark.filterwarnings("error")
def test_little_is_measured_without_a_warning(rows: str, files: dict[str, Path], tmp_path: Path) -> None:
    """A single row, or empty columns: results are numbers, with the widest interval."""
    files["mine.yaml"].write_text(SCHEMA.replace("illness: {role", "illness: {type: number, role"))
    path = tmp_path / "few.csv"
    path.write_text("id,name,age,sex,illness,note\n" + rows.replace(",a,", ",1,"))
    arguments = [str(path), str(path), "--schema", str(files["mine.yaml"]), "--json", str(files["risk.json"])]
    done = CliRunner().invoke(assess, arguments)
    assert done.exit_code == 0, done.output
    found = json.loads(files["risk.json"].read_text())
    assert found["linkage"][-1]["low"] == 0
    assert found["linkage"][-1]["high"] > 0.9


RELEASED = """
columns:
  age: {role: quasi_identifier, type: integer}
  sex: {role: quasi_identifier}
  illness: {role: sensitive}
"""


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(RELEASED)
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
    schema.write_text(RELEASED + "  patient: {role: person}\n")
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
    """Methods that remove identifiers leave no persons to count: k is that of rows, with a warning."""
    schema.write_text(RELEASED + "  patient: {role: person}\n")
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


def test_l_and_t_where_they_are_asked_for(schema: Path, tmp_path: Path) -> None:
    """Named in the options or by the document of the run; a verdict, a status and the document say the same."""
    file, metrics = tmp_path / "released.csv", tmp_path / "metrics.json"
    file.write_text("age,sex,illness\n" + "1,F,a\n" * 2 + "1,F,b\n" + "2,M,b\n" * 3)
    asked = [str(file), "--schema", str(schema), "--k", "3"]
    assert CliRunner().invoke(verify, asked).stdout.count("\n") == 1
    refused = CliRunner().invoke(verify, [*asked, "--l", "2", "--average-risk", "0.4"])
    assert refused.exit_code == 1
    assert "not 2-diverse in illness: the weakest class has 1 values" in refused.stdout
    assert "\nwithin the average risk of 0.4: it is 0.3333\n" in refused.stdout
    assert "verdict: failed, 1 of 3 requirements" in refused.stdout
    close = CliRunner().invoke(verify, [*asked, "--t", "0.4", "--json"])
    found = json.loads(close.stdout)
    assert (close.exit_code, found["satisfied"]) == (0, True)
    assert found["columns"]["illness"]["t"] == pytest.approx(1 / 3)
    assert found["columns"]["illness"]["l"] == 1

    metrics.write_text(json.dumps({"method": {"method": "k_anonymity", "k": 3, "t_closeness": 0.3}}))
    by_document = [str(file), "--schema", str(schema), "--metrics", str(metrics)]
    assert "not 0.3-close" in CliRunner().invoke(verify, by_document).stdout
    assert CliRunner().invoke(verify, [*by_document, "--t", "0.4"]).exit_code == 0
    metrics.write_text("{")
    assert isinstance(CliRunner().invoke(verify, by_document).exception, InputError)


@pytest.mark.parametrize("asked", [["--l", "2"], ["--l", "2", "--l-entropy"], ["--l", "2", "--l-recursive", "2.5"]])
def test_a_run_holds_what_its_metrics_state(asked: list[str], files: dict[str, Path], tmp_path: Path) -> None:
    """What `run` was asked for is what `verify --metrics` counts in its output."""
    out, metrics = str(tmp_path / "out.csv"), str(tmp_path / "metrics.json")
    schema = ["--schema", str(files["mine.yaml"])]
    method = ["--method", "k_anonymity", "--k", "4", "--t", "0.5", *asked, "--no-database", "--metrics", metrics]
    assert CliRunner().invoke(run, [str(files["before.csv"]), out, *schema, *method]).exit_code == 0
    done = CliRunner().invoke(verify, [out, *schema, "--metrics", metrics, "--json"])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["required_k"], found["required_l"], found["required_t"]) == (0, 4, 2, 0.5)
    assert found["l_kind"] == {1: "distinct", 2: "entropy"}.get(len(asked) - 1, "recursive")
