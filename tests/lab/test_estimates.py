"""Intervals hold the truth as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from microflow.errors import MicroflowError
from microflow.lab.statistics import fit_power_law, typical


def test_typical_covers_at_95_per_cent() -> None:
    """Of 1,000 simulated experiments with five blocks, 93 to 97 of 100 intervals hold the true value."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(1_000):
        found = typical([[value] for value in np.exp(rng.normal(math.log(7), 0.2, 5))])
        held += found.low <= 7 <= found.high
    assert 930 <= held <= 970


def test_iterations_do_not_narrow_the_interval() -> None:
    """A hundred equal iterations in a block count as one observation."""
    once, often = typical([[1.0], [2.0], [1.5]]), typical([[1.0] * 100, [2.0] * 100, [1.5] * 100])
    assert often.low == pytest.approx(once.low)


def test_one_block_has_no_interval() -> None:
    """Nothing is claimed about noise that was not seen."""
    assert math.isnan(typical([[1.0, 2.0]]).low)
    with pytest.raises(MicroflowError, match="no blocks"):
        typical([])


def test_the_exponent_is_scipys() -> None:
    """Slope and interval agree with an independent regression."""
    rng = np.random.default_rng(2)
    x = np.repeat([1e3, 1e4, 1e5], 3)
    y = 2e-6 * x**1.1 * np.exp(rng.normal(0, 0.1, len(x)))
    law, oracle = fit_power_law(x, y), stats.linregress(np.log(x), np.log(y))
    half = stats.t.ppf(0.975, len(x) - 2) * oracle.stderr
    assert law.exponent.value == pytest.approx(oracle.slope)
    assert law.exponent.high == pytest.approx(oracle.slope + half)
    assert law.scale == pytest.approx(math.exp(oracle.intercept))


def test_one_size_has_no_exponent() -> None:
    """A single volume cannot say how time grows."""
    with pytest.raises(MicroflowError, match="no exponent"):
        fit_power_law([10, 10], [1, 2])
