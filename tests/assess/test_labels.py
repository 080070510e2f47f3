"""Labels as sets of texts and as intervals: distance, width and spread, by hand and against their own `covers`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.generalise import exact_label, parse, set_label
from microflow.assess.labels import Domain, NumberLabels, TextLabels
from microflow.schema import Column, Dtype, Hierarchy, Role

TREE = Hierarchy(parents={"IE": "West", "FR": "West", "PL": "East", "West": "EU", "East": "EU"})
COUNTRY = Column("country", Role.QUASI_IDENTIFIER, categories=("IE", "FR", "PL"), hierarchy=TREE)
ZIP = Column("zip", Role.QUASI_IDENTIFIER, kind="zip", hierarchy=Hierarchy(prefix=(5, 3, 0)))
LEVEL = Column("level", Role.QUASI_IDENTIFIER, categories=("low", "middle", "high"), ordered=True)


def texts(column: Column, labels: list[str | None], original: list[str | None]) -> TextLabels:
    released, truth = (pa.chunked_array([pa.array(side, pa.string())]) for side in (labels, original))
    return TextLabels(Domain(column, truth), released)


def everything(found: TextLabels, original: list[str | None]) -> np.ndarray:
    """The distance of each value of an original without repetitions from each label."""
    return found.distance(np.arange(len(original)))


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
    assert (everything(found, original)[:, found.codes] == 0).tolist() == covered
    some, truths = np.array([2, 0]), np.array([1, 0])
    assert np.array_equal(found.distance(truths, some), everything(found, original)[truths][:, some])


def test_text_widths_by_hand() -> None:
    """The part of the domain's values that a label leaves open; one value is none."""
    found = texts(COUNTRY, ["IE", "West", "EU", "{IE,PL}", None, "Mars"], ["IE", "FR", "PL"])
    assert found.width == pytest.approx([0, 1 / 2, 1, 1 / 2, 1, 0])
    assert found.spread()[found.codes[1]].tolist() == [0.5, 0.5, 0, 0, 0]
    assert found.spread()[found.codes[5]].tolist() == [0, 0, 0, 1, 0]
    assert found.spread(1)[found.codes[1]].tolist() == [0.5, 0.5, 0]
    assert found.distribution() == pytest.approx(found.spread()[found.codes].mean(axis=0))


def test_a_shortened_code_covers_its_longer_forms() -> None:
    """A remedy leaves 941 of 94110: the attacker who knows 94110 sees that."""
    original = ["94110", "941", "10001"]
    assert everything(texts(ZIP, ["941"], original[::2]), original[::2]).tolist() == [[0], [1]]


def test_a_year_covers_its_days() -> None:
    """A remedy leaves 1994 of a day, and ranges are made of years: both ends are whole years."""
    born, days = Column("born", Role.QUASI_IDENTIFIER, Dtype.DATE), ["1992-07-14", "1994-12-31", "1995-01-01"]
    found = texts(born, ["1994", "[1992..1994]", "1994-12", "1994-12-31", "{1992,1995}", "1993"], days)
    assert (everything(found, days) == 0).astype(int).tolist() == [
        [0, 1, 0, 0, 1, 0], [1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 0]
    ]  # fmt: skip


def test_a_code_without_a_hierarchy_may_be_shortened_too() -> None:
    """Only where the domain does not know the text itself, and never nothing at all."""
    plain, codes = Column("zip", Role.QUASI_IDENTIFIER, kind="zip"), ["941", "94110", "10001"]
    assert everything(texts(plain, ["941", "100", ""], codes), codes).tolist() == [[0, 1, 1], [1, 1, 1], [1, 0, 1]]


