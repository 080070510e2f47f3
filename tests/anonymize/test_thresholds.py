"""The guide answers as the search it stands for."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.thresholds import Thresholds
from microflow.anonymize.uniforms import UNIFORM_BITS

TOP = (1 << UNIFORM_BITS) - 1
#: Anywhere, close together, and at the places where the guide's cells begin.
THRESHOLD = st.integers(0, TOP) | st.integers(0, 40) | st.integers(0, (1 << 14) - 1).map(lambda cell: cell << 49)


@settings(max_examples=60)
@given(st.lists(THRESHOLD, max_size=40).map(sorted), st.lists(st.integers(0, TOP), max_size=5))
def test_the_guide_counts_as_a_search_does(thresholds: list[int], others: list[int]) -> None:
    """At every threshold, beside it, at both ends and anywhere else."""
    asked = [n for t in (0, TOP, *thresholds, *others) for n in (t - 1, t, t + 1) if 0 <= n <= TOP]
    expected = [bisect_right(thresholds, n) for n in asked]
    made = Thresholds(thresholds)
    assert made.reached(np.array(asked, np.uint64)).tolist() == expected
    assert [made.reached_by(n) for n in asked] == expected
