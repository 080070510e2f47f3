"""The audit refutes a claimed ε that is too small, and never one that holds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from microflow.assess.distinguishing import epsilon_lower_bound


def randomised(epsilon: float, rows: int, seed: int, values: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Generalised randomised response: the truth with e^ε times the probability of each other value."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, values, rows)
    keep = rng.random(rows) < math.exp(epsilon) / (math.exp(epsilon) + values - 1)
    other = (truth + rng.integers(1, values, rows)) % values
    return truth, np.where(keep, truth, other)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_the_bound_is_below_and_near(epsilon: float) -> None:
    """Over 200 releases it exceeds ε in at most 5 % (binomial: 18 or fewer), and typically finds most of it."""
    found = [epsilon_lower_bound([randomised(epsilon, 5_000, seed)]) for seed in range(200)]
    assert sum(one > epsilon for one in found) <= 18
    assert np.median(found) > epsilon - 0.45


def test_columns_add_up() -> None:
    """Two columns of ε = 1 are a record of ε = 2."""
    columns = [randomised(1.0, 50_000, seed) for seed in (1, 2)]
    assert 1.6 < epsilon_lower_bound(columns) <= 2.0


def test_a_release_of_everything_has_no_small_epsilon() -> None:
    """Where the value itself is released, more rows refute ever larger ε; where noise alone is, none."""
    truth = np.arange(10_000) % 2
    assert epsilon_lower_bound([(truth, truth)]) > 6
    assert epsilon_lower_bound([(truth, np.random.default_rng(1).integers(0, 2, 10_000))]) < 0.1


def test_too_few_rows_say_nothing() -> None:
    """Nothing is claimed from values that hardly anybody has."""
    assert epsilon_lower_bound([(np.arange(40), np.arange(40))]) == 0.0
    assert epsilon_lower_bound([]) == 0.0
