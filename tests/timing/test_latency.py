"""The histogram against exact percentiles, one by one against by the array."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microflow.timing.latency import LatencyRecorder, LatencySummary


def recorded(values: np.ndarray) -> LatencyRecorder:
    recorder = LatencyRecorder()
    recorder.record_many(values)
    return recorder


@given(hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 4 * 10**12)))
@settings(max_examples=60)
def test_arrays_and_single_values_fill_the_same_cells(values: np.ndarray) -> None:
    """`record_many` is `record`, faster: from zero to beyond the histogram's hour."""
    one_by_one = LatencyRecorder()
    for value in values.tolist():
        one_by_one.record(value)
    assert recorded(values).summary() == one_by_one.summary()


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e9])
def test_percentiles_are_right_to_three_digits(scale: float) -> None:
    """The sorted values are the oracle, over six orders of magnitude."""
    values = (np.random.default_rng(2).lognormal(0, 2, 49_999) * scale).astype(np.int64)
    summary = recorded(values).summary()
    found = np.array([summary.p50_ns, summary.p90_ns, summary.p99_ns, summary.p999_ns])
    # Definitions of a percentile differ by one rank; the histogram may lie anywhere between, and off by a cell.
    ranks = np.ceil(np.array([0.5, 0.9, 0.99, 0.999]) * len(values)).astype(int)
    assert (found >= np.sort(values)[ranks - 2] * 0.999).all()
    assert (found <= np.sort(values)[ranks] * 1.001 + 64).all()
    assert summary.max_ns == values.max()
    assert summary.count == 49_999


def test_nothing_recorded_is_zero() -> None:
    """An empty histogram does not invent a latency."""
    recorder = recorded(np.empty(0, np.int64))
    assert recorder.summary() == LatencySummary(0, 0.0, 0, 0, 0, 0, 0)
