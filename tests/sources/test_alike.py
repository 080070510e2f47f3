"""The same values in CSV, TSV, JSON Lines, a JSON array and Parquet are the same records, tokens and findings."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize import MethodSettings, build_anonymizer
from microflow.anonymize.contract import BatchAnonymizer, Method
from microflow.compliance import detailed_compliance_check
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, Role, SourceFormat
from microflow.sources import Quarantine, read_microflows
from microflow.sources.reader import column_names

SCHEMA = DatasetSchema(
    "alike",
    policy="hipaa",
    source=SourceFormat(missing=frozenset({"NA", "-999", "-999.0"})),
    columns=(
        Column("account", Role.IDENTIFIER),
        Column("n", dtype=Dtype.INTEGER),
        Column("x", dtype=Dtype.NUMBER),
        Column("yes", dtype=Dtype.BOOLEAN),
        Column("seen", dtype=Dtype.DATE),
        Column("at", dtype=Dtype.TIMESTAMP),
        Column("clock", dtype=Dtype.TIME),
        Column("note", Role.FREE_TEXT),
    ),
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n", exclude_categories=["Cs"]), max_size=8)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "account": st.one_of(st.none(), TEXT, st.just("NA")),
            "n": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.just(-999)),
            "x": st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False), st.just(-0.0)),
            "yes": st.one_of(st.none(), st.booleans()),
            "seen": st.one_of(st.none(), st.dates()),
            "at": st.one_of(st.none(), st.datetimes()),
            "clock": st.one_of(st.none(), st.times()),
            "note": st.one_of(st.none(), TEXT, st.just(""), st.just("ssn 123-45-6789")),
        }
    ),
    min_size=1,
    max_size=5,
)
TYPES = pa.schema(
    [
        ("account", pa.string()),
        ("n", pa.int64()),
        ("x", pa.float64()),
        ("yes", pa.bool_()),
        ("seen", pa.date32()),
        ("at", pa.timestamp("us")),
        ("clock", pa.time64("us")),
        ("note", pa.string()),
    ]
)


def written(row: dict[str, object]) -> dict[str, object]:
    """As JSON holds it: days and moments as text."""
    timed = {"seen", "at", "clock"}
    return {
        name: row[name].isoformat() if name in timed and row[name] is not None else row[name] for name in SCHEMA.names
    }


def write(folder, rows):
    for name, delimiter in (("a.csv", ","), ("e.tsv", "\t")):
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(SCHEMA.names)
            writer.writerows(["" if value is None else value for value in written(row).values()] for row in rows)
    lines = [json.dumps(written(row)) for row in rows]
    (folder / "b.jsonl").write_text("\n".join(lines), "utf-8")
    (folder / "c.json").write_text("[" + ",\n".join(lines) + "]", "utf-8")
    pq.write_table(pa.Table.from_pylist(rows, TYPES), folder / "d.parquet")
    return [folder / name for name in ("a.csv", "b.jsonl", "c.json", "d.parquet", "e.tsv")]


def read(path, schema=SCHEMA):
    quarantine = Quarantine()
    return [row for flow in read_microflows(path, schema, quarantine=quarantine) for row in flow.rows.to_pylist()]


@settings(max_examples=30, deadline=None)
@given(ROWS)
def test_the_same_records(tmp_path_factory, rows):
    """Value by value, whatever is missing, zero or beyond 2**53."""
    first, *others = (read(path) for path in write(tmp_path_factory.mktemp("alike"), rows))
    assert len(first) == len(rows)
    assert all(repr(other) == repr(first) for other in others)


def test_the_same_tokens_and_findings(tmp_path):
    """An account that one format holds as a float, and an identifier in prose."""
    path = tmp_path / "a.csv"
    path.write_text("account,note\n12345678901234560,ssn 123-45-6789\n41,\n", "utf-8")
    columns = {"account": pa.array([12345678901234560.0, 41.0]), "note": pa.array(["ssn 123-45-6789", ""])}
    pq.write_table(pa.table(columns), tmp_path / "b.parquet")
    lines = ['{"account": 1.234567890123456e16, "note": "ssn 123-45-6789"}', '{"account": 41.0, "note": ""}']
    (tmp_path / "c.jsonl").write_text("\n".join(lines), "utf-8")
    schema = replace(SCHEMA, columns=(SCHEMA["account"], SCHEMA["note"]))
    tokenizer = build_anonymizer(MethodSettings(Method.TOKENIZATION), schema, key=b"k" * 32)
    assert tokenizer is not None
    found = [read(tmp_path / name, schema) for name in ("a.csv", "b.parquet", "c.jsonl")]
    assert found[0] == found[1] == found[2]
    assert found[0][1] == {"account": "41", "note": None}
    assert detailed_compliance_check({"notes": found[0][0]["note"]}, "healthcare")["violations"]


def test_whole_numbers_with_noughts(tmp_path):
    """41.0 is a whole number in every format, 41.5 in none."""
    path = tmp_path / "a.csv"
    path.write_text("n\n41.0\n-0.\n41.5\n1e3\n", "utf-8")
    assert read(path, replace(SCHEMA, columns=(Column("n", dtype=Dtype.INTEGER),))) == [{"n": 41}, {"n": 0}]


def test_a_day_with_its_time(tmp_path):
    """Databases write midnight with a day; the day is the same in every format, also where a zone is named."""
    days = ["2021-03-14 00:00:00", "2021-03-14T23:30:00-02:00", "2021-03-14"]
    (tmp_path / "a.csv").write_text("\n".join(["seen", *days]), "utf-8")
    (tmp_path / "b.jsonl").write_text("\n".join(json.dumps({"seen": day}) for day in days), "utf-8")
    moments = [datetime(2021, 3, 14, tzinfo=UTC), datetime(2021, 3, 15, 1, 30, tzinfo=UTC)]
    pq.write_table(
        pa.table({"seen": pa.array([*moments, moments[0]], pa.timestamp("us", "UTC"))}), tmp_path / "c.parquet"
    )
    schema = replace(SCHEMA, columns=(SCHEMA["seen"],))
    found = [read(tmp_path / name, schema) for name in ("a.csv", "b.jsonl", "c.parquet")]
    assert found[0] == found[1] == found[2] == [{"seen": f"2021-03-{day}"} for day in (14, 15, 14)]


def test_flags_with_gaps(tmp_path):
    """pandas writes 1.0 and 0.0 where a column of flags has a gap."""
    (tmp_path / "a.csv").write_text('yes\n1.0\n0.0\n""\n', "utf-8")
    pq.write_table(pa.table({"yes": [1.0, 0.0, None]}), tmp_path / "b.parquet")
    (tmp_path / "c.jsonl").write_text('{"yes": 1.0}\n{"yes": 0.0}\n{"yes": null}\n', "utf-8")
    schema = replace(SCHEMA, columns=(SCHEMA["yes"],))
    for name in ("a.csv", "b.parquet", "c.jsonl"):
        assert read(tmp_path / name, schema) == [{"yes": True}, {"yes": False}, {"yes": None}]


HOSTILE = [
    ('{"n": 1, "n": 2}', "named twice"),
    ('{"n": ' + "9" * 400 + "}", "not a whole number"),
    ('{"n": ' + "9" * 9000 + "}", "not a JSON object"),
    ('{"x": ' + "9" * 400 + "}", "not a finite number"),
    ('{"n": ' + "[" * 100_000 + "}", "not a JSON object"),
    ('{"account": "\\ud800"}', "surrogate"),
    ('{"account": [1]}', "no single value"),
    ('{"account": {"a": 1, "b": {}}}', "no single value"),
]


@pytest.mark.parametrize(("line", "reason"), HOSTILE, ids=[reason for _, reason in HOSTILE])
def test_a_hostile_record_stays_alone(line, reason, tmp_path):
    """It is quarantined with its reason; its neighbours are read."""
    for name, text in (("a.jsonl", f'{{"n": 5}}\n{line}\n{{"n": 6}}\n'), ("b.json", '[{"n": 5}, {"n": 6}]')):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        quarantine = Quarantine()
        flows = read_microflows(path, SCHEMA, quarantine=quarantine)
        assert [row["n"] for flow in flows for row in flow.rows.to_pylist()] == [5, 6]
        assert quarantine.total == (name == "a.jsonl")
        assert all(reason in found for found in quarantine.counts)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16", "utf-16-le", "utf-8-sig"])
def test_encodings(encoding, tmp_path):
    """What the descriptor names is read, with its quote and delimiter."""
    path = tmp_path / "a.csv"
    path.write_bytes("note;n\n'Zoë; né';5\n".encode(encoding))
    columns = (SCHEMA["note"], SCHEMA["n"])
    schema = replace(SCHEMA, columns=columns, source=SourceFormat(delimiter=";", quote="'", encoding=encoding))
    assert read(path, schema) == [{"note": "Zoë; né", "n": 5}]


def test_structs_of_parquet(tmp_path):
    """Fields of structs are columns; a list is refused with what to do."""
    table = pa.table({"a": [{"n": 1}, None], "note": pa.array([[1], [2]])})
    pq.write_table(table, tmp_path / "a.parquet")
    schema = replace(SCHEMA, columns=(Column("a.n", dtype=Dtype.INTEGER),), others="drop")
    assert read(tmp_path / "a.parquet", schema) == [{"a.n": 1}, {"a.n": None}]
    with pytest.raises(Exception, match=r"lists.*others: drop"):
        read(tmp_path / "a.parquet", replace(schema, columns=(SCHEMA["note"],)))


def test_nan_is_missing_where_it_is_described_so(tmp_path):
    """In every format, whatever the column's type."""
    (tmp_path / "a.csv").write_text("x,account\nNaN,NaN\n1.5,a\n", "utf-8")
    (tmp_path / "b.jsonl").write_text('{"x": NaN, "account": NaN}\n{"x": 1.5, "account": "a"}\n', "utf-8")
    table = pa.table({"x": [float("nan"), 1.5], "account": ["NaN", "a"]})
    pq.write_table(table, tmp_path / "c.parquet")
    source = SourceFormat(missing=frozenset({"NaN"}))
    schema = replace(SCHEMA, columns=(SCHEMA["x"], SCHEMA["account"]), source=source)
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        assert read(tmp_path / name, schema) == [{"x": None, "account": None}, {"x": 1.5, "account": "a"}]


