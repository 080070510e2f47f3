"""Recoding of tuples, by the lattice or by Mondrian: its effort, and the choice of tuples to suppress.

Where every column has a hierarchy, and lattice and tuples are few enough, tuples are recoded locally in the lattice
(`microflow.anonymize.cover`), and effort is rounds of refinement. Otherwise Mondrian partitions them; effort is then
the number of sizes from which on cuts are weighed, of which the one that loses least is kept.

A budget of suppression is spent on tuples that widen their class most: rows are suppressed only where the others gain
more than these rows lose, which is everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from microflow.anonymize.axes import Axis, Codes, Floats, Index
from microflow.anonymize.contract import MethodSettings
from microflow.anonymize.diversity import Diversity
from microflow.anonymize.mondrian import NEAR, Tuples, partition

__all__ = ["Members", "Recoding", "recode"]


#: Sizes that Mondrian tries, as multiples of its own, in this order: one for each unit of effort.
_SIZES = (1, 2, 0.5, 4, 0.25, 8, 16, 32, 64)
#: How often a part of the budget is spent.
_ROUNDS = 6


@dataclass(frozen=True)
class Members:
    """The placed tuples sorted by class: class ``c`` has those from ``starts[c]`` on."""

    order: Index
    owner: Codes
    starts: Index

    @classmethod
    def of(cls, class_of: Codes) -> Members:
        """Sort the tuples by class; those of class -1 are left out."""
        order = np.argsort(class_of, kind="stable")
        order = order[np.searchsorted(class_of[order], 0) :]
        owner = class_of[order]
        return cls(order, owner, np.searchsorted(owner, np.arange(int(owner.max(initial=-1)) + 1)))


@dataclass(frozen=True)
class Recoding:
    """Task of a recoding: the tuples and the requirements on their classes.

    Attributes:
        ranks: One array a column: the rank of each tuple.
        axes: One a column.
        rows: The rows of each tuple.
        weigh: The rows, or persons, that some tuples (by index) count for when they are all there are.
        constraint: What a class must satisfy besides its size.
    """

    ranks: Sequence[Codes]
    axes: Sequence[Axis]
    rows: Index
    weigh: Callable[[Index], Index]
    constraint: Diversity | None

    def in_order(self, order: Index) -> Recoding:
        """Same task with place ``i`` for tuple ``order[i]``.

        Sorted by rank nothing depends on the order in which values were met, which splits change.
        """
        ranks = [column[order] for column in self.ranks]
        constraint = None if self.constraint is None else self.constraint.among(order)
        return Recoding(ranks, self.axes, self.rows[order], lambda kept: self.weigh(order[kept]), constraint)


def recode(task: Recoding, settings: MethodSettings) -> Codes:
    """The class of each tuple (0, 1, …); -1 for one that is suppressed, which all are where no class is possible."""
    order = np.lexsort(task.ranks)
    found = np.empty(len(order), np.int32)
    found[order] = _within_budget(task.in_order(order), settings)
    return found


def _within_budget(task: Recoding, settings: MethodSettings) -> Codes:
    best = _recoded(task, settings, np.arange(len(task.rows)))
    left = int(settings.suppress * int(task.rows.sum()))
    if not left or not (best >= 0).any():
        return best
    lost = _lost(task, best)
    for _ in range(_ROUNDS):
        given_up = _outliers(task, best, (left + 1) // 2)
        if not len(given_up):
            break
        trial = _recoded(task, settings, np.setdiff1d(np.flatnonzero(best >= 0), given_up))
        if not (trial >= 0).any() or (now := _lost(task, trial)) >= lost:
            break
        best, lost, left = trial, now, left - int(task.rows[given_up].sum())
    return best


def _recoded(task: Recoding, settings: MethodSettings, kept: Index) -> Codes:
    """Classes of some tuples; the others have none."""
    tuples = Tuples([ranks[kept] for ranks in task.ranks], task.weigh(kept))
    constraint = None if task.constraint is None else task.constraint.among(kept)
    trees = [tree for axis in task.axes if (tree := axis.tree) is not None]
    best = np.full(len(task.rows), -1, np.int32)
    if len(trees) == len(task.axes):
        # Compiled code: its import takes longer than a small job, so only who needs it waits for it.
        from microflow.anonymize.cover import MOST_ELEMENTS, MOST_TUPLES, cover, lattice_size

        if lattice_size(trees) <= MOST_ELEMENTS and 0 < len(kept) <= MOST_TUPLES:
            best[kept] = cover(
                tuples.ranks, tuples.weights, trees, settings.k, effort=settings.effort, constraint=constraint
            )
            return best
    lost = np.inf
    for size in _SIZES[: max(1, settings.effort)]:
        found = np.full(len(task.rows), -1, np.int32)
        near = max(2, int(size * NEAR))
        found[kept] = partition(tuples, task.axes, settings.k, strict=settings.strict, near=near, constraint=constraint)
        now = _lost(task, found) if settings.effort > 1 else 0.0
        if now < lost:
            best, lost = found, now
    return best


def _lost(task: Recoding, class_of: Codes) -> float:
    """The loss of all rows over all columns; a suppressed one loses every column."""
    members = Members.of(class_of)
    columns = len(task.axes)
    suppressed = float(task.rows[class_of < 0].sum()) * columns
    if not len(members.starts):
        return suppressed
    rows = np.add.reduceat(task.rows[members.order], members.starts)
    return float(rows @ _losses(task, members)[members.starts]) + suppressed


def _losses(task: Recoding, members: Members) -> Floats:
    """For each member what a class of it and the members behind it in its class would lose, over all columns."""
    owner = members.owner.astype(np.int64)
    losses = np.zeros(len(owner))
    for axis, ranks in zip(task.axes, task.ranks, strict=True):
        own = ranks[members.order].astype(np.int64)
        # Lifted by class, so that extremes that run from the end start again in each.
        up, down = owner * axis.size, (len(members.starts) - owner) * axis.size
        low = np.minimum.accumulate((own + up)[::-1])[::-1] - up
        high = np.maximum.accumulate((own + down)[::-1])[::-1] - down
        order = np.lexsort((own, owner))
        is_last = np.ones(len(own), np.bool_)
        is_last[order[:-1]] = (own[order[1:]] != own[order[:-1]]) | (owner[order[1:]] != owner[order[:-1]])
        behind = np.cumsum(is_last[::-1])[::-1]
        ends = np.append(members.starts[1:], len(own))
        different = behind - np.append(behind, 0)[ends][owner]
        losses += axis.loss(low, high, different.astype(np.int32))
    return losses


def _distances(task: Recoding, members: Members) -> Floats:
    """How much each member would lose together with the middle of its class: the median of each column."""
    rows = task.rows[members.order]
    total = np.add.reduceat(rows, members.starts)
    apart = np.zeros(len(rows))
    for axis, ranks in zip(task.axes, task.ranks, strict=True):
        own = ranks[members.order]
        order = np.lexsort((own, members.owner))
        running = np.cumsum(rows[order])
        half = running[members.starts] - rows[order][members.starts] + (total + 1) // 2
        middle = own[order][np.searchsorted(running, half)][members.owner]
        low, high = np.minimum(own, middle), np.maximum(own, middle)
        apart += axis.loss(low, high, (1 + (own != middle)).astype(np.int32))
    return apart


def _outliers(task: Recoding, class_of: Codes, budget: int) -> Index:
    """Tuples far from the middle of their class whose absence would save most for a row, of at most so many rows."""
    members = Members.of(class_of)
    far_first = np.lexsort((-_distances(task, members), members.owner))
    members = Members(members.order[far_first], members.owner, members.starts)
    losses, starts, owner = _losses(task, members), members.starts, members.owner
    running = np.cumsum(task.rows[members.order]) - task.rows[members.order]
    given_up = running - running[starts][owner]
    rows = np.add.reduceat(task.rows[members.order], starts)[owner]
    saved = rows * losses[starts][owner] - (rows - given_up) * losses - given_up * len(task.axes)
    worth = np.where((saved > 0) & (given_up <= budget), saved / np.maximum(given_up, 1), 0.0)
    best = np.maximum.reduceat(worth, starts)
    turn = np.lexsort((starts, -best))
    turn = turn[best[turn] > 0]
    ends = np.flatnonzero((worth == best[owner]) & (worth > 0))
    end_of = np.zeros(len(starts), np.int64)
    end_of[owner[ends[::-1]]] = ends[::-1]  # the first of several is written last
    turn = turn[np.cumsum(given_up[end_of[turn]]) <= budget]
    chosen = [members.order[starts[index] : end_of[index]] for index in turn]
    return np.concatenate(chosen) if chosen else np.empty(0, np.int64)
