"""What somebody who knows quasi-identifiers of persons exactly finds out: by attack, and from the sizes of classes.

*Linkage*: the attacker looks for the released row nearest to a target and wins when it is a row of the target's. Rows
that cover what is known come first, narrow labels before wide ones, ties are broken at random. The control is an
attacker who knows the quasi-identifiers of another target. A target whose row was suppressed is a failed attempt.

*Singling out*: a predicate made from a released row ("all that its labels cover") wins when it isolates exactly one
person of the original (WP216). Half of the persons are attacked with their own rows; the control is how often the same
predicates isolate somebody among the other half, who had no part in them (Anonymeter's protocol).

A risk is ``(main - control) / (1 - control)`` (Giomi et al., Anonymeter, PoPETs 2023): of what could not be had by
chance, the part that the release gives. Rates have Wilson's interval (1927). The risk rises with the main rate and
falls with the control rate, so its interval is taken between the opposite ends of theirs, which errs on the wide side.

`Reidentification` is risk as statisticians count it, after El Emam, *Guide to the De-Identification of Personal Health
Information* (2013): the population is the original table. These counts believe what a release says: where values were
perturbed they tell little, and the attacks are the measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from microflow.assess.labels import Floats, Index
from microflow.assess.pair import Pair, group

__all__ = [
    "CHUNK", "THRESHOLD", "TIE", "Z_95", "Attack", "Rate", "Reidentification", "affordable", "distances", "linkage",
    "matches", "reidentification", "singling_out",
]  # fmt: skip

#: The normal quantile of a two-sided 95 % interval.
Z_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Rate:
    """Successes among attempts, with a 95 % interval."""

    successes: int
    attempts: int
    value: float
    low: float
    high: float

    @classmethod
    def of(cls, successes: int, attempts: int) -> Rate:
        """Wilson's score interval.

        >>> rate = Rate.of(10, 100)
        >>> round(rate.low, 4), round(rate.high, 4)
        (0.0552, 0.1744)
        """
        if attempts == 0:
            return cls(0, 0, 0.0, 0.0, 1.0)
        share = successes / attempts
        scale = 1 + Z_95**2 / attempts
        centre = (share + Z_95**2 / (2 * attempts)) / scale
        half = Z_95 / scale * math.sqrt(share * (1 - share) / attempts + Z_95**2 / (4 * attempts**2))
        # Rounding must not move the ends that are exact.
        low = max(0.0, centre - half) if successes else 0.0
        high = min(1.0, centre + half) if successes < attempts else 1.0
        return cls(successes, attempts, share, low, high)


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack and its control; ``knows`` is how many quasi-identifiers the attacker knew of each target."""

    name: str
    knows: int
    main: Rate
    control: Rate
    risk: float
    low: float
    high: float

    @classmethod
    def of(cls, name: str, knows: int, main: Rate, control: Rate) -> Attack:
        """The risk that remains over chance; never below 0."""
        return cls(
            name,
            knows,
            main,
            control,
            risk=_beyond(main.value, control.value),
            low=_beyond(main.low, control.high),
            high=_beyond(main.high, control.low),
        )


def _beyond(main: float, control: float) -> float:
    return max(0.0, (main - control) / (1 - control)) if control < 1 else 0.0


#: Targets whose distances are in memory together.
CHUNK = 64
#: Of two labels that both cover a target, the narrower is preferred by so much less than any mismatch weighs.
_NARROWER = 1e-3
#: Distances that differ by less are equal.
TIE = 1e-5

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


def _guesses(pair: Pair, targets: Index, known: npt.NDArray[np.bool_], rng: np.random.Generator) -> Index:
    """The original row that the attacker names for each of the rows ``targets``."""
    rows_by_class = np.argsort(pair.classes, kind="stable")
    starts = np.cumsum(pair.sizes) - pair.sizes
    guesses = np.empty(len(targets), np.int64)
    for first in range(0, len(targets), CHUNK):
        chunk = slice(first, first + CHUNK)
        for place, far in enumerate(distances(pair, targets[chunk], known[chunk]), first):
            nearest = np.flatnonzero(far <= far.min() + TIE)
            lot = int(rng.integers(pair.sizes[nearest].sum()))
            ends = np.cumsum(pair.sizes[nearest])
            drawn = int(np.searchsorted(ends, lot, side="right"))
            within = lot - int(ends[drawn] - pair.sizes[nearest[drawn]])
            guesses[place] = pair.ordinals[rows_by_class[starts[nearest[drawn]] + within]]
    return guesses


