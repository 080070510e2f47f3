"""An audit of local differential privacy: a lower bound on ε from what was released, whatever the code claims.

ε-local differential privacy promises that no output is more than e^ε times as likely for one true value as for another.
So a pair of true values and an output that occur with clearly unlike frequencies refute every smaller ε (Jagielski,
Ullman and Oprea, NeurIPS 2020; for local mechanisms Arcolezi and Gambs, *Revealing the true cost of LDP*, 2023).
Guessing records cannot do this: among n records an ε of 2 allows a success of e²/n, which no sample resolves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from microflow.assess.labels import Floats, Index

__all__ = ["epsilon_lower_bound"]

#: True values that fewer rows have are not compared: their frequencies say nothing.
_FEWEST = 30


def epsilon_lower_bound(columns: Sequence[tuple[Index, Index]], confidence: float = 0.95) -> float:
    """What ε is at least, with this confidence, where columns are perturbed independently of each other.

    Half of the rows choose the pair of values and the output that differ most; the other half measures them
    (Clopper-Pearson intervals), so that nothing is gained by having looked. Columns share the error (Bonferroni), and
    their bounds add up: an attacker sees all columns of a record.

    Args:
        columns: Codes of the true and of the released values of each perturbed column, row by row.
        confidence: That the whole bound holds.

    >>> rng = np.random.default_rng(1)
    >>> truth = rng.integers(0, 2, 20_000)
    >>> kept = rng.random(20_000) < 0.75
    >>> 0.8 < epsilon_lower_bound([(truth, np.where(kept, truth, 1 - truth))]) < math.log(3)
    True
    """
    error = (1 - confidence) / max(2 * len(columns), 1)
    return sum(_of_column(truth, told, error) for truth, told in columns)


def _of_column(truth: Index, told: Index, error: float) -> float:
    """The bound of one column; each of its two intervals fails with a probability of ``error``."""
    # By lot, with a seed of its own: rows may stand in an order that has to do with their values.
    halves = np.array_split(np.random.default_rng(0).permutation(len(truth)), 2)
    shape = _shape(truth, told)
    seen, held = (_counts(truth[half], told[half], shape) for half in halves)
    frequent = np.flatnonzero(seen.sum(axis=1) >= _FEWEST)
    if len(frequent) < 2:  # noqa: PLR2004 - a pair
        return 0.0
    shares = (seen[frequent] + 1) / (seen[frequent].sum(axis=1, keepdims=True) + 2)
    output = int((shares.max(axis=0) / shares.min(axis=0)).argmax())
    likely, unlikely = (held[frequent[place(shares[:, output])]] for place in (np.argmax, np.argmin))
    low = _end(likely[output], likely.sum(), error, upper=False)
    high = _end(unlikely[output], unlikely.sum(), error, upper=True)
    return max(0.0, math.log(low / high)) if low > 0 else 0.0


def _shape(truth: Index, told: Index) -> tuple[int, int]:
    return int(truth.max(initial=0)) + 1, int(told.max(initial=0)) + 1


def _counts(truth: Index, told: Index, shape: tuple[int, int]) -> Floats:
    counted = np.zeros(shape)
    np.add.at(counted, (truth, told), 1)
    return counted


def _end(successes: float, attempts: float, error: float, *, upper: bool) -> float:
    """One end of the Clopper-Pearson interval."""
    from scipy.stats import beta

    if upper:
        return float(beta.ppf(1 - error, successes + 1, attempts - successes)) if successes < attempts else 1.0
    return float(beta.ppf(error, successes, attempts - successes + 1)) if successes else 0.0
