"""Describing files: identifiers are found, formats hold, and what cannot be known is left undecided."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from advise.shapes import (
    ADULT,
    CMS,
    COMPAS,
    GERMAN,
    GERMAN_CLINIC,
    NYC,
    SHAPES,
    STROKE,
    SYNTHEA,
    SYNTHEA_ENCOUNTERS,
    TELCO,
)
from microflow.advise.describe import describe, describe_together, drift_of
from microflow.advise.descriptor_text import as_data, as_yaml
from microflow.descriptors import load_schema
from microflow.errors import InputError
from microflow.schema import Dtype, Role


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    return {shape.name: describe(shape.write(folder)) for shape in SHAPES}


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_identifier_is_found(shape, described):
    """Recall is 1, and the person column is the one of several rows."""
    schema = described[shape.name].schema
    found = {column.name for column in schema.identifiers} | {c.name for c in schema.with_role(Role.UNDECIDED)}
    assert shape.identifiers <= found
    assert schema.person == shape.person


def test_most_run_without_an_edit(described):
    """Undecided are only the files that name no column."""
    undecided = {name for name, one in described.items() if one.undecided}
    assert undecided == {GERMAN.name, ADULT.name}
    assert len(undecided) <= 0.2 * len(SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_the_descriptor_is_the_schema(shape, described, tmp_path):
    """What is written is read back as what was found, and the file fits it."""
    path = tmp_path / "mine.yaml"
    path.write_text(as_yaml(described[shape.name]), "utf-8")
    schema = load_schema(path)
    assert schema.columns == described[shape.name].schema.columns
    assert not drift_of(described[shape.name].profile.path, schema)


def test_dialects_and_formats(described):
    """Delimiter, encoding, header, blanks and missing spellings; dates, time stamps and amounts."""
    clinic = described[GERMAN_CLINIC.name].schema
    assert (clinic.source.delimiter, clinic.source.encoding) == (";", "cp1252")
    assert (clinic["Geburtsdatum"].dtype, clinic["Geburtsdatum"].format) == (Dtype.DATE, "DD.MM.YYYY")
    assert (clinic["Kosten"].dtype, clinic["Kosten"].format) == (Dtype.NUMBER, "1.234,50")
    assert described[GERMAN.name].schema.source.delimiter == " "
    assert not described[ADULT.name].schema.source.header
    assert described[ADULT.name].schema.source.trim
    assert described[STROKE.name].schema.source.missing == {"N/A"}
    assert described[STROKE.name].schema["bmi"].dtype is Dtype.NUMBER
    assert described[TELCO.name].schema["TotalCharges"].dtype is Dtype.NUMBER
    assert described[CMS.name].schema[" Average Covered Charges "].format == "$1,234.50"
    assert described[NYC.name].schema["Created Date"].format == "MM/DD/YYYY hh:mm:ss a"
    assert described[SYNTHEA_ENCOUNTERS.name].schema["START"].dtype is Dtype.TIMESTAMP


def test_no_value_is_shown_unless_asked_for(described):
    """No name, number or address of a person; with examples there are some."""
    one = described[SYNTHEA.name]
    listed = {word for column in one.schema.columns for word in column.categories}  # each of many rows
    values = {value for column in one.profile.columns for value in column.examples if len(value) > 4} - listed
    shown = as_yaml(one) + json.dumps(as_data(one))
    assert not [value for value in values if value in shown]
    assert one.profile.columns[3].examples[0] in as_yaml(one, examples=True)


def test_sets_of_quasi_identifiers_are_ranked(described):
    """All columns together first, then the worst set; the count is that of unique rows."""
    sets = described[COMPAS.name].sets
    assert set(sets[0].columns) == {column.name for column in described[COMPAS.name].schema.quasi_identifiers}
    counts = [one.singled_out for one in sets[1:]]
    assert counts == sorted(counts, reverse=True)
    path = described[COMPAS.name].profile.path
    rows = [line.split(",") for line in path.read_text("utf-8").splitlines()]
    places = [rows[0].index(name) for name in sets[1].columns]
    keys = [tuple(row[place] for place in places) for row in rows[1:]]
    assert sets[1].singled_out == sum(keys.count(key) == 1 for key in keys)


ABSTAIN = [
    ("day\n01/02/2020\n03/04/2020\n", "day", "cannot be distinguished"),
    ("x\n1,234\n", "x", None),
    ("dob\n2020-01-01\nyesterday\n", "dob", "written in other ways"),
    ("consent\nJ\nN\n", "consent", "mean yes"),
    ("thing\nalpha beta\ngamma delta\nepsilon\n", "thing", "says nothing"),
]


@pytest.mark.parametrize(("text", "name", "reason"), ABSTAIN)
def test_what_cannot_be_known_is_undecided(text, name, reason, tmp_path):
    """The reason asks the question; a cell that only looks odd is no reason."""
    path = tmp_path / "a.tsv"
    path.write_text(text, "utf-8")
    if reason is None:
        return
    found = describe(path).judgements[name]
    assert found.role is Role.UNDECIDED
    assert reason in found.reason


@pytest.mark.parametrize("name", ["info", "reason", "x1", "plan name"])
@pytest.mark.parametrize(
    "texts",
    [
        ["ask anna@x.org", "nothing"],
        ["SSN 123-45-6789 seen", "paid", "open"],
        ["open"],
        ["http://x.org/anna", "none"],
        ["call 519-236-2723", "none", "n/a"],
    ],
)
def test_few_texts_that_hold_identifiers_do_not_pass(name, texts, tmp_path):
    """Neither a name nor few distinct values let them pass; dates and plain words alone change nothing."""
    path = tmp_path / "in.csv"
    path.write_text(f"id,{name}\n" + "".join(f"{n},{texts[n % len(texts)]}\n" for n in range(300)), "utf-8")
    (_, column) = describe(path).schema.columns
    assert (column.role is Role.FREE_TEXT) == (texts != ["open"])


def test_other_formats(tmp_path):
    """Compressed text, a JSON array and Parquet are described as the plain file is."""
    rows = [{"id": f"p{n:05}x", "email": f"a{n}@example.org", "home": {"zip": "02139"}} for n in range(60)]
    (tmp_path / "a.json").write_text(json.dumps(rows), "utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    with gzip.open(tmp_path / "c.csv.gz", "wt") as file:
        file.write("id,email,home.zip\n" + "".join(f"{r['id']},{r['email']},02139\n" for r in rows))
    found = [describe(tmp_path / name).schema.columns for name in ("a.json", "b.parquet", "c.csv.gz")]
    assert found[0] == found[1] == found[2]
    assert found[0][2].kind == "zip"


def test_keys_that_join_share_a_domain(tmp_path):
    """The patient of an encounter is the key of patients."""
    (tmp_path / "patients.csv").write_text("Id,sex\n" + "".join(f"p-{n:04},M\n" for n in range(50)), "utf-8")
    visits = "".join(f"v-{n:04},p-{n % 40:04}\n" for n in range(120))
    (tmp_path / "visits.csv").write_text("Id,PATIENT\n" + visits, "utf-8")
    patients, encounters = describe_together([tmp_path / "patients.csv", tmp_path / "visits.csv"])
    assert patients.schema["Id"].token_domain == encounters.schema["PATIENT"].token_domain == "patients_id"
    assert encounters.schema["Id"].token_domain is None


def test_editors_have_the_words(described):
    """The first line names the JSON Schema that ships, which is the model's (see tests/descriptors)."""
    first = as_yaml(next(iter(described.values()))).splitlines()[0]
    place = first.removeprefix("# yaml-language-server: $schema=file://")
    assert "DescriptorModel" in json.loads(Path(place).read_text("utf-8"))["$defs"]


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_lists_do_not_come_along(suffix, tmp_path):
    """They are named, and the rest of the file is described and can be read."""
    rows = [{"sex": "FM"[n % 2], "tags": ["a"], "p": {"age": n, "codes": [1, 2]}} for n in range(60)]
    path = tmp_path / f"a.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows)), "utf-8")
    found = describe(path)
    assert found.profile.left_out == ("tags", "p.codes")
    assert (found.profile.rows, found.profile.refused) == (60, 0)
    assert found.schema.names == ("sex", "p.age")
    assert '# Lists, which are no single values, do not come along: tags, "p.codes"\n' in (text := as_yaml(found))
    assert "\nothers: drop\n" in text


