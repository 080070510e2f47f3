"""Labels are moved apart, and no farther than they must."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from microflow.figures.style import spread

POSITIONS = st.lists(st.floats(0, 1_000), min_size=1, max_size=8)


@given(POSITIONS)
def test_spread_keeps_order_and_distance(wanted: list[float]) -> None:
    """Neighbours are at least a gap apart and keep their order."""
    placed = np.asarray(spread(wanted, gap=10.0))
    order = np.argsort(wanted, kind="stable")
    assert (np.diff(placed[order]) >= 10.0 - 1e-6).all()


@given(POSITIONS)
def test_spread_moves_only_what_would_touch(wanted: list[float]) -> None:
    """Positions that are far enough apart stay where they are; the mean never moves."""
    apart = [position + 100 * index for index, position in enumerate(sorted(wanted))]
    assert np.allclose(spread(apart, gap=10.0), apart)
    assert np.isclose(np.mean(spread(wanted, gap=10.0)), np.mean(wanted))
