"""Local recoding in the generalisation lattice: each tuple is released at the cheapest cell that k rows can share.

A *cell* is one node of every column's hierarchy; the cells of one depth vector are one element of the generalisation
lattice (Samarati, TKDE 2001). Full-domain recoding releases all rows at one element; *local* recoding lets every tuple
of quasi-identifiers have an element of its own, which loses far less (ARX does so by repeating its full-domain search
over what it suppressed).

Here cells are opened in the order of their *price*, as facilities are in the greedy algorithm of Jain, Mahdian and
Saberi (STOC 2002): what the cell costs by each waiting row that it takes, with the loss of what it borrows from classes
that are open already. It may borrow single tuples that their class can spare, or a whole class. The price decides when
to stop waiting for a better company, and tuples with k rows of their own are released as they are, at price 0.

Afterwards `refine` takes some neighbouring classes apart again and again, and clusters their tuples again (k-member,
Byun et al., DASFAA 2007); what loses less is kept. All of it works on distinct tuples, counts no clock and draws
nothing at random but from a fixed seed, so that equal counts give equal classes.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np

from microflow.anonymize.axes import Codes, Floats, Index, Tree
from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.diversity import Diversity, Sensitive
from microflow.anonymize.refine import absorb, attach, hulls, nearest, refine

__all__ = ["MOST_ELEMENTS", "MOST_TUPLES", "cover", "lattice_size", "warm"]

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


def lattice_size(trees: Sequence[Tree]) -> int:
    """Number of elements in the generalisation lattice of some columns."""
    return math.prod(len(tree.nodes) for tree in trees)


def cover(
    ranks: Sequence[Codes], weights: Index, trees: Sequence[Tree], k: int, *,
    effort: int = 1, constraint: Diversity | None = None,
) -> Codes:  # fmt: skip
    """The class of each distinct tuple (0, 1, …); every class holds ``k`` rows and obeys the constraint.

    Args:
        ranks: One array of ranks a column.
        weights: Rows of each tuple, or persons; a tuple whose persons are counted elsewhere has none.
        trees: The columns' hierarchies.
        k: The fewest rows of a class.
        effort: Rounds of refinement, and how many tuples are asked to lend themselves before the search falls back on
            waiting tuples alone.
        constraint: What a class must satisfy besides; classes that do not are merged with the nearest ones.

    Returns:
        Classes without gaps; all are -1 where not even the whole can be one class.
    """
    tuples = np.ascontiguousarray(np.stack(ranks, axis=1), np.int64)
    everything = np.zeros(len(weights), np.int64)
    whole_may_be = constraint is None or constraint.allows(np.arange(len(weights)), everything, 1)[0]
    if int(weights.sum()) < k or not whole_may_be:
        return np.full(len(weights), -1, np.int32)
    forest = _Forest.of(trees)
    some = np.flatnonzero(weights)
    found = _opened(tuples[some], weights[some], trees, forest, k, effort)
    for turn in range(effort):
        found = _renumbered(refine(tuples[some], weights[some], found, *forest.arrays, k, _TRIALS, _NEIGHBOURS, turn))
    class_of = np.full(len(weights), -1, np.int64)
    class_of[some] = found
    if len(some) < len(weights):
        attach(tuples, weights, class_of, *forest.arrays)
    while constraint is not None:
        class_of = _reconciled(tuples, weights, class_of, forest, constraint)
        # A person with rows in two classes was counted in both when they were merged: count again until it is right.
        if not class_of.max() or not constraint.excess(constraint.profiles(class_of)).any():
            break
    return class_of.astype(np.int32)


def _reconciled(tuples: Index, weights: Index, class_of: Index, forest: _Forest, constraint: Diversity) -> Index:
    """Merge what must not be a class with what loses least by it, of those with which it becomes one if there are."""
    nodes = forest.arrays[:4]
    classes = int(class_of.max()) + 1
    hull, loss_of, count, _, _ = hulls(tuples, weights, class_of, classes, *forest.arrays)
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
        many = nearest(a, classes, hull, loss_of, count, *nodes, _PARTNERS, 0.0, found, costs)
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
        absorb(a, b, hull, loss_of, count, *nodes)
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


def warm() -> None:
    """Load the compiled functions, which lie in files: four tuples in a tree of four leaves use all of them once."""
    tree = Tree(
        nodes=np.array([[0, 0, 0, 0], [1, 2, 3, 4]]),
        first=np.array([0, 0, 1, 2, 3]),
        last=np.array([3, 0, 1, 2, 3]),
        parent=np.array([-1, 0, 0, 0, 0]),
        loss=np.array([1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    ranks, weights = np.arange(4, dtype=np.int32), np.array([2, 2, 1, 0])
    settings = MethodSettings(Method.K_ANONYMITY, k=2, l_diversity=2)
    secret = [Sensitive(np.array([0, 0, 1, 1], np.int32), 2, ordered=False)]
    cover([ranks], weights, [tree], 2, constraint=Diversity(np.arange(4), weights, secret, settings))


def _renumbered(class_of: Index) -> Index:
    return np.unique(class_of, return_inverse=True)[1].astype(np.int64)


@dataclass(frozen=True)
class _Forest:
    """The nodes of all trees in one row of arrays, and the leaf of each rank: column c's begin at ``leaf_at[c]``."""

    first: Index
    last: Index
    parent: Index
    loss: Floats
    leaf: Index
    leaf_at: Index

    @classmethod
    def of(cls, trees: Sequence[Tree]) -> _Forest:
        shift = np.cumsum([0, *(len(tree.first) for tree in trees)])
        return cls(
            np.concatenate([tree.first for tree in trees]),
            np.concatenate([tree.last for tree in trees]),
            np.concatenate([np.where(t.parent < 0, -1, t.parent + s) for t, s in zip(trees, shift, strict=False)]),
            np.concatenate([tree.loss for tree in trees]),
            np.concatenate([t.nodes[-1] + s for t, s in zip(trees, shift, strict=False)]),
            np.cumsum([0, *(tree.nodes.shape[1] for tree in trees)])[:-1],
        )

    @property
    def arrays(self) -> tuple[Index, Index, Index, Floats, Index, Index]:
        return self.first, self.last, self.parent, self.loss, self.leaf, self.leaf_at