def test_a_file_of_which_no_row_can_be_read(tmp_path):
    """That is an error, and no description of nothing."""
    path = tmp_path / "a.csv"
    path.write_text("age,sex\n" + "1,F,and more\n" * 9, "utf-8")
    with pytest.raises(InputError, match=r"9 rows cannot be read \(9: 2 fields expected, not 3\)"):
        describe(path)


def test_no_rows_say_nothing(tmp_path):
    """What a header alone does not say stays undecided: its columns will be filled one day."""
    path = tmp_path / "a.csv"
    path.write_text("email,zone,blob\n", "utf-8")
    assert describe(path).undecided == ("zone", "blob")


@pytest.mark.parametrize(
    "values",
    [
        [f"2020-01-{n % 28 + 1:02}" if n % 2 else f"01/{n % 28 + 1:02}/2020" for n in range(200)],
        [str(10**20 + n) for n in range(200)],
    ],
    ids=["two forms of dates", "keys too long for a number"],
)
def test_what_has_no_type_is_not_let_pass(values, tmp_path):
    """Neither is a harmless attribute, and no digit of a key is lost in a float."""
    path = tmp_path / "a.csv"
    path.write_text("\n".join(["thing", *values]), "utf-8")
    column = describe(path).schema["thing"]
    assert column.dtype is Dtype.STRING
    assert column.role in {Role.UNDECIDED, Role.IDENTIFIER}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", "^", "~", "\x01", "\x1f", "¦"])
def test_delimiters(delimiter, tmp_path):
    """Also those of exports of Hive; a line separator within a value ends no line."""
    path = tmp_path / "a.csv"
    rows = [delimiter.join([str(n), f"street\u2028{n} 1"]) for n in range(60)]
    path.write_text("\n".join([delimiter.join(["age", "address"]), *rows]), "utf-8")
    found = describe(path)
    assert found.schema.names == ("age", "address")
    assert found.schema.source.of(path).delimiter == delimiter
    assert (found.profile.rows, found.profile.refused) == (60, 0)


def test_rows_that_became_unreadable_are_drift(tmp_path):
    """A row with too few fields is no row that fits."""
    path = tmp_path / "a.csv"
    path.write_text("age,sex\n1,F\n2,M\n3\n", "utf-8")
    (tmp_path / "s.yaml").write_text("columns: {age: {type: integer}, sex: {}}", "utf-8")
    found = drift_of(path, load_schema(tmp_path / "s.yaml"))
    assert found
    assert found.lines() == ["unreadable: 1 rows cannot be read as they are described"]
