"""Attacks by somebody who wants a sensitive value, or who knows what a release leaves untouched.

*Inference*: the attacker looks up the released rows nearest to a target by its quasi-identifiers and names the
sensitive value that most of them have. The control is the same guess where the target's own row is not in the release:
what a population teaches about anybody is no fault of the release (Giomi et al., Anonymeter, PoPETs 2023).

*Linkage by what passes*: the attacker knows the target's values in the columns that no method touches (attributes,
consent, retention), and names a released row with equal ones. The control was told another target's values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from microflow.anonymize.generalise import text_of
from microflow.assess.attacks import CHUNK, TIE, Attack, Rate, affordable, distances
from microflow.assess.labels import Floats, Index, distinct
from microflow.assess.pair import Pair, group
from microflow.assess.utility import classes_of, target_of

__all__ = ["inference", "linkage_by_passed"]


def inference(pair: Pair, attempts: int, rng: np.random.Generator) -> Attack | None:
    """Attack the sensitive column that `microflow.assess.utility` predicts; ``None`` where there is none to infer."""
    target = target_of(pair)
    if target is None:
        return None
    truth, told = classes_of(target)
    attackable = np.flatnonzero(truth >= 0)
    values = int(max(truth.max(initial=-1), told.max(initial=-1))) + 1
    if len(np.unique(truth[attackable])) <= 1:
        return None
    votes = np.zeros((len(pair.sizes), values))
    np.add.at(votes, (pair.classes[told >= 0], told[told >= 0]), 1)
    tries = affordable(attempts, len(attackable), len(pair.sizes))
    targets = rng.choice(attackable, tries, replace=False)
    guesses = _guesses(pair, targets, votes, told, rng)
    main, control = (Rate.of(int((named == truth[targets]).sum()), tries) for named in guesses)
    return Attack.of(f"inference of {target.column.name}", len(pair.quasi), main, control)


def _guesses(pair: Pair, targets: Index, votes: Floats, told: Index, rng: np.random.Generator) -> tuple[Index, Index]:
    """What is guessed of each target with its row in the release, and without it."""
    row_of = np.full(pair.original.num_rows, -1)
    row_of[pair.ordinals] = np.arange(len(pair.ordinals))
    knows = np.ones((CHUNK, len(pair.quasi)), np.bool_)
    found = np.empty((2, len(targets)), np.int64)
    for first in range(0, len(targets), CHUNK):
        chunk = targets[first : first + CHUNK]
        for place, far in enumerate(distances(pair, chunk, knows[: len(chunk)]), first):
            found[0, place] = _most(votes[far <= far.min() + TIE].sum(axis=0), rng)
            own = row_of[targets[place]]
            found[1, place] = found[0, place] if own < 0 else _most(_votes_without(pair, own, far, votes, told), rng)
    return found[0], found[1]


def _votes_without(pair: Pair, own: int, far: Floats, votes: Floats, told: Index) -> Floats:
    """The votes of the nearest classes where released row ``own`` is not among them."""
    mine = pair.classes[own]
    if pair.sizes[mine] == 1:
        far = far.copy()
        far[mine] = np.inf
    nearest = far <= far.min() + TIE
    counted: Floats = votes[nearest].sum(axis=0)
    if nearest[mine] and told[own] >= 0:
        counted[told[own]] -= 1
    return counted


def _most(votes: Floats, rng: np.random.Generator) -> int:
    """The value with most votes, one by lot among equals; -1 where nobody voted."""
    if not votes.any():
        return -1
    return int(rng.choice(np.flatnonzero(votes == votes.max())))


def linkage_by_passed(pair: Pair, attempts: int, rng: np.random.Generator) -> Attack | None:
    """Attack random targets by all columns that pass; ``None`` where nothing passes."""
    names = [name for name in pair.passed if name in pair.released.column_names]
    if not names:
        return None
    rows = pair.original.num_rows
    coded = [_common_codes(pair.original[name], pair.released[name]) for name in names]
    classes = group(coded, rows + len(pair.ordinals))[0]
    own, others = classes[:rows], classes[rows:]
    order = np.argsort(others, kind="stable")
    sizes = np.bincount(others, minlength=int(classes.max()) + 1)
    starts = np.cumsum(sizes) - sizes
    targets = rng.choice(rows, min(attempts, rows), replace=False)
    wins = []
    for asked in (targets, np.roll(targets, 1)):
        wanted = own[targets]
        there = sizes[wanted] > 0
        drawn = starts[wanted] + (rng.random(len(targets)) * sizes[wanted]).astype(np.int64)
        named = pair.persons[pair.ordinals[order[np.minimum(drawn, len(order) - 1)]]]
        wins.append(Rate.of(int((there & (named == pair.persons[asked])).sum()), len(targets)))
    return Attack.of("linkage by what passes", len(names), *wins)


def _common_codes(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Index:
    """Codes of both columns' texts, the original's rows first; a release that was read from a file is text."""
    places: dict[str | None, int] = {}
    codes = [_coded(one, places) for one in (before, after)]
    return np.concatenate(codes)


def _coded(array: pa.ChunkedArray, places: dict[str | None, int]) -> Index:
    codes, values = distinct(array)
    texts: Sequence[str | None] = [None if value is None else text_of(value) for value in values]
    return np.array([places.setdefault(text, len(places)) for text in texts], np.int64)[codes]