def _opened(tuples: Index, weights: Index, trees: Sequence[Tree], forest: _Forest, k: int, effort: int) -> Index:
    """Open cells in the order of their price until every tuple has a class."""
    n, columns = tuples.shape
    random = np.random.default_rng(1)
    key_of_node = random.integers(1, 1 << 63, len(forest.first), dtype=np.uint64)
    shift = np.cumsum([0, *(len(tree.first) for tree in trees)])
    node_at = np.concatenate([(tree.nodes + s).ravel() for tree, s in zip(trees, shift, strict=False)])
    begin = np.cumsum([0, *(tree.nodes.size for tree in trees)])[:-1]
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
    state = (np.full(n, -1, np.int64), np.zeros(2 * n + 2, np.int64), np.zeros(2 * n + 2))
    table = np.zeros((4, 1 << (2 * n).bit_length()), np.int64)
    scratch = (np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n), np.full((2, 2 * n + 2), -1, np.int64))
    marks = np.zeros(len(forest.first), np.int64)
    waiting, active, classes, visit, asked = n, np.arange(n), 0, 0, 0
    while waiting:
        price, depths = heapq.heappop(heap)
        visit += 1
        at = np.asarray([begin[c] + depth * trees[c].nodes.shape[1] for c, depth in enumerate(depths)])
        last = not any(depths) and price >= columns
        limit = np.inf if last else max(price, 1e-12) * _TOLERANCE
        classes, waiting, following, more = _visit(
            tuples, weights, active[:waiting], at, node_at, key_of_node, forest.loss, marks, table, visit,
            *scratch, *state, classes, k, limit, last or asked < effort * _ASKED,
        )  # fmt: skip
        asked += more
        if not last:
            heapq.heappush(heap, (min(following, max(price, _FIRST_PRICE) * _REVISIT), depths))
    return _renumbered(state[0])


_compiled = numba.njit(cache=True, nogil=True)


@_compiled
def _loss_at(tuples, t, at, node_at, loss):  # fmt: skip
    """What tuple ``t`` loses at a depth of each column."""
    total = 0.0
    for c in range(tuples.shape[1]):
        total += loss[node_at[at[c] + tuples[t, c]]]
    return total


@_compiled
def _slot(keys, stamps, visit, key):  # fmt: skip
    """The place of a cell's key in the table of a visit, or a free one."""
    mask = len(keys) - 1
    s = np.int64(key >> np.uint64(20)) & mask
    while stamps[s] == visit and keys[s] != np.int64(key):
        s = (s + 1) & mask
    return s


