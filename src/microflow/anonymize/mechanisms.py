"""Two local mechanisms on a finite public domain, exact in integers: what is drawn is what the proof is about.

A domain has codes ``0`` to ``size - 1``, and ``size`` stands for a missing value, whose being missing is protected like
any other value. A draw compares one uniform 63-bit number with integer thresholds; no floating-point noise is added to
anything (Mironov 2012). Probabilities are whole multiples of 2^-63, and no two inputs' ratio exceeds e^epsilon.
"""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import accumulate
from typing import Protocol

import numpy as np
import numpy.typing as npt

from microflow.anonymize.uniforms import UNIFORM_BITS, Thresholds
from microflow.errors import MicroflowError

__all__ = ["EPSILON_RANGE", "Codes", "Mechanism", "RandomisedResponse", "TruncatedGeometric"]

Codes = npt.NDArray[np.int64]
Uniform = npt.NDArray[np.uint64]

_TOTAL = 1 << UNIFORM_BITS
#: So much less than epsilon is spent, to pay for rounding to multiples of 2^-63.
_MARGIN = 1e-6
#: The budget of one field: below, rounding could not be paid for; above, a value is as good as told.
EPSILON_RANGE = (1e-4, 16.0)


class Mechanism(Protocol):
    """Draws a released code for each true code, with likelihood ratios of at most e^``epsilon``."""

    size: int
    epsilon: float

    def perturb(self, codes: Codes, uniforms: Uniform) -> Codes:
        """Released codes, one uniform 63-bit number each."""
        ...

    def perturb_one(self, code: int, uniform: int) -> int:
        """The same for one value."""
        ...

    def probability(self, released: int, true: int) -> Fraction:
        """How likely ``released`` is where ``true`` is the truth; exact."""
        ...


class RandomisedResponse:
    """k-ary randomised response (Warner 1965; Kairouz, Bonawitz and Ramage 2016) over ``size`` values and missing.

    The truth is kept with probability e^ε / (e^ε + size), and otherwise any of the ``size`` others is told.
    """

    def __init__(self, size: int, epsilon: float) -> None:
        self.size = size
        self.epsilon = _checked(epsilon)
        # Rounded up: each lie a little more likely, so that the truth is never too likely.
        self._lie = math.ceil(_TOTAL / (math.exp(epsilon * (1 - _MARGIN)) + size))
        self._keep = _TOTAL - self._lie * size
        # Upper ends of: the truth, then lies that go 1 to ``size`` steps around the circle of codes.
        self._edges = Thresholds([self._keep + self._lie * step for step in range(size)])
        self._circle = np.arange(2 * size + 1) % (size + 1)

    def perturb(self, codes: Codes, uniforms: Uniform) -> Codes:
        """Released codes."""
        return self._circle.take(codes + self._edges.reached(uniforms))

    def perturb_one(self, code: int, uniform: int) -> int:
        """One released code."""
        return (code + self._edges.reached_by(uniform)) % (self.size + 1)

    def probability(self, released: int, true: int) -> Fraction:
        """Keep or lie."""
        return Fraction(self._keep if released == true else self._lie, _TOTAL)