def test_an_object_that_is_missing_as_a_whole(tmp_path):
    """So are its fields, in JSON as in Parquet, however deep."""
    rows = [{"a": {"x": 1, "y": {"z": "q"}}}, {"a": None}, {"a": {"x": 2, "y": None}}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (tmp_path / "b.json").write_text(json.dumps(rows, indent=2), "utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    columns = (Column("a.x", dtype=Dtype.INTEGER), Column("a.y.z"))
    schema = replace(SCHEMA, columns=columns)
    expected = [{"a.x": 1, "a.y.z": "q"}, {"a.x": None, "a.y.z": None}, {"a.x": 2, "a.y.z": None}]
    for name in ("a.jsonl", "b.json", "c.parquet"):
        assert read(tmp_path / name, schema) == expected
        assert column_names(tmp_path / name, SourceFormat()) == ["a.x", "a.y.z"]


def test_json_as_people_write_it(tmp_path):
    """One object over several lines is a record; UTF-16 is named."""
    schema = replace(SCHEMA, columns=(SCHEMA["n"], SCHEMA["note"]))
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"n": 1, "note": "}"}, indent=2), "utf-8")
    assert read(path, schema) == [{"n": 1, "note": "}"}]
    path.write_text('{"n": 1}', "utf-16")
    with pytest.raises(InputError, match=r"a\.json: JSON is UTF-8 text, and this is UTF-16"):
        read(path, schema)


