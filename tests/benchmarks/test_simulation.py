"""The claims the bench publishes, on fewer experiments: intervals hold the truth, noise raises no alarm."""

from __future__ import annotations

import pytest

from benchmarks.timing import Bench, coverage, false_alarms


def test_intervals_hold_the_truth() -> None:
    """600 experiments: the binomial spread around 95 % is 0.9 points, so 92–98 % is three spreads either way."""
    assert 0.92 <= coverage(Bench(), experiments=600) <= 0.98


@pytest.mark.parametrize("blocks", [2, 3, 5, 16])
def test_coverage_does_not_hang_on_the_number_of_blocks(blocks: int) -> None:
    """Few blocks are the case that percentiles get wrong (84 % with five, hardly half with two)."""
    assert 0.91 <= coverage(Bench(blocks=blocks, iterations=1), experiments=400) <= 0.985


@pytest.mark.parametrize("blocks", [2, 3])
def test_repeated_iterations_never_make_few_blocks_too_sure(blocks: int) -> None:
    """What iterations say of the noise may widen an interval, not narrow it."""
    assert coverage(Bench(blocks=blocks, iterations=5), experiments=400) >= 0.93


def test_no_effect_no_alarm() -> None:
    """At most 5 in 100 experiments with three equal arms report a difference."""
    assert false_alarms(Bench(), experiments=200) <= 0.05