class TruncatedGeometric:
    r"""The discrete Laplace mechanism on a bounded grid (Ghosh, Roughgarden and Sundararajan 2012).

    A present code ``x`` is released as ``min(max(x + N, 0), size - 1)`` with :math:`P(N = n) \propto \alpha^{|n|}` and
    :math:`\alpha = e^{-\varepsilon / (size - 1)}`: two codes ``d`` apart differ by at most
    :math:`e^{\varepsilon d / (size - 1)}`.

    Missing: a present value is released as missing with probability r, a missing one with probability e^ε r, and
    otherwise a missing value is released as noise around the middle of the grid. No code is farther from the middle
    than half the grid, so that its noise is at most e^{ε/2} times as likely as the middle's; with
    r = 1 / (1 + e^{ε/2} + e^ε), telling anything is e^{ε/2} times as likely for a present value, too. So every ratio
    is at most e^ε, and no part of the budget is set aside for what is missing.
    """

    def __init__(self, size: int, epsilon: float) -> None:
        if size <= 1:
            raise MicroflowError(f"a grid needs at least 2 points, not {size}")
        self.size = size
        self.epsilon = _checked(epsilon)
        spent = epsilon * (1 - _MARGIN)
        self.alpha = math.exp(-spent / (size - 1))
        hidden = 1 / (1 + math.exp(spent / 2) + math.exp(spent))
        self._present = _edges(hidden, _noise(self.alpha, size))
        self._missing = _edges(hidden * math.exp(spent), _around_middle(self.alpha, size))
        #: The code that is told, by true code and thresholds reached: noise beyond the grid stays at its end.
        self._told = np.clip(np.arange(3 * size) - size, 0, size - 1)

    def perturb(self, codes: Codes, uniforms: Uniform) -> Codes:
        """Released codes."""
        drawn = self._present.reached(uniforms)
        released: Codes = self._told.take(codes + drawn)
        absent = np.flatnonzero(codes == self.size)
        if len(absent):
            drawn[absent] = self._missing.reached(uniforms.take(absent))
            released[absent] = drawn[absent] - 1
        np.copyto(released, self.size, where=drawn == 0)
        return released

    def perturb_one(self, code: int, uniform: int) -> int:
        """One released code."""
        absent = code == self.size
        drawn = (self._missing if absent else self._present).reached_by(uniform)
        if drawn == 0:
            return self.size
        return drawn - 1 if absent else min(max(code + drawn - self.size, 0), self.size - 1)

    def probability(self, released: int, true: int) -> Fraction:
        """From the thresholds themselves."""
        absent = true == self.size
        edges = [0, *(self._missing if absent else self._present).values, _TOTAL]
        if released == self.size:
            return Fraction(edges[1], _TOTAL)
        first = last = released + 1 if absent else released - true + self.size
        if not absent and released == 0:
            first = 1
        if not absent and released == self.size - 1:
            last = 2 * self.size - 1
        return Fraction(edges[last + 1] - edges[first], _TOTAL)


def _noise(alpha: float, size: int) -> list[float]:
    """Probabilities of noise from ``-(size - 1)`` to ``size - 1``, the outermost with all that lies beyond them."""
    inner = (1 - alpha) / (1 + alpha)
    side = [inner * alpha**n for n in range(1, size - 1)] + [alpha ** (size - 1) / (1 + alpha)]
    return [*reversed(side), inner, *side]


def _around_middle(alpha: float, size: int) -> list[float]:
    """Probabilities of codes around the middle, in the proportions of noise cut off at both ends."""
    weights = [alpha ** abs(code - (size - 1) / 2) * (1 - alpha) for code in range(size)]
    weights[0], weights[-1] = weights[0] / (1 - alpha), weights[-1] / (1 - alpha)
    return [weight / sum(weights) for weight in weights]


def _edges(hidden: float, probabilities: list[float]) -> Thresholds:
    """Upper ends of the outcomes: missing first, then those listed, which share what is left.

    What rounding leaves over goes to the middle. The last end, 2^63, is left away: every uniform number is below it.
    """
    missing = round(hidden * _TOTAL)
    masses = [round((_TOTAL - missing) * probability) for probability in probabilities]
    masses[len(masses) // 2] += _TOTAL - missing - sum(masses)
    return Thresholds(list(accumulate([missing, *masses[:-1]])))


def _checked(epsilon: float) -> float:
    low, high = EPSILON_RANGE
    if not low <= epsilon <= high:
        raise MicroflowError(
            f"a field's epsilon must be between {low:g} and {high:g}, not {epsilon:g}",
            hint="the epsilon of a record is split over its fields",
        )
    return epsilon
