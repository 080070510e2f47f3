"""Columns as numbers, the same way before and after: for correlations and for models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from microflow.assess.labels import Floats, Labels
from microflow.assess.pair import Compared

__all__ = ["Encoded", "encode"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """One column as features: ``before`` has shape (original rows, features), ``after`` (released rows, features)."""

    before: Floats
    after: Floats


def encode(one: Compared, most_texts: int) -> Encoded:
    """A numeric column is the middle of its label from 0 to 1; a missing one is the original's mean.

    A text column is the probability of each of its ``most_texts`` most frequent values.
    """
    if not one.column.is_numeric:
        return Encoded(*(labels.spread[:, :-2][:, :most_texts][labels.codes] for labels in (one.before, one.labels)))
    middles = one.before.centre[one.before.codes]
    mean = float(np.nanmean(middles)) if not np.isnan(middles).all() else 0.0
    return Encoded(*(_middles(labels, mean) for labels in (one.before, one.labels)))


def _middles(labels: Labels, mean: float) -> Floats:
    return np.nan_to_num(labels.centre[labels.codes], nan=mean)[:, None]
