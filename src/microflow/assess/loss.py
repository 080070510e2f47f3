"""Loss of a release: by column, in the correlation of columns, and in what a model learns from it.

- *NCP* (Xu et al., KDD 2006): the part of its domain that a label leaves open: its length over the column's, or
  ``(covered - 1) / (values - 1)`` where values have no distance, a missing one being a value; *GCP* (Ghinita et al.,
  VLDB 2007) is its mean over all cells, suppressed rows counting as 1.
- *Distortion*: how far the truth lies from the label: 0 for any label that covers it, so that generalisation has none,
  and perturbation has no NCP. One must look at both.
- *Total variation* between a column's distributions before and after, a label spread evenly over what it covers.
- *Correlation change*: the mean absolute difference of Pearson's correlations between numeric columns' middles and
  text columns' most frequent values.
- *Utility*: two models, one trained on released rows and one on the same persons' originals, both tested on originals
  of others (TSTR; Esteban et al. 2017). They tell a sensitive column from the quasi-identifiers: the text column with
  the fewest values, or the first number, above or below its median.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.assess.labels import Floats, Index, NumberLabels, TextLabels
from microflow.assess.pair import Compared, Pair

__all__ = ["ColumnLoss", "Loss", "Utility", "classes_of", "gcp", "measure_loss", "measure_utility", "target_of"]

_DISTORTION_ROWS = 5_000
_CHUNK = 256
_CORRELATED_TEXTS = 4
_CORRELATED_ROWS = 100_000
_CONSTANT = 1e-9


@dataclass(frozen=True, slots=True)
class ColumnLoss:
    """Loss of one column: each measure from 0 (nothing lost) to 1."""

    ncp: float
    distortion: float
    total_variation: float


@dataclass(frozen=True, slots=True)
class Loss:
    """Loss of all columns: ``gcp`` is over the quasi-identifiers; ``correlation_change`` from 0 to 2."""

    gcp: float
    columns: dict[str, ColumnLoss]
    correlation_change: float

    def information(self, names: Sequence[str]) -> float:
        """Mean over columns of the larger of NCP and distortion: labels lose by width, noise by error."""
        return float(np.mean([max(self.columns[name].ncp, self.columns[name].distortion) for name in names]))


def measure_loss(pair: Pair, rng: np.random.Generator) -> Loss:
    """Measure quasi-identifiers and sensitive columns."""
    columns = (*pair.quasi, *pair.sensitive)
    rows = len(pair.ordinals)
    sample = rng.choice(rows, min(rows, _DISTORTION_ROWS), replace=False)
    before, after = (
        np.arange(size) if size <= _CORRELATED_ROWS else rng.choice(size, _CORRELATED_ROWS, replace=False)
        for size in (pair.original.num_rows, rows)
    )
    return Loss(
        gcp=gcp(pair),
        columns={compared.column.name: _column_loss(pair, compared, sample) for compared in columns},
        correlation_change=_correlation_change(*_features(columns, _CORRELATED_TEXTS, before, after)),
    )


def gcp(pair: Pair) -> float:
    """The information that a release has lost: 0 nothing, 1 everything."""
    lost = sum(float(_row_widths(pair, quasi).sum()) for quasi in pair.quasi)
    cells = pair.original.num_rows * len(pair.quasi)
    return (lost + pair.suppressed * len(pair.quasi)) / cells if cells else 0.0


def _column_loss(pair: Pair, compared: Compared, sample: Index) -> ColumnLoss:
    before, after = (labels.distribution() for labels in (compared.before, compared.labels))
    far = []
    for first in range(0, len(sample), _CHUNK):
        chunk = sample[first : first + _CHUNK]
        truths, truth = np.unique(compared.codes[pair.ordinals[chunk]], return_inverse=True)
        codes, code = np.unique(compared.labels.codes[chunk], return_inverse=True)
        far.append(compared.labels.distance(truths, codes)[truth, code])
    return ColumnLoss(
        ncp=float(_row_widths(pair, compared).mean()),
        distortion=float(np.concatenate(far).mean()),
        total_variation=float(np.abs(before - after).sum() / 2),
    )


def _row_widths(pair: Pair, compared: Compared) -> Floats:
    """The NCP of each released row; what was missing all along and still is has not been lost."""
    absent = compared.domain.missing[compared.codes[pair.ordinals]] & compared.labels.blank[compared.labels.codes]
    return np.where(absent, 0.0, compared.labels.width[compared.labels.codes])


def _correlation_change(before: Floats, after: Floats) -> float:
    """Columns that are constant on either side cannot be correlated and are left out."""
    # By rounding, a constant column of 0.1 has a standard deviation of 1e-17 and would be divided by it.
    alive = (np.ptp(before, axis=0) > _CONSTANT) & (np.ptp(after, axis=0) > _CONSTANT)
    if alive.sum() <= 1:
        return 0.0
    change = np.abs(np.corrcoef(before[:, alive].T) - np.corrcoef(after[:, alive].T))
    return float(change[np.triu_indices(len(change), 1)].mean())


def _features(columns: Sequence[Compared], most_texts: int, before: Index, after: Index) -> tuple[Floats, Floats]:
    """Some rows of columns as numbers, the same way on both sides; each has the shape (rows, features).

    A numeric column is the middle of its label from 0 to 1; a missing one is the original's mean. A text column is the
    probability of each of its ``most_texts`` most frequent values.
    """
    sides: tuple[list[Floats], list[Floats]] = [], []
    for compared in columns:
        original, released = compared.before, compared.labels
        mean = _mean_centre(original) if isinstance(original, NumberLabels) else 0.0
        for side, labels, rows in zip(sides, (original, released), (before, after), strict=True):
            if isinstance(labels, TextLabels):
                side.append(labels.spread(most_texts)[labels.codes[rows], :-2])
            else:
                side.append(np.nan_to_num(labels.centre[labels.codes[rows]], nan=mean)[:, None])
    return np.concatenate(sides[0], axis=1), np.concatenate(sides[1], axis=1)


def _mean_centre(labels: NumberLabels) -> float:
    known = labels.centre[labels.codes]
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else 0.0


_MOST_ROWS = 10_000
_TEST_SHARE = 0.3
_MOST_TEXTS = 32
_FEWEST_ROWS = 50
_DEPTH = 8
_LEAF = 10


@dataclass(frozen=True, slots=True)
class Utility:
    """Balanced accuracies; ``by_chance`` is 1 / number of classes, ``kept`` the remaining share of the gain over it.

    ``kept`` is ``None`` where even the model of originals is no better than chance, and nothing can be lost.
    """

    target: str
    of_originals: float
    of_released: float
    by_chance: float
    kept: float | None


def measure_utility(pair: Pair, rng: np.random.Generator) -> Utility | None:
    """Train both models, or ``None`` where there is no sensitive column or too few rows."""
    target = target_of(pair)
    if target is None or not pair.quasi:
        return None
    truth, released = classes_of(target)
    # No person is in both: released rows are trained on, and originals of others tested on.
    order = rng.permutation(pair.original.num_rows)[:_MOST_ROWS]
    test, chosen = order[: int(len(order) * _TEST_SHARE)], np.zeros(pair.original.num_rows, np.bool_)
    chosen[order[len(test) :]] = True
    train = np.flatnonzero(chosen[pair.ordinals])
    usable, known = train[released[train] >= 0], pair.ordinals[train]
    known, test = known[truth[known] >= 0], test[truth[test] >= 0]
    enough = min(len(usable), len(known), len(test)) >= _FEWEST_ROWS
    if not enough or len(np.unique(truth[known])) <= 1:
        return None
    before, after = _features(pair.quasi, _MOST_TEXTS, np.concatenate([known, test]), usable)
    before, held_out = before[: len(known)], before[len(known) :]
    of_originals = _score(before, truth[known], held_out, truth[test])
    of_released = _score(after, released[usable], held_out, truth[test])
    chance = 1 / len(np.unique(truth[test]))
    kept = (of_released - chance) / (of_originals - chance) if of_originals > chance else None
    return Utility(target.column.name, of_originals, of_released, chance, kept)


def target_of(pair: Pair) -> Compared | None:
    """The sensitive column that is predicted or inferred: the text with the fewest values, or the first number."""
    texts = [found for found in pair.sensitive if not found.column.is_numeric and len(found.domain.values) > 1]
    return min(texts, key=lambda found: len(found.domain.values), default=next(iter(pair.sensitive), None))


def classes_of(compared: Compared) -> tuple[Index, Index]:
    """The class of each original and each released row, -1 where it is missing or nothing that is known."""
    if isinstance(compared.before, TextLabels) and isinstance(compared.labels, TextLabels):
        original, released = compared.before, compared.labels
        return _most_likely(original)[original.codes], _most_likely(released)[released.codes]
    assert isinstance(compared.before, NumberLabels)
    assert isinstance(compared.labels, NumberLabels)
    before, after = (labels.centre[labels.codes] for labels in (compared.before, compared.labels))
    known = before[~np.isnan(before)]
    median = float(np.median(known)) if len(known) else 0.0
    return np.where(np.isnan(before), -1, before > median), np.where(np.isnan(after), -1, after > median)


def _most_likely(labels: TextLabels) -> Index:
    spread = labels.spread()
    best = spread.argmax(axis=1)
    return np.where(best < spread.shape[1] - 2, best, -1)


def _score(features: Floats, labels: Index, test: Floats, truth: npt.NDArray[Any]) -> float:
    """A small tree: it needs no scaling, learns what is not linear, and is the same on every machine."""
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=_LEAF, class_weight="balanced", random_state=0)
    predicted = model.fit(features, labels).predict(test)
    # Balanced accuracy is the mean recall of the classes there are: one that only the model names has none.
    return float(recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0))
