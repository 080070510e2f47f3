"""Attacks by a person who knows quasi-identifiers exactly, and risks that follow from class sizes.

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

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.assess.labels import Floats, Index
from microflow.assess.pair import Pair, group

__all__ = [
    "THRESHOLD", "TIE", "Z_95", "Attack", "Rate", "Reidentification", "affordable", "distances", "linkage",
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
        """Rate with Wilson's score interval.

        >>> rate = Rate.of(10, 100)
        >>> round(rate.low, 4), round(rate.high, 4)
        (0.0552, 0.1744)
        """
        from scipy.stats import binomtest

        if attempts == 0:
            return cls(0, 0, 0.0, 0.0, 1.0)
        interval = binomtest(successes, attempts).proportion_ci(method="wilson")
        return cls(successes, attempts, successes / attempts, float(interval.low), float(interval.high))


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

    def __str__(self) -> str:
        return f"{self.risk:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @classmethod
    def of(cls, name: str, knows: int, main: Rate, control: Rate) -> Attack:
        """Attack with the risk that remains over chance; never below 0."""

        def beyond(success: float, chance: float) -> float:
            return max(0.0, (success - chance) / (1 - chance)) if chance < 1 else 0.0

        risk = beyond(main.value, control.value)
        return cls(name, knows, main, control, risk, beyond(main.low, control.high), beyond(main.high, control.low))


#: Targets whose distances are in memory together.
_CHUNK = 64
#: Of two labels that both cover a target, the narrower is preferred by so much less than any mismatch weighs.
_NARROWER = 1e-3
#: Distances that differ by less are equal.
TIE = 1e-5

#: Attempts times rows to compare with: keeps an attack on a large release within seconds.
_BUDGET = 100_000_000
_FEWEST = 200


def affordable(wanted: int, available: int, comparisons: int) -> int:
    """Number of attempts to make, if each takes so many comparisons."""
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
    for place, far in enumerate(distances(pair, targets, known)):
        nearest = np.flatnonzero(far <= far.min() + TIE)
        ends = np.cumsum(pair.sizes[nearest])
        lot = int(rng.integers(ends[-1]))
        which = int(np.searchsorted(ends, lot, side="right"))
        within = lot - ends[which] + pair.sizes[nearest[which]]
        guesses[place] = pair.ordinals[rows_by_class[starts[nearest[which]] + within]]
    return guesses


def distances(pair: Pair, targets: Index, known: npt.NDArray[np.bool_] | None = None) -> Iterator[npt.NDArray[Any]]:
    """Distances of all released classes from the known values of each target (by default all): (classes,) a target."""
    for first in range(0, len(targets), _CHUNK):
        chunk = targets[first : first + _CHUNK]
        total = np.zeros((len(chunk), len(pair.sizes)), np.float32)
        for column, quasi in enumerate(pair.quasi):
            knowing = np.arange(len(chunk)) if known is None else np.flatnonzero(known[first : first + _CHUNK, column])
            truths, place = np.unique(quasi.codes[chunk[knowing]], return_inverse=True)
            far = quasi.labels.distance(truths) + _NARROWER * quasi.labels.width
            by_class = far.astype(np.float32).take(quasi.labels.codes[pair.first], axis=1)
            total[knowing] += by_class[place]
        yield from total


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
    """Number of persons of the original that each of these released rows may stand for, by quasi-identifiers.

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
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
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
    """Risk from three attackers: who knows that the target is in the release, who does not, who wants everybody.

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
