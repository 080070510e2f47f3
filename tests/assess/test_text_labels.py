"""Labels of texts as sets of values: distance, width and spread, by hand and against the labels' own `covers`."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.generalise import exact_label, parse
from microflow.assess.text_labels import TextLabels
from microflow.schema import Column, Hierarchy, Role

TREE = Hierarchy(parents={"IE": "West", "FR": "West", "PL": "East", "West": "EU", "East": "EU"})
COUNTRY = Column("country", Role.QUASI_IDENTIFIER, categories=("IE", "FR", "PL"), hierarchy=TREE)
ZIP = Column("zip", Role.QUASI_IDENTIFIER, kind="zip", hierarchy=Hierarchy(prefix=(5, 3, 0)))
LEVEL = Column("level", Role.QUASI_IDENTIFIER, categories=("low", "middle", "high"), ordered=True)


def texts(column: Column, labels: list[str | None], original: list[str | None]) -> TextLabels:
    released, truth = (pa.chunked_array([pa.array(side, pa.string())]) for side in (labels, original))
    return TextLabels(column, released, truth, generalised=True)


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


@pytest.mark.parametrize("grade", ["A*", "{x}", "*", "[low..high]"])
def test_a_value_of_the_original_is_no_label(grade: str) -> None:
    """A method that releases ``A*`` as it was has lost nothing of it, although it could be read as a prefix."""
    column = Column("grade", Role.QUASI_IDENTIFIER)
    found = texts(column, [grade, "B"], [grade, "Ab", "B"])
    assert found.width.tolist() == [0, 0]
    assert found.distance([grade, "Ab", "B"]).tolist() == [[0, 1], [1, 1], [1, 0]]