def distances(pair: Pair, targets: Index, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """How far each released class lies from what is ``known`` of some rows: shape (targets, classes)."""
    total = np.zeros((len(targets), len(pair.sizes)), np.float32)
    for column, quasi in enumerate(pair.quasi):
        knowing = np.flatnonzero(known[:, column])
        truths, place = np.unique(quasi.codes[targets[knowing]], return_inverse=True)
        far = quasi.labels.distance(truths) + _NARROWER * quasi.labels.width
        by_class = far.astype(np.float32).take(quasi.labels.codes[pair.first], axis=1)
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
    classes, first, sizes = group([quasi.codes for quasi in pair.quasi], pair.original.num_rows)
    covering = _covering(pair, rows, first)
    if pair.unit == "row":
        by_class = np.stack([np.bincount(classes, column, len(sizes)) for column in weights.T], axis=1)
        counted = [covered @ by_class for covered in covering]
        return np.concatenate(counted) if counted else np.empty((0, weights.shape[1]))
    found = np.zeros((len(rows), weights.shape[1]))
    here = np.zeros(len(weights), np.bool_)
    for row, covered in enumerate(chunk for chunks in covering for chunk in chunks):
        here[:] = False
        here[pair.persons[(covered > 0)[classes]]] = True
        found[row] = weights[here].sum(axis=0)
    return found


def _covering(pair: Pair, rows: Index, first: Index) -> Iterator[Floats]:
    """Chunks of shape (released rows, classes of the original): 1 where all labels cover the class."""
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        covered = np.ones((len(first), len(chunk)), np.bool_)
        for quasi in pair.quasi:
            codes, place = np.unique(quasi.labels.codes[chunk], return_inverse=True)
            near = quasi.labels.distance(np.arange(len(quasi.domain.values)), codes) == 0
            covered &= near[quasi.codes[first]][:, place]
        yield covered.T.astype(np.float64)


#: Records in classes smaller than five are commonly called at risk.
THRESHOLD = 0.2
_MOST_ROWS = 2_000


@dataclass(frozen=True, slots=True)
class Reidentification:
    """Three attackers: one who knows that the target is in the release, one who does not, one who wants everybody.

    ``prosecutor_*`` are 1 over the members of the class at its greatest, on average, and the share of rows above
    `THRESHOLD`; ``journalist_highest`` is 1 over the smallest number of persons that a row may stand for, ``marketer``
    the share of all rows that would be matched correctly. The last two were measured on ``sampled`` rows.
    """

    prosecutor_highest: float
    prosecutor_average: float
    prosecutor_at_risk: float
    journalist_highest: float
    marketer: float
    sampled: int


def reidentification(pair: Pair, rng: np.random.Generator) -> Reidentification:
    """Measure the three risks."""
    rows = pair.released.num_rows
    risk = 1 / pair.members
    sample = rng.choice(rows, affordable(_MOST_ROWS, rows, pair.original.num_rows), replace=False)
    population = matches(pair, sample, np.ones((int(pair.persons.max()) + 1, 1)))[:, 0]
    # A row that matches no person, because it was perturbed, leads to none.
    found = np.divide(1, population, out=np.zeros_like(population), where=population > 0)
    return Reidentification(
        prosecutor_highest=float(risk.max()),
        prosecutor_average=len(pair.members) / int(pair.members.sum()),
        prosecutor_at_risk=float(pair.sizes[risk > THRESHOLD].sum() / rows),
        journalist_highest=float(found.max()),
        marketer=float(found.mean()),
        sampled=len(sample),
    )
