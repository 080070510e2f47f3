"""Labels as regions: distance, width and spread, by hand and against the labels' own `covers`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.generalise import exact_label, parse
from microflow.assess.labels import NumberLabels, TextLabels
from microflow.schema import Column, Dtype, Hierarchy, Role

AGE = Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100)
TREE = Hierarchy(parents={"IE": "West", "FR": "West", "PL": "East", "West": "EU", "East": "EU"})
COUNTRY = Column("country", Role.QUASI_IDENTIFIER, categories=("IE", "FR", "PL"), hierarchy=TREE)
ZIP = Column("zip", Role.QUASI_IDENTIFIER, kind="zip", hierarchy=Hierarchy(prefix=(5, 3, 0)))
LEVEL = Column("level", Role.QUASI_IDENTIFIER, categories=("low", "middle", "high"), ordered=True)


def numbers(labels: list[object], dtype: pa.DataType | None = None) -> NumberLabels:
    return NumberLabels(AGE, pa.chunked_array([pa.array(labels, dtype)]), pa.chunked_array([[10, 20, None]]))


def texts(column: Column, labels: list[str | None], original: list[str | None]) -> TextLabels:
    released, truth = (pa.chunked_array([pa.array(side, pa.string())]) for side in (labels, original))
    return TextLabels(column, released, truth, generalised=True)


def test_numeric_labels_by_hand() -> None:
    """Exact, range, set around a gap, anything, and missing, of a column from 0 to 100."""
    labels = numbers(["37", "[30-39]", "{null,[10-20],60}", "*", None])
    assert labels.width == pytest.approx([0, 0.09, 0.5, 1, 1])
    assert labels.distance([37]) == pytest.approx(np.array([[0, 0, 0, 0, 1]]))
    assert labels.distance([50]) == pytest.approx(np.array([[0.13, 0.11, 0, 0, 1]]))
    assert labels.distance([None]).tolist() == [[1, 1, 0, 1, 0]]
    assert labels.centre[:4] == pytest.approx([0.37, 0.345, 0.35, 0.5])
    assert labels.spread.sum(axis=1) == pytest.approx(np.ones(5))
    assert labels.spread[4, -1] == 1


@given(values=st.lists(st.integers(-20, 130), min_size=1, max_size=10))
def test_numbers_and_their_text_are_the_same_labels(values: list[int]) -> None:
    """A release read from CSV is measured like one in memory."""
    typed, written = numbers(values, pa.int64()), numbers([str(value) for value in values], pa.string())
    assert np.array_equal(typed.distance(values), written.distance(values))
    assert np.array_equal(typed.spread[typed.codes], written.spread[written.codes])


@pytest.mark.parametrize(
    ("column", "labels", "original"),
    [
        (COUNTRY, ["IE", "West", "EU", "{IE,PL}", "{null,FR}", None, "*"], ["IE", "FR", "PL", None]),
        (ZIP, ["941**", "94110", "9****", "*", None], ["94110", "94105", "10001", None]),
        (LEVEL, ["low", "[low..middle]", "[middle..high]"], ["low", "middle", "high", None]),
    ],
    ids=["tree", "prefix", "range"],
)
def test_distance_is_what_the_label_covers(
    column: Column, labels: list[str | None], original: list[str | None]
) -> None:
    """The quick way by dictionaries and bisection equals asking every label about every value."""
    found = texts(column, labels, original)
    covered = [[parse(label, column).covers(value) for label in labels] for value in original]
    assert (found.distance(original)[:, found.codes] == 0).tolist() == covered
    some = np.array([2, 0])
    assert np.array_equal(found.distance(original, some), found.distance(original)[:, some])


def test_text_widths_by_hand() -> None:
    """The part of the domain's values that a label leaves open; one value is none."""
    found = texts(COUNTRY, ["IE", "West", "EU", "{IE,PL}", None, "Mars"], ["IE", "FR", "PL"])
    assert found.width == pytest.approx([0, 1 / 2, 1, 1 / 2, 1, 0])
    assert found.spread[found.codes[1]].tolist() == [0.5, 0.5, 0, 0, 0]
    assert found.spread[found.codes[5]].tolist() == [0, 0, 0, 1, 0]


def test_a_shortened_code_covers_its_longer_forms() -> None:
    """A remedy leaves 941 of 94110: the attacker who knows 94110 sees that."""
    assert texts(ZIP, ["941"], ["94110", "10001"]).distance(["94110", "941", "10001"]).tolist() == [[0], [0], [1]]


@given(values=st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_any_text_released_as_it_is_covers_itself(values: list[str]) -> None:
    """Methods that do not generalise may release text that looks like a broken label."""
    column = Column("remark", Role.SENSITIVE)
    array = pa.chunked_array([pa.array(values, pa.string())])
    raw = TextLabels(column, array, array, generalised=False)
    assert np.all(raw.distance(values)[np.arange(len(values)), raw.codes] == 0)
    TextLabels(column, array, array, generalised=True)
    quoted = pa.chunked_array([pa.array([exact_label(value) for value in values], pa.string())])
    read = TextLabels(column, quoted, array, generalised=True)
    assert np.all(read.distance(values)[np.arange(len(values)), read.codes] == 0)


def test_a_constant_numeric_column_is_no_division_by_zero() -> None:
    """A range of nothing counts as one."""
    same = pa.chunked_array([[5, 5]])
    labels = NumberLabels(Column("n", dtype=Dtype.INTEGER), same, same)
    assert labels.distance([5]).tolist() == [[0]]
    nothing = pa.chunked_array([pa.array([None], pa.int64())])
    assert NumberLabels(Column("n", dtype=Dtype.INTEGER), nothing, nothing).width.tolist() == [1]
