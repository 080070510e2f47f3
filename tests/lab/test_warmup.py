"""Where the warm-up ends, on curves whose end is known."""

from __future__ import annotations

import numpy as np
import pytest

from microflow.lab.trials import find_warm_up


@pytest.mark.parametrize("slow", [1, 3, 8])
def test_a_slow_start_is_cut_off_whole(slow: int) -> None:
    """Iterations at five times the price, then steady ones with 2 % noise: the cut is where it was made."""
    rng = np.random.default_rng(slow)
    runs = [np.concatenate([np.full(slow, 5.0), 1 + 0.02 * rng.normal(size=30)]) for _ in range(100)]
    cuts = [find_warm_up(run) for run in runs]
    assert min(cuts) == slow
    assert cuts.count(slow) >= 90


def test_a_decaying_start_is_cut_where_it_has_gone() -> None:
    """An exponential decay into noise: what is kept has the steady mean within 1 %."""
    rng = np.random.default_rng(3)
    samples = 1 + 4 * np.exp(-np.arange(60) / 4) + 0.02 * rng.normal(size=60)
    cut = find_warm_up(samples)
    assert 10 <= cut <= 30
    assert samples[cut:].mean() == pytest.approx(1, abs=0.01)


def test_steady_samples_are_kept() -> None:
    """Of 200 runs without warm-up nearly all are kept whole, and the shortest runs always."""
    rng = np.random.default_rng(5)
    cuts = [find_warm_up(1 + 0.02 * rng.normal(size=40)) for _ in range(200)]
    assert cuts.count(0) >= 190
    assert find_warm_up([3.0, 1.0, 1.0]) == 0
    assert find_warm_up([]) == 0
