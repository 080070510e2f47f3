"""Local recoding: the class of each distinct tuple, by the lattice or by Mondrian, and which are better suppressed.

Full-domain recoding releases all rows at one element of the generalisation lattice (`microflow.anonymize.lattice`);
*local* recoding lets every tuple have an element of its own, which loses far less (ARX does so by repeating its
full-domain search over what it suppressed). Where every column has a hierarchy, and lattice and tuples are few enough,
cells are opened in the order of their *price*, as facilities are in the greedy algorithm of Jain, Mahdian and Saberi
(STOC 2002): what the cell costs by each waiting row that it takes, with the loss of what it borrows from classes that
are open already. It may borrow single tuples that their class can spare, or a whole class. The price decides when to
stop waiting for a better company, and tuples with k rows of their own are released as they are, at price 0. Effort is
rounds of refinement afterwards. Nothing is drawn at random but from a fixed seed, so that equal counts give equal
classes.

Otherwise Mondrian partitions the tuples; effort is then the number of sizes from which on cuts are weighed, of which
the one that loses least is kept.

A budget of suppression is spent on tuples that widen their class most: rows are suppressed only where the others gain
more than these rows lose, which is everything.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from microflow.anonymize.axes import Axis, Codes, Floats, Index, Ladder, Tree
from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.diversity import Diversity, Sensitive
from microflow.anonymize.mondrian import NEAR, Tuples, partition

__all__ = ["Members", "Recoding", "recode", "warm_lattice"]

#: Sizes that Mondrian tries, as multiples of its own, in this order: one for each unit of effort.
_SIZES = (1, 2, 0.5, 4, 0.25, 8, 16, 32, 64)
#: How often a part of the budget is spent.
_ROUNDS = 6
#: A lattice with more elements is not searched.
MOST_ELEMENTS = 20_000
#: With more distinct tuples Mondrian decides: refinement compares classes with each other, which is not linear.
MOST_TUPLES = 20_000
#: An element is visited again when the price has grown by this factor, in case its cells have become cheaper.
_REVISIT = 3.0
#: Cells whose price is so near to the lowest are opened together.
_TOLERANCE = 1.1
#: Below this price it grows from here.
_FIRST_PRICE = 0.02
#: Tuples that may be asked to lend themselves, by each unit of effort.
_ASKED = 10_000_000
#: Refinement: trials a neighbourhood, and classes in it besides the first.
_TRIALS, _NEIGHBOURS = 10, 3
#: Classes that one without the diversity asked for may be merged with.
_PARTNERS = 32


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
    best = np.full(len(task.rows), -1, np.int32)
    trees = [axis.tree for axis in task.axes if isinstance(axis, Ladder)]
    is_small = math.prod(len(tree.nodes) for tree in trees) <= MOST_ELEMENTS and 0 < len(kept) <= MOST_TUPLES
    if len(trees) == len(task.axes) and is_small:
        best[kept] = _cover(tuples, trees, settings.k, settings.effort, constraint)
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
    """Loss of each member together with the middle of its class, which is the median of each column."""
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


@dataclass(frozen=True)
class _Forest:
    """Tuples in the trees of all columns, as the compiled functions of `microflow.anonymize.lattice` want them."""

    tuples: Index
    leaves: Index
    weights: Index
    nodes: Index
    loss: Floats

    @classmethod
    def of(cls, tuples: Tuples, trees: Sequence[Tree]) -> _Forest:
        shift = _begins(len(tree.first) for tree in trees)
        nodes = [
            np.stack([tree.first, tree.last, np.where(tree.parent < 0, -1, tree.parent + first)], axis=1)
            for tree, first in zip(trees, shift, strict=True)
        ]
        leaves = [t.nodes[-1][r] + first for t, r, first in zip(trees, tuples.ranks, shift, strict=True)]
        return cls(
            np.ascontiguousarray(np.stack(tuples.ranks, axis=1), np.int64),
            np.ascontiguousarray(np.stack(leaves, axis=1), np.int64),
            tuples.weights,
            np.ascontiguousarray(np.concatenate(nodes), np.int64),
            np.concatenate([tree.loss for tree in trees]),
        )

    def among(self, some: Index) -> _Forest:
        """Only some of the tuples."""
        return replace(self, tuples=self.tuples[some], leaves=self.leaves[some], weights=self.weights[some])

    @property
    def placed(self) -> tuple[Index, Index]:
        return self.leaves, self.weights


def _begins(sizes: Iterable[int]) -> Index:
    """First place of each of some arrays when they stand in one."""
    return np.cumsum([0, *sizes])[:-1]


def _cover(tuples: Tuples, trees: Sequence[Tree], k: int, effort: int, constraint: Diversity | None) -> Codes:
    """Classes in the lattice, without gaps; all are -1 where not even the whole can be one class.

    Args:
        tuples: What is to be covered; a tuple whose persons are counted elsewhere has no weight.
        trees: The columns' hierarchies.
        k: The fewest rows of a class.
        effort: Rounds of refinement, and how many tuples are asked to lend themselves before the search falls back on
            waiting tuples alone.
        constraint: What a class must satisfy besides; classes that do not are merged with the nearest ones.
    """
    # Compiled code: its import takes longer than a small job, so only who needs it waits for it.
    from microflow.anonymize import lattice

    count = len(tuples)
    everything = np.zeros(count, np.int64)
    whole_may_be = constraint is None or constraint.allows(np.arange(count), everything, 1)[0]
    if int(tuples.weights.sum()) < k or not whole_may_be:
        return np.full(count, -1, np.int32)
    forest = _Forest.of(tuples, trees)
    some = np.flatnonzero(tuples.weights)
    weighed = forest.among(some)
    found = _opened(weighed, trees, k, effort)
    for turn in range(effort):
        found = lattice.refine(*weighed.placed, found, weighed.nodes, weighed.loss, k, _TRIALS, _NEIGHBOURS, turn)
        found = _renumbered(found)
    class_of = np.full(count, -1, np.int64)
    class_of[some] = found
    if len(some) < count:
        lattice.attach(*forest.placed, class_of, forest.nodes, forest.loss)
    while constraint is not None:
        class_of = _reconciled(forest, class_of, constraint)
        # A person with rows in two classes was counted in both when they were merged: count again until it is right.
        if not class_of.max() or not constraint.excess(constraint.profiles(class_of)).any():
            break
    return class_of.astype(np.int32)


def _renumbered(class_of: Index) -> Index:
    return np.unique(class_of, return_inverse=True)[1].astype(np.int64)


def _opened(forest: _Forest, trees: Sequence[Tree], k: int, effort: int) -> Index:
    """Open cells in the order of their price until every tuple has a class."""
    from microflow.anonymize.lattice import open_cells

    tuples, weights, n = forest.tuples, forest.weights, len(forest.weights)
    key_of_node = np.random.default_rng(1).integers(1, 1 << 63, len(forest.nodes), dtype=np.uint64)
    shift = _begins(len(tree.first) for tree in trees)
    node_at = np.concatenate([(tree.nodes + first).ravel() for tree, first in zip(trees, shift, strict=True)])
    begin, ranks = _begins(tree.nodes.size for tree in trees), np.asarray([tree.nodes.shape[1] for tree in trees])
    small = weights < k if (weights < k).any() else np.ones(n, np.bool_)
    means = [
        [float(np.average(tree.loss[nodes][tuples[small, c]], weights=weights[small])) for nodes in tree.nodes]
        for c, tree in enumerate(trees)
    ]
    heap = [
        (sum(mean[depth] for mean, depth in zip(means, depths, strict=True)), depths)
        for depths in itertools.product(*(range(len(tree.nodes)) for tree in trees))
    ]
    heapq.heapify(heap)
    class_of, state = np.full(n, -1, np.int64), (np.zeros(2 * n + 2, np.int64), np.zeros(2 * n + 2))
    table = np.zeros((4, 1 << (2 * n).bit_length()), np.int64)
    scratch = (np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n), np.full((2, 2 * n + 2), -1, np.int64))
    marks = np.zeros(len(forest.nodes), np.int64)
    waiting, active, classes, visit, asked = n, np.arange(n), 0, 0, 0
    while waiting:
        price, depths = heapq.heappop(heap)
        visit += 1
        at = begin + ranks * np.asarray(depths)
        last = not any(depths) and price >= len(trees)
        limit = np.inf if last else max(price, 1e-12) * _TOLERANCE
        classes, waiting, following, more = open_cells(
            tuples, weights, active[:waiting], at, node_at, key_of_node, forest.loss, marks, table, visit,
            *scratch, class_of, *state, classes, k, limit, last or asked < effort * _ASKED,
        )  # fmt: skip
        asked += more
        if not last:
            heapq.heappush(heap, (min(following, max(price, _FIRST_PRICE) * _REVISIT), depths))
    return _renumbered(class_of)


def _reconciled(forest: _Forest, class_of: Index, constraint: Diversity) -> Index:
    """Merge what must not be a class with what loses least by it, of those with which it becomes one if there are."""
    from microflow.anonymize.lattice import absorb, hulls, nearest

    classes, trees = int(class_of.max()) + 1, (forest.nodes, forest.loss)
    hull, loss_of, count, _, _ = hulls(*forest.placed, class_of, classes, *trees)
    profiles = constraint.profiles(class_of)
    beyond = constraint.excess(profiles)
    target = np.arange(classes)
    found, costs = np.empty(_PARTNERS, np.int64), np.empty(_PARTNERS)
    queue = [(float(count[a] * beyond[a]), int(a)) for a in np.flatnonzero(beyond)]
    heapq.heapify(queue)
    while queue:
        was, a = heapq.heappop(queue)
        if count[a] == 0 or beyond[a] == 0 or was != count[a] * beyond[a]:
            continue
        many = nearest(a, classes, hull, loss_of, count, *trees, _PARTNERS, 0.0, found, costs)
        if not many:
            break
        partners = found[:many]
        together = constraint.excess([rows[a] + rows[partners] for rows in profiles])
        rows = count[a] + count[partners]
        gain = count[a] * beyond[a] + count[partners] * beyond[partners] - rows * together
        price = np.where(together == 0, costs[:many], np.inf)
        if np.isinf(price).all():
            price = np.where(gain > 0, costs[:many] / np.maximum(gain, 1e-12), np.inf)
        b = int(partners[np.argmin(price)])
        absorb(a, b, hull, loss_of, count, *trees)
        target[b] = a
        for rows in profiles:
            rows[a] += rows[b]
        beyond[a], beyond[b] = constraint.excess([rows[[a]] for rows in profiles])[0], 0.0
        if beyond[a]:
            heapq.heappush(queue, (float(count[a] * beyond[a]), a))
    while (target != target[target]).any():
        target = target[target]
    alike = np.unique(hull[target], axis=0, return_inverse=True)[1]  # to a reader they are one class
    return np.asarray(alike.ravel()[class_of], np.int64)


def warm_lattice() -> None:
    """Load the compiled functions, which lie in files: three values in a tree of four leaves use all of them once."""
    tuples = Tuples([np.arange(4, dtype=np.int32)], np.array([2, 2, 1, 0]))
    secret = [Sensitive(np.array([0, 0, 1, 1], np.int32), 2, ordered=False)]
    settings = MethodSettings(Method.K_ANONYMITY, k=2, l_diversity=2)
    tree = Ladder([("*", "a"), ("*", "b"), ("*", "c")]).tree
    _cover(tuples, [tree], 2, 1, Diversity(np.arange(4), tuples.weights, secret, settings))
