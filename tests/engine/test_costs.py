"""What the router believes about costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.engine.costs import Costs, LearnedCosts


@settings(max_examples=12)
@given(
    st.floats(2_000, 50_000),
    st.floats(20_000, 900_000),
    st.floats(100, 1_500),
    st.lists(st.integers(1, 1_000), min_size=1),
)
def test_costs_are_learned_whatever_they_were_thought_to_be(
    single: float, fixed: float, each: float, sizes: list[int]
) -> None:
    """After a few hundred services of varied sizes the line and the single cost are the true ones within a tenth."""
    truth, learned = Costs(single, fixed, each), LearnedCosts(Costs(12_000, 300_000, 600))
    for turn in range(400):
        size = [*sizes, 3, 900][turn % (len(sizes) + 2)]
        learned.observe(size, truth.together(size), together=True)
        learned.observe(1, truth.alone(1), together=False)
    assert learned.now.single == pytest.approx(single, rel=0.1)
    for size in (10, 100, 1_000):
        assert learned.now.together(size) == pytest.approx(truth.together(size), rel=0.15)


def test_one_accident_does_not_change_the_mind() -> None:
    """A service that took a thousand times longer moves the belief by a fraction."""
    learned = LearnedCosts(Costs(10_000, 200_000, 500))
    before = learned.now
    learned.observe(1, 10_000_000, together=False)
    assert learned.now.single <= 1.2 * before.single
    for _ in range(50):
        learned.observe(500, before.together(500), together=True)
    learned.observe(500, 450_000_000, together=True)
    assert learned.now.together(500) <= 1.3 * before.together(500)


def test_interruptions_do_not_speak_against_microflows() -> None:
    """On a machine that takes the core away for 10 ms in every 5 ms of work, break-even stays what the work says."""
    truth, chance = Costs(10_000, 250_000, 1_500), np.random.default_rng(1)
    learned = LearnedCosts(truth)

    def seen(work_ns: float) -> float:
        return work_ns + 10_000_000 * chance.poisson(work_ns / 5_000_000)

    for _ in range(1_000):
        learned.observe(1, seen(truth.alone(1)), together=False)
        size = int(chance.choice([30, 100, 400, 1_000]))
        learned.observe(size, seen(truth.together(size)), together=True)
    assert truth.break_even / 2 < learned.break_even < truth.break_even * 2


def test_costs_are_never_negative() -> None:
    """Even when large microflows are seen to be faster than small ones."""
    learned = LearnedCosts()
    for _ in range(100):
        learned.observe(10, 900_000, together=True)
        learned.observe(1_000, 500_000, together=True)
    assert learned.now.each >= 0
    assert learned.now.fixed >= 0
    assert learned.now.break_even > 0