@settings(max_examples=20, deadline=None)
@given(ROWS)
def test_the_same_tokens(tmp_path_factory, rows):
    """Of every column, whatever its type: a token is the value's, and not its file's."""
    columns = tuple(replace(column, role=Role.IDENTIFIER) for column in SCHEMA.columns)
    schema = replace(SCHEMA, columns=columns)
    tokenizer = build_anonymizer(MethodSettings(Method.TOKENIZATION), schema, key=b"k" * 32)
    assert isinstance(tokenizer, BatchAnonymizer)
    found = []
    for path in write(tmp_path_factory.mktemp("alike"), rows):
        quarantine = Quarantine()
        flows = list(read_microflows(path, schema, quarantine=quarantine))
        found.append([row for flow in flows for row in tokenizer.anonymize(flow.rows).rows.to_pylist()])
    assert len(found[0]) == len(rows)
    assert all(other == found[0] for other in found)


def test_an_unknown_name_is_refused_even_where_it_holds_nothing(tmp_path):
    """Only the object around described fields may be missing as a whole."""
    path = tmp_path / "a.jsonl"
    path.write_text('{"a.x": 1, "b": null}\n{"a.x": 1, "a": null}\n{"a.x": 1}\n', "utf-8")
    schema = replace(SCHEMA, columns=(Column("a.x", dtype=Dtype.INTEGER),))
    assert read(path, schema) == [{"a.x": 1}, {"a.x": 1}]
