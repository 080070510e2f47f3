"""Attacks on a release by somebody who knows quasi-identifiers of persons exactly.

*Linkage*: the attacker looks for the released row nearest to a target and wins when it is a row of the target's. Rows
that cover what is known come before others, narrow labels before wide ones, ties are broken by lot. The control is an
attacker who was told the quasi-identifiers of another target. A target whose row was suppressed is a failed attempt.

*Singling out*: a predicate made from a released row ("all that its labels cover") wins when it isolates exactly one
person of the original (WP216). Half of the persons are attacked with their own rows; the control is how often the same
predicates isolate somebody among the other half, who had no part in them (Anonymeter's protocol).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from microflow.assess.labels import Floats, Index
from microflow.assess.pair import Pair, group
from microflow.assess.rates import Attack, Rate

__all__ = ["affordable", "linkage", "matches", "singling_out"]

_CHUNK = 64
#: Of two labels that both cover a target, the narrower is preferred by so much less than any mismatch weighs.
_NARROWER = 1e-3
_TIE = 1e-5

#: Attempts times rows to compare with: keeps an attack on a large release within seconds.
_BUDGET = 100_000_000
_FEWEST = 200


def affordable(wanted: int, available: int, comparisons: int) -> int:
    """How many attempts are made where each takes so many comparisons."""
    return min(wanted, available, max(_FEWEST, _BUDGET // comparisons))


def linkage(pair: Pair, knows: int, attempts: int, rng: np.random.Generator) -> Attack:
    """Attack random targets knowing ``knows`` of their quasi-identifiers, a random choice for each target."""
    rows = pair.original.num_rows
    tries = affordable(attempts, rows, len(pair.sizes))
    targets = rng.choice(rows, tries, replace=False)
    known = np.argsort(rng.random((tries, len(pair.quasi))), axis=1) < knows
    guesses = _guesses(pair, targets, known, rng)
    named = pair.persons[guesses]
    wins = [int((named == pair.persons[asked]).sum()) for asked in (targets, np.roll(targets, 1))]
    return Attack.of("linkage", knows, *(Rate.of(won, tries) for won in wins))


def _guesses(pair: Pair, told: Index, known: npt.NDArray[np.bool_], rng: np.random.Generator) -> Index:
    """The original row that the attacker names for each row ``told`` about."""
    rows_by_class = np.argsort(pair.classes, kind="stable")
    starts = np.cumsum(pair.sizes) - pair.sizes
    guesses = np.empty(len(told), np.int64)
    for first in range(0, len(told), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        for place, far in enumerate(_distances(pair, told[chunk], known[chunk]), first):
            nearest = np.flatnonzero(far <= far.min() + _TIE)
            lot = int(rng.integers(pair.sizes[nearest].sum()))
            ends = np.cumsum(pair.sizes[nearest])
            drawn = int(np.searchsorted(ends, lot, side="right"))
            within = lot - int(ends[drawn] - pair.sizes[nearest[drawn]])
            guesses[place] = pair.ordinals[rows_by_class[starts[nearest[drawn]] + within]]
    return guesses


def _distances(pair: Pair, told: Index, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Shape (told, classes)."""
    total = np.zeros((len(told), len(pair.sizes)), np.float32)
    for column, one in enumerate(pair.quasi):
        knowing = np.flatnonzero(known[:, column])
        truths, place = np.unique(one.codes[told[knowing]], return_inverse=True)
        far = one.labels.distance(truths) + _NARROWER * one.labels.width
        by_class = far.astype(np.float32).take(one.labels.codes[pair.first], axis=1)
        total[knowing] += by_class[place]
    return total


def singling_out(pair: Pair, attempts: int, rng: np.random.Generator) -> Attack:
    """Attack with predicates over all quasi-identifiers."""
    count = int(pair.persons.max()) + 1
    attacked = rng.permutation(count) < count // 2
    own = np.flatnonzero(attacked[pair.persons[pair.ordinals]])
    tries = affordable(attempts, len(own), pair.original.num_rows)
    predicates = rng.choice(own, tries, replace=False)
    halves = np.stack([attacked, ~attacked], axis=1).astype(np.float64)
    isolated = (matches(pair, predicates, halves) == 1).sum(axis=0)
    return Attack.of("singling out", len(pair.quasi), *(Rate.of(int(won), tries) for won in isolated))


def matches(pair: Pair, rows: Index, weights: Floats) -> Floats:
    """How many persons of the original each of these released rows may stand for, by its quasi-identifiers.

    ``weights`` has shape (persons, groups), and the answer (``rows``, groups).
    """
    classes, first, sizes = group([one.codes for one in pair.quasi], pair.original.num_rows)
    covering = _covering(pair, rows, first)
    if pair.unit == "row":
        by_class = np.stack([np.bincount(classes, column, len(sizes)) for column in weights.T], axis=1)
        return np.concatenate([covered @ by_class for covered in covering])
    found = np.zeros((len(rows), weights.shape[1]))
    here = np.zeros(len(weights), np.bool_)
    for row, covered in enumerate(chunk for chunks in covering for chunk in chunks):
        here[:] = False
        here[pair.persons[(covered > 0)[classes]]] = True
        found[row] = weights[here].sum(axis=0)
    return found


def _covering(pair: Pair, rows: Index, first: Index) -> Iterator[Floats]:
    """Chunks of shape (released rows, classes of the original): 1 where all labels cover the class."""
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        covered = np.ones((len(first), len(chunk)), np.bool_)
        for one in pair.quasi:
            codes, place = np.unique(one.labels.codes[chunk], return_inverse=True)
            near = one.labels.distance(np.arange(len(one.domain.values)), codes) == 0
            covered &= near[one.codes[first]][:, place]
        yield covered.T.astype(np.float64)