@_compiled
def _visit(tuples, weights, active, at, node_at, key_of_node, loss, marks, table, visit, links, chosen, values,
           mine, class_of, count, loss_of, classes, k, limit, may_ask):  # fmt: skip
    n, columns = tuples.shape
    skeys, sstamp, sactive, shead = table[0], table[1], table[2], table[3]
    seen, stamps = mine[0], mine[1]
    waiting = len(active)
    cells = np.empty(waiting, np.int64)
    ncells = 0
    asked = 0
    for i in range(waiting):
        t = active[i]
        h = np.uint64(0)
        for c in range(columns):
            h += key_of_node[node_at[at[c] + tuples[t, c]]]
        s = _slot(skeys, sstamp, visit, h)
        if sstamp[s] != visit:
            sstamp[s] = visit
            skeys[s] = np.int64(h)
            sactive[s] = 0
            shead[s] = -1
            cells[ncells] = s
            ncells += 1
        sactive[s] += weights[t]
        links[t] = shead[s]
        shead[s] = t
    if may_ask:
        for q in range(ncells):
            s = cells[q]
            t = shead[s]
            if sactive[s] < k and _loss_at(tuples, t, at, node_at, loss) <= limit:
                asked = n
                while t >= 0:
                    for c in range(columns):
                        marks[node_at[at[c] + tuples[t, c]]] = visit
                    t = links[t]
        for t in range(asked):
            A = class_of[t]
            if A < 0:
                continue
            h = np.uint64(0)
            ok = True
            for c in range(columns):
                node = node_at[at[c] + tuples[t, c]]
                if marks[node] != visit:
                    ok = False
                    break
                h += key_of_node[node]
            if not ok:
                continue
            s = _slot(skeys, sstamp, visit, h)
            if sstamp[s] != visit or sactive[s] >= k:
                continue
            links[t] = shead[s]
            shead[s] = t
    following = np.inf
    for q in range(ncells):
        s = cells[q]
        t = shead[s]
        g = _loss_at(tuples, t, at, node_at, loss)
        if g > limit:
            following = min(following, g)
            continue
        need = k - sactive[s]
        mode = 0
        bA = -1
        m = 0
        cut = 0
        if need > 0:
            best = np.inf
            spare = 0
            highest = 0.0
            while t >= 0:
                A = class_of[t]
                if A >= 0:
                    if count[A] - weights[t] >= k:
                        chosen[m] = t
                        values[m] = -loss_of[A]
                        m += 1
                        spare += weights[t]
                        highest = max(highest, loss_of[A])
                    if stamps[A] != visit * n + q:
                        stamps[A] = visit * n + q
                        seen[A] = 0
                    seen[A] += weights[t]
                    if seen[A] == count[A]:
                        x = count[A] * (g - loss_of[A])
                        if x < best:
                            best = x
                            bA = A
                            mode = 1
                t = links[t]
            bound = best
            if spare >= need and need * (g - highest) < bound:
                bound = need * (g - highest)
            if g + bound / sactive[s] > limit:
                following = min(following, g + bound / sactive[s])
                continue
            if spare < need:
                m = 0
            order = np.argsort(values[:m])
            rem = need
            x = 0.0
            for j in range(m):
                u = chosen[order[j]]
                A = class_of[u]
                if count[A] - weights[u] < k:
                    chosen[order[j]] = -1
                    cut = j + 1
                    continue
                count[A] -= weights[u]
                x += weights[u] * (g + values[order[j]])
                rem -= weights[u]
                cut = j + 1
                if rem <= 0 or x >= best:
                    break
            for j in range(cut):
                u = chosen[order[j]]
                if u >= 0:
                    count[class_of[u]] += weights[u]
            if rem <= 0 and x < best:
                mode = 2
                best = x
            if mode == 0:
                continue
            price = g + best / sactive[s]
            if price > limit:
                following = min(following, price)
                continue
        N = classes
        classes += 1
        loss_of[N] = g
        count[N] = 0
        if mode == 2:
            for j in range(cut):
                u = chosen[order[j]]
                if u >= 0:
                    count[class_of[u]] -= weights[u]
                    class_of[u] = N
                    count[N] += weights[u]
        t = shead[s]
        while t >= 0:
            if class_of[t] < 0 or (mode == 1 and class_of[t] == bA):
                class_of[t] = N
                count[N] += weights[t]
            t = links[t]
        if mode == 1:
            count[bA] = 0
    out = 0
    for i in range(waiting):
        if class_of[active[i]] < 0:
            active[out] = active[i]
            out += 1
    return classes, out, following, asked
