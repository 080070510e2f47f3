"""Arrivals have the rate and the shape they were asked for, and are the same again."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from microflow.lab.arrivals import bursts, poisson, steady


def test_poisson_gaps_are_exponential() -> None:
    """Kolmogorov–Smirnov against the exponential law; the mean rate within five spreads."""
    schedule = poisson(2_000, 10, seed=4)
    assert abs(len(schedule) - 20_000) < 5 * np.sqrt(20_000)
    gaps = np.diff(schedule) / 1e9
    assert stats.kstest(gaps, stats.expon(scale=1 / 2_000).cdf).pvalue > 0.001
    assert 0 <= schedule[0] <= schedule[-1] < 10e9


def test_bursts_come_when_and_as_strong_as_said() -> None:
    """Calm 100/s for 1.5 s of each 2 s, then 5,000/s for half a second."""
    schedule = bursts(100, 5_000, 8, seed=4, period_s=2, peak_share=0.25) / 1e9
    in_peak = (schedule % 2) >= 1.5
    assert in_peak.sum() / 2 == pytest.approx(5_000, rel=0.1)
    assert (~in_peak).sum() / 6 == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("seconds", [0.5, 0.9, 1.0, 2.3])
def test_bursts_may_end_anywhere(seconds: float) -> None:
    """A last period that is cut short is no error and adds nothing after the end."""
    schedule = bursts(1_000, 10_000, seconds, seed=1)
    assert (np.diff(schedule) >= 0).all()
    assert schedule[-1] < seconds * 1e9


def test_a_seed_is_a_schedule() -> None:
    """All arms of a block are offered the same arrivals."""
    assert (poisson(500, 2, seed=9) == poisson(500, 2, seed=9)).all()
    assert (
        len(poisson(500, 2, seed=9)) != len(poisson(500, 2, seed=10))
        or (poisson(500, 2, seed=9) != poisson(500, 2, seed=10)).any()
    )
    assert steady(1_000, 1).dtype == np.int64
