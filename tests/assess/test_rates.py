"""Intervals against scipy, and the arithmetic of a risk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from microflow.assess.rates import Attack, Rate


@given(attempts=st.integers(1, 5_000), data=st.data())
def test_wilson_is_scipys(attempts: int, data: st.DataObject) -> None:
    """At both ends, too."""
    successes = data.draw(st.integers(0, attempts))
    rate = Rate.of(successes, attempts)
    interval = binomtest(successes, attempts).proportion_ci(method="wilson")
    assert (rate.low, rate.high) == pytest.approx((interval.low, interval.high), abs=1e-9)


def test_a_risk_is_what_exceeds_chance() -> None:
    """(main - control) / (1 - control); an attack that does worse than chance is no risk."""
    half, tenth, none = Rate.of(500, 1_000), Rate.of(100, 1_000), Rate.of(0, 1_000)
    assert Attack.of("a", 1, half, tenth).risk == pytest.approx(0.4 / 0.9)
    assert Attack.of("a", 1, tenth, half).risk == 0
    assert Attack.of("a", 1, half, none).risk == 0.5
    attack = Attack.of("a", 1, half, tenth)
    assert attack.low == pytest.approx((half.low - tenth.high) / (1 - tenth.high))
    assert attack.high == pytest.approx((half.high - tenth.low) / (1 - tenth.low))


def test_where_chance_always_wins_there_is_no_risk() -> None:
    """No division by zero, and no attempts leave everything open."""
    sure = Rate.of(10, 10)
    assert Attack.of("a", 1, sure, sure).risk == 0
    assert (Rate.of(0, 0).low, Rate.of(0, 0).high) == (0, 1)
