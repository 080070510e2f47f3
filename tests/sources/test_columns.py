"""Columns of a file and of its schema: matched as written, all that is wrong named at once, no value shown."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, SourceFormat
from microflow.sources.block import require_columns
from microflow.sources.columns import column_names, with_others


def schema(*names: str, **options: object) -> DatasetSchema:
    return DatasetSchema("x", tuple(map(Column, names)), policy="gdpr", **options)


@pytest.mark.parametrize(
    ("found", "names", "known"),
    [
        (["a", "b"], ["b", "a"], ["a", "b"]),
        ([" a", "b "], ["a", "b"], ["a", "b"]),
        (["a ", "b"], ["a ", "b"], ["a ", "b"]),
        (["a", "a "], ["a", "a "], ["a", "a "]),
        (["a", "b"], ["a ", "b"], ["a ", "b"]),
        (["zip", "zip", "zip"], ["zip", "zip#2", "zip#3"], ["zip", "zip#2", "zip#3"]),
        (["", "a"], ["", "a"], ["", "a"]),
        (["a", "a", "a#2"], ["a", "a#3", "a#2"], ["a", "a#3", "a#2"]),
        (["a#2", "a", "a", "a"], ["a", "a#2", "a#3", "a#4"], ["a#2", "a", "a#3", "a#4"]),
    ],
)
def test_matched(found, names, known):
    """As written, else without blanks; the second of a name has a number; no name is a name."""
    assert require_columns(found, schema(*names), "f", header=True) == known


@pytest.mark.parametrize(
    ("found", "names", "parts"),
    [
        (["a", "x", "y"], ["a"], ["'x', 'y'", "others: drop"]),
        (["a"], ["a", "b", "c"], ["lacks 'b', 'c'", "describes: 'a', 'b', 'c'"]),
        (["a;b;c"], ["a", "b", "c"], ["semicolons", "delimiter: ';'"]),
        (["a\tb"], ["a", "b"], ["tabs", 'delimiter: "\\t"']),
        (["a\x01b"], ["a", "b"], ['delimiter: "\\u0001"']),
        (["a~b"], ["a", "b"], ["delimiter: '~'"]),
        (["a||b"], ["a", "b"], ["'||'", "a delimiter is one character"]),
        (["a\0", "\0b\0"], ["a", "b"], ["encoding: utf-16-le"]),
        (["\0a", "\0b"], ["a", "b"], ["encoding: utf-16-be"]),
        (["A", "First name"], ["a", "first_name"], ["spells them 'A': write the names in the schema"]),
        (["A\u0308", "First\xa0name"], ["\xc4", "first name"], ["'First\\xa0name': write the names in the schema"]),
        (["", "a"], ["a"], ["column 1, which has no name", 'described as ""']),
        (["a", "a"], ["a"], ["'a#2'"]),
        (["n" * 500, "a"], ["a"], ["n" * 60 + "…"]),
        (["a\n\x1b[31m", "a"], ["a"], ["'a\\n\\x1b[31m'"]),
    ],
)
def test_complaints(found, names, parts):
    """Everything that differs is named, with what to do."""
    with pytest.raises(InputError) as caught:
        require_columns(found, schema(*names), "f.csv", header=True)
    assert str(caught.value).startswith("f.csv:1: ")
    assert all(part in str(caught.value) for part in parts)


def test_a_row_of_values_is_not_shown():
    """The first row of a file without a header holds a person's values."""
    with pytest.raises(InputError) as caught:
        require_columns(["Alice Doe", "555-123-4567"], schema("name", "phone"), "f.csv", header=True)
    assert "header: false" in str(caught.value)
    assert "Alice" not in str(caught.value)
    assert "555" not in str(caught.value)


def test_others(tmp_path):
    """Columns that pass are attributes; refused and dropped ones are none."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbfa;b ;a\n1;2;3\n")
    source = SourceFormat(delimiter=";")
    assert column_names(path, source) == ["a", "b ", "a#2"]
    assert with_others(schema("b", source=source, others="pass"), path).names == ("b", "a", "a#2")
    assert with_others(schema("b", source=source, others="drop"), path).names == ("b",)


def test_nested_names(tmp_path):
    """Objects of JSON and structs of Parquet are laid flat by the same names."""
    rows = [{"a": 1, "b": {"c": "x", "d": {"e": 2}}}]
    (tmp_path / "a.json").write_text(json.dumps(rows), "utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    for name in ("a.json", "a.parquet"):
        assert column_names(tmp_path / name, SourceFormat()) == ["a", "b.c", "b.d.e"]
