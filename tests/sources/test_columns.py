"""Columns of a file and of its schema: matched as written, all that is wrong named at once, no value shown."""

from __future__ import annotations

import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microflow.errors import InputError
from microflow.records import UnconvertibleError, convert
from microflow.schema import Column, DatasetSchema, Dtype, SourceFormat
from microflow.sources.columns import require_columns, typed_column
from microflow.sources.reader import column_names, with_others


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


# Types: the vectorised conversion says the same as the scalar one, value by value.

DTYPES = list(Dtype)
NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(str),
    st.decimals(allow_nan=True).map(str),
    st.from_regex(r"[+-]?[0-9]{0,20}[.,]?[0-9]{0,20}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
DATES = st.one_of(
    st.dates().map(str),
    st.from_regex(r"[0-9]{4}(-[0-9]{2}){0,2}", fullmatch=True),
    st.from_regex(r"000[01]-02-(28|29|30)", fullmatch=True),
)
WORDS = st.sampled_from(
    ["true", "FALSE", "t", "no", "0", "1", " 1", "1 ", "NaN", "inf", "0x1F", "1_0", "١", "", "a\0b"]
)
TEXT = st.one_of(NUMBERS, DATES, WORDS, st.text(max_size=6)).filter(lambda text: text.isprintable() or "\0" in text)


@given(st.lists(st.one_of(st.none(), TEXT), max_size=8), st.sampled_from(DTYPES), st.booleans())
@example(["2000-02-29", "1900-02-29"], Dtype.DATE, False)
@example(["9223372036854775807", "9223372036854775808"], Dtype.INTEGER, False)
@example(["007", None, "123456789012345678"], Dtype.INTEGER, False)
@example(["1234567890123456789", "99999999999999999999"], Dtype.INTEGER, False)
@example(["1", "/", ":"], Dtype.INTEGER, False)
@example(["1e308", "1e309"], Dtype.NUMBER, False)
@example(["1.", ".5", "-.5", "007.10", "12345678901234567.12345"], Dtype.NUMBER, False)
@example(["1.5", "1.2.3", "1-2", "-", "."], Dtype.NUMBER, False)
@example(["2021-02-30", "2021-03-14 00:00:00", "2021"], Dtype.DATE, False)
def test_both_forms_agree(texts, dtype, required):
    """Equal values and equal refusals, for any text in any type of column."""
    column = Column("x", dtype=dtype, required=required)
    texts = [text or None for text in texts]
    typed, failures = typed_column(pa.array(texts, pa.string()), column)
    assert typed.type == dtype.arrow
    refused = {position for position, _ in failures}
    assert len(refused) == len(failures)
    for position, (text, value) in enumerate(zip(texts, typed.to_pylist(), strict=True)):
        try:
            expected = convert(text, column)
        except UnconvertibleError:
            assert position in refused
            continue
        has_nul = dtype is Dtype.STRING and text is not None and "\0" in text
        assert (position in refused) == has_nul or (required and text is None)
        assert value == expected or (isinstance(value, float) and math.isclose(value, expected, rel_tol=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_but_nulls(dtype):
    """A column without a value has its type all the same."""
    typed, failures = typed_column(pa.array([None, None], pa.string()), Column("x", dtype=dtype))
    assert typed.type == dtype.arrow
    assert failures == []


def test_slices_are_looked_at_where_they_lie():
    """A NUL outside of a slice is not found in it, one inside is."""
    whole = pa.array(["a\0", "b", "c\0", "d"], pa.string())
    assert typed_column(whole.slice(1, 1), Column("x"))[1] == []
    assert typed_column(whole.slice(1, 2), Column("x"))[1] == [(1, "a NUL character")]