@given(values=st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_any_text_released_as_it_is_covers_itself(values: list[str]) -> None:
    """Methods that do not generalise may release text that looks like a label, or like a broken one."""
    domain = Domain(Column("remark", Role.QUASI_IDENTIFIER), pa.chunked_array([pa.array(values, pa.string())]))
    rows = np.arange(len(values))
    quoted = pa.chunked_array([pa.array([exact_label(value) for value in values], pa.string())])
    as_they_are = pa.chunked_array([pa.array(values, pa.string())])
    for found in (
        TextLabels(domain, as_they_are, generalised=False),
        TextLabels(domain, as_they_are, rows),
        TextLabels(domain, quoted, rows),
    ):
        own = found.distance(np.arange(len(domain.values)))[domain.codes, found.codes]
        assert not own.any()
        assert not found.width.any()


@pytest.mark.parametrize("grade", ["A*", "{x}", "*", "null", "[low..high]", "{null,B}", "{Ab,B}"])
def test_a_value_of_the_original_is_no_label(grade: str) -> None:
    """A method that releases ``A*`` as it was has lost nothing of it, although it could be read as a prefix."""
    original = [grade, "Ab", "B"]
    domain = Domain(Column("grade", Role.QUASI_IDENTIFIER), pa.chunked_array([original]))
    found = TextLabels(domain, pa.chunked_array([[grade, "B"]]), np.array([0, 2]))
    assert found.width.tolist() == [0, 0]
    assert everything(found, original).tolist() == [[0, 1], [1, 1], [1, 0]]


def test_a_label_that_is_also_a_value_is_told_by_what_its_rows_held() -> None:
    """``{a,b}`` covers a and b where the rows held these, although another person's value is written so."""
    original = ["a", "b", "{a,b}"]
    domain = Domain(Column("grade", Role.QUASI_IDENTIFIER), pa.chunked_array([original]))
    label = set_label(["a", "b"])
    found = TextLabels(domain, pa.chunked_array([[label, label, exact_label(label)]]), np.arange(3))
    assert everything(found, original)[:, found.codes].tolist() == [[0, 0, 1], [0, 0, 1], [1, 1, 0]]
    noisy = TextLabels(domain, pa.chunked_array([[label, label, label]]), np.arange(3))
    assert everything(noisy, original)[:, 0].tolist() == [1, 1, 0]


AGE = Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100)


def numbers(labels: list[object], dtype: pa.DataType | None = None, column: Column = AGE) -> NumberLabels:
    domain = Domain(column, pa.chunked_array([[37, 50, None]]))
    return NumberLabels(domain, pa.chunked_array([pa.array(labels, dtype)]))


def test_numeric_labels_by_hand() -> None:
    """Exact, range, set around a gap, anything, and missing, of a column from 0 to 100."""
    labels = numbers(["37", "[30-39]", "{null,[10-20],60}", "*", None])
    assert labels.width == pytest.approx([0, 0.09, 1, 1, 1])
    far = labels.distance(np.arange(3))
    assert far[0] == pytest.approx([0, 0, 0, 0, 1])
    assert far[1] == pytest.approx([0.13, 0.11, 0, 0, 1])
    assert far[2].tolist() == [1, 1, 0, 1, 0]
    assert labels.centre[:4] == pytest.approx([0.37, 0.345, 0.35, 0.5])
    assert labels.distribution().sum() == pytest.approx(1)
    assert labels.distribution()[-1] == pytest.approx(1 / 5)
    assert numbers(["[0-10]"]).distribution()[:3] == pytest.approx([0.5, 0.5, 0])


@given(values=st.lists(st.integers(-20, 130), min_size=1, max_size=10))
def test_numbers_and_their_text_are_the_same_labels(values: list[int]) -> None:
    """A release read from CSV is measured like one in memory."""
    typed, written = numbers(values, pa.int64()), numbers([str(value) for value in values], pa.string())
    assert np.array_equal(typed.distance(np.arange(3)), written.distance(np.arange(3)))
    assert np.array_equal(typed.distribution(), written.distribution())


def test_a_constant_numeric_column_is_no_division_by_zero() -> None:
    """A range of nothing counts as one."""
    column = Column("n", dtype=Dtype.INTEGER)
    same = pa.chunked_array([[5, 5]])
    assert NumberLabels(Domain(column, same), same).distance(np.array([0])).tolist() == [[0]]
    nothing = pa.chunked_array([pa.array([None], pa.int64())])
    assert NumberLabels(Domain(column, nothing), nothing).width.tolist() == [1]


def test_nodes_above_numbers_are_the_interval_around_their_values() -> None:
    """A hierarchy of names, and one of prefixes: not everything, as a text that is no number would be."""
    tree = Hierarchy(parents={"37": "younger", "50": "older", "younger": "adult", "older": "adult"})
    named = numbers(
        ["younger", "adult", "{null,older}", "child"], column=Column("age", dtype=Dtype.INTEGER, hierarchy=tree)
    )
    assert named.width.tolist() == [0, 1, 1, 1]
    assert named.distance(np.arange(3)).tolist() == [[0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 0, 1]]
    prefixes = Column("age", dtype=Dtype.INTEGER, hierarchy=Hierarchy(prefix=(2, 1, 0)))
    assert numbers(["3*", "*"], column=prefixes).width.tolist() == [0, 1]
