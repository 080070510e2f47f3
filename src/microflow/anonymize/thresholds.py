"""Where uniform numbers fall among ascending thresholds: a search whose answer is nearly always looked up.

A binary search over random numbers is a chain of jumps that no processor can foretell. The numbers' first bits are a
place in a guide instead (Chen and Asau 1974): where no threshold shares these bits with a number, the guide knows how
many lie below it, and only the few others are searched for. The answer is that of the search, bit for bit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from microflow.anonymize.uniforms import UNIFORM_BITS

__all__ = ["Thresholds"]

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
        """How many thresholds are not above each number."""
        count = self._guide.take((uniforms >> np.uint64(_REST)).view(np.int64))
        unsure = np.flatnonzero(count < 0)
        if len(unsure):
            count[unsure] = self._search(uniforms.take(unsure))
        return count

    def reached_by(self, uniform: int) -> int:
        """The same for one number."""
        return bisect_right(self.values, uniform)
