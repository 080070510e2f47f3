"""Where warm-up ends: the first iterations of a process are slower, and belong to another question."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["WarmUp", "find_warm_up"]

_TOO_SHORT = 4
#: How much worse than the best score a cut may be: in steady noise scores differ by chance, by less than this.
_TOLERANCE = 1.5
#: Two-sided 1 % of the normal distribution.
_TREND_Z = 2.58


@dataclass(frozen=True, slots=True)
class WarmUp:
    """``cut`` leading samples are warm-up. ``steady`` is false where what is left still has a trend."""

    cut: int
    steady: bool


def find_warm_up(samples: npt.ArrayLike) -> WarmUp:
    """Cut the start so that the mean of the rest is known well: MSER (White 1997), made reluctant.

    A cut ``d`` scores ``sum((x - mean)²) / (n - d)²`` over ``x[d:]``: dropping a slow start lowers the numerator,
    dropping good samples the denominator. The smallest cut, up to half of the samples, whose score is near the best is
    taken; the best itself throws away good samples by chance. The rest is steady unless Mann's test (1945) sees a
    trend in it. Fewer than four samples are kept whole.

    >>> find_warm_up([9.0, 5.0, 1.0, 1.1, 0.9, 1.0, 1.1, 1.0])
    WarmUp(cut=2, steady=True)
    """
    values = np.asarray(samples, np.float64)
    count = len(values)
    if count < _TOO_SHORT:
        return WarmUp(0, steady=True)
    scores = np.array([values[cut:].var() / (count - cut) for cut in range(count // 2 + 1)])
    cut = int(np.argmax(scores <= _TOLERANCE * scores.min()))
    return WarmUp(cut, steady=not _has_trend(values[cut:]))


def _has_trend(values: npt.NDArray[np.float64]) -> bool:
    """Whether later samples are more often larger (or smaller) than earlier ones than chance would have it."""
    count = len(values)
    score = sum(int(np.sign(values[at + 1 :] - values[at]).sum()) for at in range(count - 1))
    return abs(score) > _TREND_Z * math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
