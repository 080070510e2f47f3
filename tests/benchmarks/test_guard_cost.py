"""A cost that is there is found, one that is not there is not, and the interval is as narrow as was asked."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.timing import cost_of, guard_cost
from microflow.timing.clock import PhaseClock


class _Simulated:
    """A machine whose counter only work moves: noise of some per cent, and bursts in which everything takes longer."""

    def __init__(self, cost: float) -> None:
        self.clocks = PhaseClock(), PhaseClock()
        self.now = 0
        self._cost = cost
        self._rng = np.random.default_rng(7)

    def work(self, length: int) -> None:
        burst = 3.0 if self._rng.random() < 0.02 else 1.0
        guarded = 1 + self._cost if self.clocks[1].running is not None else 1.0
        self.now += round(length * burst * guarded * self._rng.lognormal(0, 0.03))

    def spent(self) -> int:
        return self.now


@pytest.mark.parametrize("cost", [0.0, 0.004, 0.02])
def test_a_known_cost_is_found_to_a_part_of_a_per_cent(cost: float) -> None:
    """Inputs of unlike length, noise and bursts: the interval holds the truth and is no wider than asked."""
    machine = _Simulated(cost)
    found = cost_of(machine.work, [900_000, 2_000_000], machine.clocks, half_width=0.3, spent_ns=machine.spent)
    assert found.low <= 100 * cost <= found.high
    assert found.high - found.low <= 0.6
    assert found.pairs % 200 == 0


def test_the_limit_ends_what_stays_wide() -> None:
    """A machine too restless for the width gives the interval it has, after one round."""
    machine = _Simulated(0.0)
    found = cost_of(machine.work, [1_000], machine.clocks, half_width=1e-9, limit_s=0, spent_ns=machine.spent)
    assert found.pairs == 200


def test_both_lines_are_given() -> None:
    """One line has the interval inside of the clock, the other the cost outside as a part of the work."""
    values = np.arange(50_000, dtype=np.float64)
    inside, outside = guard_cost(lambda _: np.sqrt(values), [0], span_us=0.0)
    assert inside.low is not None
    assert inside.high is not None
    assert inside.low <= inside.value <= inside.high
    decided = inside.high <= 1 or inside.low > 1
    assert inside.holds == (inside.high <= 1 if decided else None)
    assert (outside.value, outside.holds) == (0.0, True)
