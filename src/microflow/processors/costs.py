"""What serving costs, learned from serving: a record alone takes ``single``, a microflow of n takes ``fixed + n·each``.

The break-even size ``fixed / (single - each)`` is where a microflow becomes the faster way.
"""

from __future__ import annotations

from dataclasses import dataclass

from microflow.settings import MICROFLOW_ROWS

__all__ = ["Costs", "LearnedCosts"]

#: Weight that an observation keeps when the next one comes: a memory of about twenty.
_KEPT = 0.95
#: An observation this many times above the prediction is an accident of the machine and is cut down to it.
_WORST = 4.0


@dataclass(frozen=True, slots=True)
class Costs:
    """Nanoseconds: of one record served alone, of a microflow before its first record, of each of its records."""

    single: float = 12_000.0
    fixed: float = 300_000.0
    each: float = 600.0

    def alone(self, records: int) -> float:
        """Serving records one after the other."""
        return records * self.single

    def together(self, records: int) -> float:
        """Serving records as one microflow."""
        return self.fixed + records * self.each

    @property
    def break_even(self) -> float:
        """The number of records from which together is faster than alone.

        >>> Costs(single=10_000, fixed=190_000, each=500).break_even
        20.0
        """
        return self.fixed / max(self.single - self.each, 1.0)


class LearnedCosts:
    """Follows the machine: a moving mean for ``single``, exponentially weighted least squares for the two others.

    Args:
        prior: Where to start; it keeps the weight of one small and one full microflow, so that a long time without
            one of them does not leave the line undetermined.
    """

    def __init__(self, prior: Costs | None = None) -> None:
        self._prior = self.now = prior or Costs()
        # Weights, records, nanoseconds, records squared, records × nanoseconds.
        self._sums = [0.0] * 5

    def observe(self, records: int, ns: float, *, together: bool) -> None:
        """One service of ``records`` took ``ns``."""
        costs = self.now
        expected = costs.together(records) if together else costs.alone(records)
        ns = min(ns, _WORST * expected)
        if together:
            self._refit(records, ns)
        else:
            single = _KEPT * costs.single + (1 - _KEPT) * ns / records
            self.now = Costs(single, costs.fixed, costs.each)

    def _refit(self, records: int, ns: float) -> None:
        new = (1.0, records, ns, records * records, records * ns)
        self._sums = [_KEPT * old + one for old, one in zip(self._sums, new, strict=True)]
        low, high = 1, MICROFLOW_ROWS
        at_low, at_high = self._prior.together(low), self._prior.together(high)
        prior = (2, low + high, at_low + at_high, low * low + high * high, low * at_low + high * at_high)
        count, total, time, squares, products = (a + b for a, b in zip(self._sums, prior, strict=True))
        spread = count * squares - total * total
        each = max((count * products - total * time) / spread, 0.0)
        self.now = Costs(self.now.single, max((time - each * total) / count, 0.0), each)
