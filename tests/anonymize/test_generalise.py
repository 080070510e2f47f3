"""Labels say what they cover, and are read back as they were written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.generalise import (
    exact_label,
    number_label,
    parse,
    prefix_label,
    set_label,
    text_range_label,
)
from microflow.schema import Column, Dtype, Hierarchy

TEXT = Column("text")
NUMBER = Column("number", dtype=Dtype.NUMBER)
awkward = st.text(alphabet="ab.,{}[]*\\-n ul1", min_size=1, max_size=8)


@given(awkward)
def test_every_text_survives_as_an_exact_label(value: str) -> None:
    """No character of a value can be taken for the grammar's own, and a value 'null' is not a missing one."""
    label = parse(exact_label(value), TEXT)
    assert label.exact == value
    assert label.covers(value)
    assert not label.covers(None)
    assert not label.covers(value + "x")


@given(st.lists(awkward, min_size=2, max_size=5, unique=True), st.booleans(), awkward)
def test_a_set_covers_its_members_and_nothing_else(values: list[str], missing: bool, other: str) -> None:
    """Membership in the parsed set is membership in the written one, the missing value included."""
    label = parse(set_label(map(exact_label, values), missing=missing), TEXT)
    assert all(label.covers(value) for value in values)
    assert label.covers(None) is missing
    assert label.covers(other) is (other in values)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_a_number_range_covers_what_lies_between(a: float, b: float, value: float) -> None:
    """Signs, exponents and infinities are read back exactly, and both ends are included."""
    low, high = min(a, b), max(a, b)
    label = parse(number_label(low, high), NUMBER)
    assert label.covers(low)
    assert label.covers(high)
    assert label.covers(value) is (low <= value <= high)


@given(awkward, awkward, awkward)
def test_a_text_range_covers_what_lies_between(a: str, b: str, value: str) -> None:
    """The two dots between the ends are found whatever the ends hold."""
    low, high = min(a, b), max(a, b)
    assert parse(text_range_label(low, high), TEXT).covers(value) is (low <= value <= high)


@given(awkward, st.integers(0, 9), awkward)
def test_a_prefix_covers_what_begins_so(prefix: str, length: int, value: str) -> None:
    """Stars stand for the rest, whatever the prefix holds."""
    label = parse(prefix_label(prefix, length), TEXT)
    assert label.covers(prefix)
    assert label.covers(value) is value.startswith(prefix)


def test_declared_order_and_hierarchy_decide_what_is_covered() -> None:
    """A range of ordered categories follows the descriptor, and a node of a tree covers the leaves below it only."""
    school = Column("school", ordered=True, categories=("low", "middle", "high"))
    assert parse("[low..middle]", school).covers("middle")
    assert not parse("[low..middle]", school).covers("high")
    place = Column("place", hierarchy=Hierarchy(parents={"FR": "West", "IT": "South", "West": "EU", "South": "EU"}))
    assert parse("West", place).covers("FR")
    assert parse("EU", place).covers("IT")
    assert not parse("West", place).covers("IT")


@pytest.mark.parametrize("text", [None, "null"])
def test_a_missing_label_covers_missing_values_only(text: str | None) -> None:
    """A class in which all values are missing tells exactly that."""
    assert parse(text, TEXT).covers(None)
    assert not parse(text, TEXT).covers("null")


def test_a_set_within_a_set_is_none() -> None:
    """No method writes one, and a text of thousands of braces ends in no recursion."""
    label = parse("{" * 5_000 + "}", TEXT)
    assert [part.exact for part in label.parts] == ["{" * 4_999]
