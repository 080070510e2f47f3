"""What serving costs, learned from serving: a record alone takes ``single``, a microflow of n takes ``fixed + n·each``.

The break-even size ``fixed / (single - each)`` is where a microflow becomes the faster way.
"""

from __future__ import annotations

from dataclasses import dataclass

from microflow.settings import MICROFLOW_ROWS

__all__ = ["Costs", "LearnedCosts"]

#: Weight that an observation keeps when the next one comes: a memory of about twenty.
_KEPT = 0.95
#: An observation counts as at most so many times the prediction. A machine that interrupts the server does so to a
#: microflow far more often than to a record, which would speak against microflows without reason; what really became
#: dearer is followed all the same, by a hundredth with each observation.
_MOST = 1.25
#: Weight of each of the two observations that stand for the prior.
_PRIOR = 0.01


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
        prior: Where to start. A little of it stays for ever, as one small and one full microflow, so that a long time
            without one of them does not leave the line undetermined.
    """

    def __init__(self, prior: Costs | None = None) -> None:
        self.now = prior or Costs()
        #: Of what it believes now; kept at hand because it is asked for with every record.
        self.break_even = self.now.break_even
        self._sums = [0.0] * 5
        ends = [_sums(size, self.now.together(size)) for size in (1, MICROFLOW_ROWS)]
        self._prior_sums = [sum(pair) for pair in zip(*ends, strict=True)]

    def observe(self, records: int, ns: float, *, together: bool) -> None:
        """One service of ``records`` took ``ns``."""
        costs = self.now
        expected = costs.together(records) if together else costs.alone(records)
        ns = min(ns, _MOST * expected)
        if together:
            self._refit(records, ns)
        else:
            single = _KEPT * costs.single + (1 - _KEPT) * ns / records
            self.now = Costs(single, costs.fixed, costs.each)
        self.break_even = self.now.break_even

    def _refit(self, records: int, ns: float) -> None:
        self._sums = [_KEPT * old + one for old, one in zip(self._sums, _sums(records, ns), strict=True)]
        sums = [old + _PRIOR * one for old, one in zip(self._sums, self._prior_sums, strict=True)]
        count, total, time, squares, products = sums
        spread = count * squares - total * total
        each = max((count * products - total * time) / spread, 0.0)
        self.now = Costs(self.now.single, max((time - each * total) / count, 0.0), each)


def _sums(records: int, ns: float) -> tuple[float, ...]:
    """What least squares adds up: count, records, nanoseconds, records squared, records × nanoseconds."""
    return 1.0, float(records), ns, float(records * records), records * ns
