"""What perturbed columns still tell about everybody: unbiased estimates of shares and means, with standard errors.

Each mechanism draws from known probabilities, so the bias it brings can be computed and taken away. An estimate is the
mean over all records of a debiased contribution; its standard error is that of a mean. Shares may fall below 0 or above
1: cutting them off would bring a bias back.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.differential_privacy import Perturbed
from microflow.anonymize.mechanisms import Codes, RandomisedResponse, TruncatedGeometric
from microflow.errors import MicroflowError

__all__ = ["Estimate", "debias_grid", "estimate_marginal", "estimate_mean", "estimate_missing", "estimate_shares"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An unbiased estimate and its standard error."""

    value: float
    standard_error: float

    @classmethod
    def of(cls, contributions: Floats) -> Estimate:
        """The mean of one contribution a record.

        Raises:
            MicroflowError: fewer than two records.
        """
        if len(contributions) <= 1:
            raise MicroflowError("an estimate needs at least two records")
        error = float(contributions.std(ddof=1)) / math.sqrt(len(contributions))
        return cls(float(contributions.mean()), error)


def estimate_marginal(released: pa.Array, perturbed: Perturbed) -> dict[str, Estimate]:
    """What a released column tells about everybody: shares by value, or the ``mean`` of a number; and ``missing``.

    ``perturbed`` is the column's entry among `microflow.anonymize.differential_privacy.perturbed_columns`, for the
    schema and the epsilon of the release.
    """
    codes, mechanism = perturbed.domain.encode(released), perturbed.mechanism
    known = perturbed.domain.values[:-1]
    if isinstance(mechanism, TruncatedGeometric):
        numbers = [float(value) for value in known if isinstance(value, int | float)]
        return {"mean": estimate_mean(codes, mechanism, numbers), "missing": estimate_missing(codes, mechanism)}
    assert isinstance(mechanism, RandomisedResponse)
    return dict(zip([*map(str, known), "missing"], estimate_shares(codes, mechanism), strict=True))


def estimate_shares(released: Codes, mechanism: RandomisedResponse) -> list[Estimate]:
    """The share of each true code among the records, missing last.

    With p the probability of the truth and q that of one lie, a code seen in a share s of the released records has the
    unbiased share (s - q) / (p - q) (Kairouz et al. 2016).
    """
    keep, lie = (float(mechanism.probability(code, 0)) for code in (0, 1))
    return [Estimate.of(((released == code) - lie) / (keep - lie)) for code in range(mechanism.size + 1)]


def estimate_missing(released: Codes, mechanism: TruncatedGeometric) -> Estimate:
    """The share of records whose true number is missing."""
    return Estimate.of(_missing(released, mechanism))


def _missing(released: Codes, mechanism: TruncatedGeometric) -> Floats:
    """For each record a number whose mean is 1 where the truth is missing, and 0 where it is not."""
    told, hidden = (float(mechanism.probability(mechanism.size, true)) for true in (mechanism.size, 0))
    return np.asarray(((released == mechanism.size) - hidden) / (told - hidden))


def estimate_mean(released: Codes, mechanism: TruncatedGeometric, values: Sequence[float]) -> Estimate:
    """The mean of ``values[code]`` over the records whose true code is not missing.

    A ratio of two unbiased sums; its standard error is that of the linearised ratio.
    """
    debiased = np.append(debias_grid(np.asarray(values, np.float64), mechanism.alpha), 0.0)
    hidden = float(mechanism.probability(mechanism.size, 0))
    chances = [float(mechanism.probability(code, mechanism.size)) for code in range(mechanism.size + 1)]
    missing = _missing(released, mechanism)
    sums = (debiased[released] - missing * float(debiased @ chances)) / (1 - hidden)
    present = 1 - missing
    mean = float(sums.sum() / present.sum())
    return Estimate(mean, Estimate.of((sums - mean * present) / present.mean()).standard_error)


def debias_grid(values: Floats, alpha: float) -> Floats:
    """Numbers g for which E[g(released)] = ``values[true]`` under truncated geometric noise.

    The noise's matrix is a Kac-Murdock-Szego matrix with scaled columns, whose inverse has three diagonals: an inner
    point takes only its two neighbours.
    """
    debiased = np.empty_like(values)
    inner = values[1:-1]
    debiased[1:-1] = ((1 + alpha**2) * inner - alpha * (values[:-2] + values[2:])) / (1 - alpha) ** 2
    debiased[0] = (values[0] - alpha * values[1]) / (1 - alpha)
    debiased[-1] = (values[-1] - alpha * values[-2]) / (1 - alpha)
    return debiased
