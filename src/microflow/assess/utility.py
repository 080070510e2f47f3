"""What a model learns from the release: trained on released rows, tested on original ones (TSTR; Esteban et al. 2017).

Both models see the same persons, one as they were and one as they were released, and both are tested on the same
others. The task is to tell a sensitive column from the quasi-identifiers: the text column with the fewest values, or
the first number, above or below its median.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.assess.labels import Floats, Index, NumberLabels, TextLabels
from microflow.assess.loss import encode
from microflow.assess.pair import Compared, Pair

__all__ = ["Utility", "measure_utility"]

_MOST_ROWS = 10_000
_TEST_SHARE = 0.3
_MOST_TEXTS = 32
_FEWEST_ROWS = 50
_DEPTH = 8
_LEAF = 10


@dataclass(frozen=True, slots=True)
class Utility:
    """Balanced accuracies; ``by_chance`` is one over the number of classes, ``kept`` what is left of the gain over it.

    ``kept`` is ``None`` where even the model of originals is no better than chance, and nothing can be lost.
    """

    target: str
    of_originals: float
    of_released: float
    by_chance: float
    kept: float | None


def measure_utility(pair: Pair, rng: np.random.Generator) -> Utility | None:
    """Train both models, or ``None`` where there is no sensitive column or too few rows."""
    target = _target(pair)
    if target is None or not pair.quasi:
        return None
    truth, told = _classes(target)
    train, test = _split(pair, rng)
    usable = train[told[train] >= 0]
    known = pair.ordinals[train]
    known, test = known[truth[known] >= 0], test[truth[test] >= 0]
    enough = min(len(usable), len(known), len(test)) >= _FEWEST_ROWS
    if not enough or len(np.unique(truth[known])) <= 1:
        return None
    columns = [encode(one, _MOST_TEXTS, np.concatenate([known, test]), usable) for one in pair.quasi]
    before = np.concatenate([one.before for one in columns], axis=1)
    after = np.concatenate([one.after for one in columns], axis=1)
    before, held_out = before[: len(known)], before[len(known) :]
    score = [
        _score(features, labels, held_out, truth[test])
        for features, labels in ((before, truth[known]), (after, told[usable]))
    ]
    return _utility(target.column.name, score, 1 / len(np.unique(truth[test])))


def _utility(target: str, score: list[float], chance: float) -> Utility:
    gain = score[0] - chance
    kept = (score[1] - chance) / gain if gain > 0 else None
    return Utility(target, score[0], score[1], chance, kept)


def _target(pair: Pair) -> Compared | None:
    texts = [one for one in pair.sensitive if not one.column.is_numeric and len(one.domain.values) > 1]
    if texts:
        return min(texts, key=lambda one: len(one.domain.values))
    return pair.sensitive[0] if pair.sensitive else None


def _classes(one: Compared) -> tuple[Index, Index]:
    """The class of each original and each released row, -1 where it is missing or nothing that is known."""
    if isinstance(one.before, TextLabels) and isinstance(one.labels, TextLabels):
        return _most_likely(one.before)[one.before.codes], _most_likely(one.labels)[one.labels.codes]
    assert isinstance(one.before, NumberLabels)
    assert isinstance(one.labels, NumberLabels)
    before, after = (labels.centre[labels.codes] for labels in (one.before, one.labels))
    known = before[~np.isnan(before)]
    median = float(np.median(known)) if len(known) else 0.0
    return np.where(np.isnan(before), -1, before > median), np.where(np.isnan(after), -1, after > median)


def _most_likely(labels: TextLabels) -> Index:
    spread = labels.spread()
    best = spread.argmax(axis=1)
    return np.where(best < spread.shape[1] - 2, best, -1)


def _split(pair: Pair, rng: np.random.Generator) -> tuple[Index, Index]:
    """Released rows to train on, and ordinals to test on: no person is in both."""
    order = rng.permutation(pair.original.num_rows)[:_MOST_ROWS]
    test = order[: int(len(order) * _TEST_SHARE)]
    chosen = np.zeros(pair.original.num_rows, np.bool_)
    chosen[order[len(test) :]] = True
    return np.flatnonzero(chosen[pair.ordinals]), test


def _score(features: Floats, labels: Index, test: Floats, truth: npt.NDArray[Any]) -> float:
    """A small tree: it needs no scaling, learns what is not linear, and is the same on every machine."""
    from sklearn.metrics import recall_score
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(max_depth=_DEPTH, min_samples_leaf=_LEAF, class_weight="balanced", random_state=0)
    told = model.fit(features, labels).predict(test)
    # Balanced accuracy is the mean recall of the classes there are: one that only the model names has none.
    return float(recall_score(truth, told, labels=np.unique(truth), average="macro", zero_division=0))
