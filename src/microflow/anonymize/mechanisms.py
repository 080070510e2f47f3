"""Mechanisms of local differential privacy, exact to ε, and the uniform bits they draw.

A domain has codes ``0`` to ``size - 1``, and ``size`` stands for a missing value, whose being missing is protected like
any other value. A draw compares one uniform 63-bit number with integer thresholds; no floating-point noise is added to
anything (Mironov 2012). Probabilities are whole multiples of 2^-63, and no two inputs' ratio exceeds e^epsilon.

Uniform bits, fresh or seeded, are AES-128 in counter mode. Without a seed the key comes from the operating system and
the counter never repeats. With a seed the key is a hash of it and the counter of a record is its record id, so that a
record gets the same noise in every engine, on any worker and in any order; where the data have no record id, records
are counted.

`Thresholds` turns a number into an outcome. A binary search over random numbers is a chain of jumps that no processor
can foretell. The numbers' first bits are a place in a guide instead (Chen and Asau 1974): where no threshold shares
these bits with a number, the guide knows how many lie below it, and only the few others are searched for. The answer is
that of the search, bit for bit.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import struct
from bisect import bisect_right
from collections.abc import Sequence
from fractions import Fraction
from itertools import accumulate

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from microflow.errors import MicroflowError

__all__ = [
    "EPSILON_RANGE", "UNIFORM_BITS", "Codes", "Mechanism", "RandomisedResponse", "Thresholds", "TruncatedGeometric",
    "Uniforms",
]  # fmt: skip

#: A uniform number is a whole number below two to this power.
UNIFORM_BITS = 63
_KEY_BYTES, _TWO_PER_BLOCK = 16, 2
_LOW_64 = (1 << 64) - 1


class Uniforms:
    """Source of ``fields`` independent uniform numbers per record. An instance belongs to one thread.

    A process that was forked from another draws a key of its own; without that, both would add the same noise.
    """

    def __init__(self, fields: int, seed: int | None) -> None:
        self._fields = fields
        self._seed = seed
        self._pairs = -(-fields // _TWO_PER_BLOCK)
        self._layout = struct.Struct(f"<{self._pairs * _TWO_PER_BLOCK}Q")
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._next = 0
        # ECB over a counter is counter mode, for counters that do not follow each other.
        self._encryptor = Cipher(algorithms.AES128(self._key()), modes.ECB()).encryptor()  # noqa: S305

    def _key(self) -> bytes:
        if self._seed is None:
            return secrets.token_bytes(_KEY_BYTES)
        return hashlib.sha256(f"microflow noise {self._seed}".encode()).digest()[:_KEY_BYTES]

    def many(self, rows: int, ids: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.uint64]:
        """Numbers of shape (fields, rows) below 2^63; ``ids`` are used by a seeded source only."""
        blocks = np.empty((self._pairs, rows, _TWO_PER_BLOCK), "<u8")
        blocks[:, :, 0] = self._take(rows) if self._seed is None or ids is None else ids.view(np.uint64)
        blocks[:, :, 1] = np.arange(self._pairs)[:, None]
        stream = self._encryptor.update(blocks.reshape(-1).view(np.uint8).data)
        words = np.frombuffer(stream, "<u8").reshape(blocks.shape).swapaxes(1, 2)
        numbers: npt.NDArray[np.uint64] = np.right_shift(words, np.uint64(64 - UNIFORM_BITS), order="C")
        return numbers.reshape(self._pairs * _TWO_PER_BLOCK, rows)[: self._fields]

    def one(self, record_id: int | None = None) -> list[int]:
        """The numbers of one record; equal to what `many` gives for it."""
        counter = int(self._take(1)[0]) if self._seed is None or record_id is None else record_id & _LOW_64
        blocks = [word for pair in range(self._pairs) for word in (counter, pair)]
        stream = self._layout.unpack(self._encryptor.update(self._layout.pack(*blocks)))
        return [word >> (64 - UNIFORM_BITS) for word in stream[: self._fields]]

    def _take(self, rows: int) -> npt.NDArray[np.uint64]:
        """The next counters."""
        if self._seed is None and self._process != os.getpid():
            self._start()
        first = self._next
        self._next += rows
        return np.arange(first, first + rows, dtype=np.uint64)


#: So many first bits lead to a place in the guide, which then has 64 kB and stays in the processor's cache.
_GUIDE_BITS = 14
_REST = UNIFORM_BITS - _GUIDE_BITS


class Thresholds:
    """Ascending thresholds, of which those that a uniform 63-bit number has reached are counted."""

    def __init__(self, thresholds: Sequence[int]) -> None:
        self.values = tuple(thresholds)
        self._sorted = np.array(self.values, np.uint64)
        first = np.arange(1 << _GUIDE_BITS, dtype=np.uint64) << np.uint64(_REST)
        lowest, highest = (self._search(ends) for ends in (first, first + np.uint64((1 << _REST) - 1)))
        self._guide = np.where(lowest == highest, lowest, -1).astype(np.int32)

    def _search(self, uniforms: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        return np.searchsorted(self._sorted, uniforms, side="right")

    def reached(self, uniforms: npt.NDArray[np.uint64]) -> npt.NDArray[np.int32]:
        """Number of thresholds that are not above each number."""
        count = self._guide.take((uniforms >> np.uint64(_REST)).view(np.int64))
        unsure = np.flatnonzero(count < 0)
        if len(unsure):
            count[unsure] = self._search(uniforms.take(unsure))
        return count

    def reached_by(self, uniform: int) -> int:
        """Number of thresholds that are not above a number."""
        return bisect_right(self.values, uniform)


Codes = npt.NDArray[np.int64]
Uniform = npt.NDArray[np.uint64]

_TOTAL = 1 << UNIFORM_BITS
#: So much less than epsilon is spent, to pay for rounding to multiples of 2^-63.
_MARGIN = 1e-6
#: The budget of one field: below, rounding could not be paid for; above, a value is as good as released unchanged.
EPSILON_RANGE = (1e-4, 16.0)


class RandomisedResponse:
    """k-ary randomised response (Warner 1965; Kairouz, Bonawitz and Ramage 2016) over ``size`` values and missing.

    The truth is kept with probability e^ε / (e^ε + size), and otherwise any of the ``size`` others is released.
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
        """Probability of a released code for a true one: keep or lie."""
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
    is at most e^ε, and no part of the budget is reserved for missing values.
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
        #: The released code, by true code and thresholds reached: noise beyond the grid stays at its end.
        self._ends = np.clip(np.arange(3 * size) - size, 0, size - 1)

    def perturb(self, codes: Codes, uniforms: Uniform) -> Codes:
        """Released codes."""
        drawn = self._present.reached(uniforms)
        released: Codes = self._ends.take(codes + drawn)
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
        """Probability of a released code, from the thresholds themselves."""
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


#: Draws a released code for each true code, with likelihood ratios of at most e^``epsilon``.
Mechanism = RandomisedResponse | TruncatedGeometric


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
