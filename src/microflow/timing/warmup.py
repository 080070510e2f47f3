"""Where warm-up ends: the first iterations of a process are slower, and belong to another question."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["WarmUp", "find_warm_up"]

_TOO_SHORT = 4


@dataclass(frozen=True, slots=True)
class WarmUp:
    """``cut`` leading samples are warm-up. ``steady`` is false where half the run did not suffice to settle."""

    cut: int
    steady: bool


def find_warm_up(samples: npt.ArrayLike) -> WarmUp:
    """Cut the start so that the mean of the rest is known best: MSER (White 1997).

    The cut ``d`` minimises ``sum((x - mean)²) / (n - d)²`` over ``x[d:]``, at most half of the samples: dropping a slow
    start lowers the numerator, dropping good samples lowers the denominator. Fewer than four samples are kept whole.

    >>> find_warm_up([9.0, 5.0, 1.0, 1.1, 0.9, 1.0, 1.1, 1.0])
    WarmUp(cut=2, steady=True)
    """
    values = np.asarray(samples, np.float64)
    count = len(values)
    if count < _TOO_SHORT:
        return WarmUp(0, steady=True)
    cuts = range(count // 2 + 1)
    scores = [values[cut:].var() / (count - cut) for cut in cuts]
    best = int(np.argmin(scores))
    # A minimum at the very edge says that it might be lower still beyond: the run has not settled.
    return WarmUp(best, steady=best < count // 2 or count == _TOO_SHORT)
