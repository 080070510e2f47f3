"""An arm is said to differ where noise and the number of comparisons leave no other reading."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.errors import MicroflowError
from microflow.timing.comparisons import Verdict, compare, holm


def test_a_difference_inside_the_noise_floor_is_none() -> None:
    """A significant 1 % is nothing where the same arm measured twice differs by 3 %."""
    reference = [[1.0]] * 8
    wobble = np.linspace(-0.0001, 0.0001, 8)
    samples = {
        "reference": reference,
        "again": [[1.03 + w] for w in wobble],
        "inside": [[1.01 + w] for w in wobble],
        "outside": [[1.20 + w] for w in wobble],
        "less": [[0.80 + w] for w in wobble],
    }
    analysis = compare(samples, "reference", "again")
    assert analysis.noise_floor == pytest.approx(0.03, abs=0.001)
    assert analysis["inside"].p_holm < 0.001
    verdicts = {comparison.arm: comparison.verdict for comparison in analysis.comparisons}
    assert verdicts == {"inside": Verdict.NONE, "outside": Verdict.HIGHER, "less": Verdict.LOWER}
    assert analysis["outside"].low <= analysis["outside"].ratio <= analysis["outside"].high


def test_without_a_noise_arm_significance_alone_decides() -> None:
    """The floor is zero then, and says so."""
    once, again = np.exp(np.random.default_rng(7).normal(0, 0.02, (2, 12, 6)))
    analysis = compare({"a": list(once), "b": list(1.5 * again)}, "a")
    assert analysis.noise_floor == 0
    assert analysis["b"].verdict is Verdict.HIGHER


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
@settings(max_examples=50)
def test_holm_is_the_step_down_procedure(p_values: list[float]) -> None:
    """Rejecting corrected p at any level is rejecting by Holm's procedure at that level."""
    corrected = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        order = sorted(range(len(p_values)), key=p_values.__getitem__)
        rejected: set[int] = set()
        for rank, index in enumerate(order):
            if (len(p_values) - rank) * p_values[index] > level:
                break
            rejected.add(index)
        assert {index for index, p in enumerate(corrected) if p <= level} == rejected


def test_an_unknown_arm_is_named() -> None:
    """The error lists the arms there are."""
    with pytest.raises(MicroflowError, match=r"'sream'.*stream"):
        compare({"stream": [[1.0]] * 2}, "sream")
