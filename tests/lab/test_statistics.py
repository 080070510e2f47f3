"""What a ratio says, held against SciPy and against data whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from microflow.errors import MicroflowError
from microflow.lab.statistics import log_ratio, repetitions_for


def blocks(rng: np.random.Generator, factor: float, *, count: int = 12, noise: float = 0.02) -> list[np.ndarray]:
    return [factor * np.exp(rng.normal(0, noise, 6)) for _ in range(count)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_constant_ratio_is_found_exactly() -> None:
    """Without noise the interval is a point: what a block has in common cancels, however wildly blocks differ."""
    reference = [[1.0, 1.0], [50.0, 50.0], [0.1, 0.1]]
    arm = [[3.0, 3.0], [150.0, 150.0], [0.3, 0.3]]
    found = log_ratio(arm, reference)
    assert found.mean == pytest.approx(math.log(3))
    assert found.low == pytest.approx(found.high) == pytest.approx(math.log(3))


def test_p_is_that_of_the_paired_t_test(rng: np.random.Generator) -> None:
    """SciPy's paired t-test on the blocks' mean logs is the oracle."""
    arm, reference = blocks(rng, 1.01), blocks(rng, 1.0)
    a, b = (np.array([np.log(block).mean() for block in side]) for side in (arm, reference))
    found = log_ratio(arm, reference)
    assert found.p_different == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_the_interval_is_near_students(rng: np.random.Generator) -> None:
    """On normal data with one sample a block, the widened bootstrap agrees with the t interval within a tenth."""
    ratios = rng.normal(0.1, 0.05, 20)
    found = log_ratio([[math.exp(x)] for x in ratios], [[1.0]] * 20)
    low, high = stats.t.interval(0.95, 19, ratios.mean(), stats.sem(ratios))
    assert (found.high - found.low) / (high - low) == pytest.approx(1, abs=0.1)
    assert found.low == pytest.approx(low, abs=0.005)


def test_iterations_are_not_counted_as_blocks(rng: np.random.Generator) -> None:
    """A hundred iterations of a process that started slow do not make it look certain (pseudo-replication)."""
    offsets = rng.normal(0, 0.1, 6)
    arm = [np.exp(offset + rng.normal(0, 0.001, 100)) for offset in offsets]
    found = log_ratio(arm, [np.exp(rng.normal(0, 0.001, 100)) for _ in range(6)])
    assert found.high - found.low > 0.1


def test_swapping_the_arms_mirrors_the_answer(rng: np.random.Generator) -> None:
    """Nothing in the analysis prefers one side."""
    arm, reference = blocks(rng, 1.3), blocks(rng, 1.0)
    there, back = log_ratio(arm, reference), log_ratio(reference, arm)
    assert there.mean == pytest.approx(-back.mean)
    assert there.low == pytest.approx(-back.high, abs=0.005)
    assert there.p_different == pytest.approx(back.p_different)


def test_repetitions_suffice_and_one_less_does_not() -> None:
    """The number is the smallest whose half width, at the pilot's own t quantile, is small enough."""
    pilot = [0.00, 0.03, -0.02, 0.01, -0.03]
    count = repetitions_for(pilot, 0.02)
    half = [stats.t.ppf(0.975, 4) * np.std(pilot, ddof=1) / math.sqrt(n) for n in (count, count - 1)]
    assert half[0] <= 0.02 < half[1]
    assert repetitions_for(pilot, 1e-9, most=40) == 40
    assert repetitions_for([0.0, 0.0], 0.01, least=5) == 5


def test_as_many_repetitions_give_the_precision_that_was_asked() -> None:
    """Pilots of six blocks from a known machine: the mean over as many as they ask is within the width in 95 %."""
    rng, width, held = np.random.default_rng(3), 0.02, 0
    for _ in range(2_000):
        pilot = rng.normal(0, 0.03, 6)
        more = rng.normal(0, 0.03, repetitions_for(pilot, width, least=6, most=1_000) - 6)
        held += abs(np.concatenate([pilot, more]).mean()) <= width
    assert held / 2_000 >= 0.94


@pytest.mark.parametrize(
    ("arm", "reference", "words"),
    [
        ([[1.0]], [[1.0]], "one block"),
        ([[1.0]] * 3, [[1.0]] * 2, "paired"),
        ([[1.0], []], [[1.0]] * 2, "empty"),
        ([[1.0], [0.0]], [[1.0]] * 2, "positive"),
        ([[1.0], [math.nan]], [[1.0]] * 2, "positive"),
    ],
)
def test_what_cannot_be_compared_is_refused(arm: list, reference: list, words: str) -> None:
    """Bad data give one clear error, never a number."""
    with pytest.raises(MicroflowError, match=words):
        log_ratio(arm, reference)
