"""Labels of numbers as intervals: distance, width and spread, by hand, and the same from text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.assess.number_labels import NumberLabels
from microflow.schema import Column, Dtype, Role

AGE = Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100)


def numbers(labels: list[object], dtype: pa.DataType | None = None) -> NumberLabels:
    return NumberLabels(AGE, pa.chunked_array([pa.array(labels, dtype)]), pa.chunked_array([[10, 20, None]]))


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


def test_a_constant_numeric_column_is_no_division_by_zero() -> None:
    """A range of nothing counts as one."""
    same = pa.chunked_array([[5, 5]])
    labels = NumberLabels(Column("n", dtype=Dtype.INTEGER), same, same)
    assert labels.distance([5]).tolist() == [[0]]
    nothing = pa.chunked_array([pa.array([None], pa.int64())])
    assert NumberLabels(Column("n", dtype=Dtype.INTEGER), nothing, nothing).width.tolist() == [1]
