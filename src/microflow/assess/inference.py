"""Attacks by somebody who wants a sensitive value, or who knows what a release leaves untouched.

*Inference*: the attacker looks up the released rows nearest to a target by its quasi-identifiers and names the
sensitive value that most of them have. The control is the same guess where the target's own row is not in the release:
what a population teaches about anybody is no fault of the release (Giomi et al., Anonymeter, PoPETs 2023).

*Linkage by what passes*: the attacker knows the target's values in the columns that no method touches (attributes,
consent, retention), and names a released row with equal ones. The control knows another target's values.

*Membership*: the attacker wants to know whether a person's row is in the release. A person nearer to a released row
than a threshold is called a member (Chen et al., GAN-Leaks, CCS 2020); half of the targets choose the threshold, the
other half measures it. The control are persons of the same population who are *not* in the release: how often they are
called members, too. What the population holds besides says how many persons a row may stand for (*k-map*, Sweeney
2002), and how likely one who fits a row is in the release (*δ-presence*, Nergiz, Atzori and Clifton, SIGMOD 2007).

*An audit of local differential privacy* bounds ε from below by what was released, whatever the code claims.
ε-local differential privacy guarantees that no output is over e^ε times as likely for one true value as for another.
So a pair of true values and an output that occur with clearly unlike frequencies refute every smaller ε (Jagielski,
Ullman and Oprea, NeurIPS 2020; for local mechanisms Arcolezi and Gambs, *Revealing the true cost of LDP*, 2023).
Guessing records cannot do this: among n records an ε of 2 allows a success of e²/n, which no sample resolves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.generalise import text_of
from microflow.assess.attacks import TIE, Attack, Rate, affordable, distances, matches
from microflow.assess.labels import Floats, Index, distinct
from microflow.assess.loss import classes_of, target_of
from microflow.assess.pair import Pair, group
from microflow.errors import InputError

__all__ = ["Presence", "epsilon_lower_bound", "inference", "linkage_by_passed", "presence"]


def inference(pair: Pair, attempts: int, rng: np.random.Generator) -> Attack | None:
    """Attack the sensitive column that `microflow.assess.loss` predicts; ``None`` where there is none to infer."""
    target = target_of(pair)
    if target is None:
        return None
    truth, released = classes_of(target)
    attackable = np.flatnonzero(truth >= 0)
    values = int(max(truth.max(initial=-1), released.max(initial=-1))) + 1
    if len(np.unique(truth[attackable])) <= 1:
        return None
    votes = np.zeros((len(pair.sizes), values))
    np.add.at(votes, (pair.classes[released >= 0], released[released >= 0]), 1)
    tries = affordable(attempts, len(attackable), len(pair.sizes))
    targets = rng.choice(attackable, tries, replace=False)
    guesses = _guesses(pair, targets, votes, released, rng)
    main, control = (Rate.of(int((named == truth[targets]).sum()), tries) for named in guesses)
    return Attack.of(f"inference of {target.column.name}", len(pair.quasi), main, control)


def _guesses(
    pair: Pair, targets: Index, votes: Floats, released: Index, rng: np.random.Generator
) -> tuple[Index, Index]:
    """Guesses about each target, with its row in the release and without it."""
    row_of = np.full(pair.original.num_rows, -1)
    row_of[pair.ordinals] = np.arange(len(pair.ordinals))
    found = np.empty((2, len(targets)), np.int64)
    for place, far in enumerate(distances(pair, targets)):
        found[:, place] = _most(votes[far <= far.min() + TIE].sum(axis=0), rng)
        if (own := row_of[targets[place]]) >= 0:
            found[1, place] = _most(_votes_without(pair, own, far, votes, released), rng)
    return found[0], found[1]


def _votes_without(pair: Pair, own: int, far: Floats, votes: Floats, released: Index) -> Floats:
    """The votes of the nearest classes where released row ``own`` is not among them."""
    mine = pair.classes[own]
    if pair.sizes[mine] == 1:
        far = far.copy()
        far[mine] = np.inf
    nearest = far <= far.min() + TIE
    counted: Floats = votes[nearest].sum(axis=0)
    if nearest[mine] and released[own] >= 0:
        counted[released[own]] -= 1
    return counted


def _most(votes: Floats, rng: np.random.Generator) -> int:
    """The value with most votes, a random one among equals; -1 without votes."""
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
    coded = []
    for codes, values in map(distinct, (before, after)):
        texts = (None if value is None else text_of(value) for value in values)
        coded.append(np.array([places.setdefault(text, len(places)) for text in texts], np.int64)[codes])
    return np.concatenate(coded)


#: Classes whose place in the population is looked at.
_MOST_CLASSES = 2_000


@dataclass(frozen=True, slots=True)
class Presence:
    """Attack on membership: the knowledge of a release about who is in it, among ``population`` persons.

    ``k_map`` is the fewest persons that a released row may stand for, and ``delta_low`` to ``delta_high`` the least and
    the greatest share of persons in the release among those who fit a row. Both were measured on ``sampled`` classes.
    """

    membership: Attack
    population: int
    k_map: int
    delta_low: float
    delta_high: float
    sampled: int


def presence(pair: Pair, others: pa.Table, attempts: int, rng: np.random.Generator) -> Presence:
    """Attack membership, and place the classes in the population.

    Args:
        pair: The release and its original.
        others: Persons of the same population who had no part in the release, in the schema's types.
        attempts: Targets among the members, and as many among the others.
        rng: Of the choice of targets.

    Raises:
        InputError: the others have no rows, lack a column, or are among the original's persons.
    """
    from scipy.stats import ks_2samp

    _require_others(pair, others)
    names = [name for name in pair.original.column_names if name in others.column_names]
    tables = [table.select(names) for table in (pair.original, others)]
    both = Pair.of(pair.schema, pa.concat_tables(tables), pair.released, pair.ordinals)
    tries = affordable(attempts, min(len(pair.ordinals), others.num_rows), len(both.sizes))
    targets = rng.choice(pair.ordinals, tries, replace=False)
    outsiders = pair.original.num_rows + rng.choice(others.num_rows, tries, replace=False)
    members, outside = (np.array([far.min() for far in distances(both, rows)]) for rows in (targets, outsiders))
    # The distance up to which more members than others are found, by most; below all where there is none.
    apart = ks_2samp(members[::2], outside[::2], alternative="greater", method="asymp")
    threshold = apart.statistic_location if apart.statistic > 0 else -1.0
    rates = (Rate.of(int((far[1::2] <= threshold).sum()), len(far[1::2])) for far in (members, outside))
    persons = np.zeros((int(both.persons.max()) + 1, 2))
    persons[both.persons[pair.ordinals], 0] = 1
    persons[:, 1] = 1
    classes = len(both.sizes)
    sample = rng.choice(classes, affordable(_MOST_CLASSES, classes, both.original.num_rows), replace=False)
    inside, fitting = matches(both, both.first[sample], persons).T
    share = np.divide(inside, fitting, out=np.zeros_like(inside), where=fitting > 0)
    return Presence(
        membership=Attack.of("membership", len(pair.quasi), *rates),
        population=len(persons),
        k_map=int(fitting.min()),
        delta_low=float(share.min()),
        delta_high=float(share.max()),
        sampled=len(sample),
    )


def _require_others(pair: Pair, others: pa.Table) -> None:
    if not others.num_rows:
        raise InputError("the control has no rows", hint="give persons of the same population who were not released")
    name = pair.schema.person or pair.schema.record_id
    if name is not None and name in others.column_names:
        shared = int(pc.sum(pc.is_in(others[name], value_set=pair.original[name].combine_chunks())).as_py() or 0)
        if shared:
            raise InputError(
                f"{shared} rows of the control belong to persons of the original", column=name,
                hint="a control holds persons who had no part in the release",
            )  # fmt: skip


#: True values that fewer rows have are not compared: their frequencies say nothing.
_FEWEST = 30


def epsilon_lower_bound(columns: Sequence[tuple[Index, Index]]) -> float:
    """Lower 95 % confidence bound of ε, for columns that are perturbed independently of each other.

    Half of the rows choose the pair of values and the output that differ most; the other half measures them
    (Clopper-Pearson intervals), so that nothing is gained by having looked. Columns share the error (Bonferroni), and
    their bounds add up: an attacker sees all columns of a record.

    Args:
        columns: Codes of the true and of the released values of each perturbed column, row by row.

    >>> rng = np.random.default_rng(1)
    >>> truth = rng.integers(0, 2, 20_000)
    >>> kept = rng.random(20_000) < 0.75
    >>> 0.8 < epsilon_lower_bound([(truth, np.where(kept, truth, 1 - truth))]) < math.log(3)
    True
    """
    error = 0.05 / max(2 * len(columns), 1)
    return sum(_of_column(truth, released, error) for truth, released in columns)


def _of_column(truth: Index, released: Index, error: float) -> float:
    """The bound of one column; each of its two intervals fails with a probability of ``error``."""
    from scipy.stats import binomtest

    # At random, with a seed of its own: rows may stand in an order that has to do with their values.
    halves = np.array_split(np.random.default_rng(0).permutation(len(truth)), 2)
    seen, held = np.zeros((2, int(truth.max(initial=0)) + 1, int(released.max(initial=0)) + 1))
    for half, counts in zip(halves, (seen, held), strict=True):
        np.add.at(counts, (truth[half], released[half]), 1)
    frequent = np.flatnonzero((seen.sum(axis=1) >= _FEWEST) & held.any(axis=1))
    if len(frequent) < 2:  # noqa: PLR2004 - a pair
        return 0.0
    shares = (seen[frequent] + 1) / (seen[frequent].sum(axis=1, keepdims=True) + 2)
    output = int((shares.max(axis=0) / shares.min(axis=0)).argmax())
    likely, unlikely = (held[frequent[place(shares[:, output])]] for place in (np.argmax, np.argmin))
    more, less = (
        binomtest(int(row[output]), int(row.sum()), alternative=side)
        for row, side in ((likely, "greater"), (unlikely, "less"))
    )
    low, high = more.proportion_ci(1 - error).low, less.proportion_ci(1 - error).high
    return max(0.0, math.log(low / high)) if low > 0 else 0.0
