"""The compiled loops of local recoding in the generalisation lattice: cells are opened, then classes are refined.

A *cell* is one node of every column's hierarchy; the cells of one depth vector are an element of the lattice (Samarati,
TKDE 2001). A *hull* is the smallest cell that holds a class. `microflow.anonymize.recode` passes the same arrays:
``tuples[t, c]`` is the rank of distinct tuple ``t`` in column ``c``, ``leaves[t, c]`` its node, ``weights[t]`` its
rows, ``class_of[t]`` its class (-1: none yet). ``nodes[i]`` is the lowest rank, the highest rank and the parent of node
``i`` of any column, ``loss[i]`` what it loses. ``hull[a]``, ``loss_of[a]`` and ``count[a]`` describe class ``a``, whose
tuples are ``head[a]``, ``links[head[a]]`` and so on.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["absorb", "attach", "hulls", "nearest", "open_cells", "refine"]

#: The most tuples of a neighbourhood.
_MEMBERS = 256
_compiled = numba.njit(cache=True, nogil=True)
#: A call with many arrays takes longer than most offers.
_inlined = numba.njit(cache=True, nogil=True, inline="always")


@_inlined
def _loss_at(tuples, t, at, node_at, loss):
    """Loss of tuple ``t`` in an element: ``node_at[at[c] + rank]`` is its node in column ``c``."""
    total = 0.0
    for c in range(tuples.shape[1]):
        total += loss[node_at[at[c] + tuples[t, c]]]
    return total


@_inlined
def _slot(keys, stamps, visit, key):
    """The place of a cell's key in the table of a visit, or a free one."""
    mask = len(keys) - 1
    s = np.int64(key >> np.uint64(20)) & mask
    while stamps[s] == visit and keys[s] != np.int64(key):
        s = (s + 1) & mask
    return s


@_inlined
def _gather(tuples, weights, active, at, node_at, key_of_node, table, visit, links):
    """Link the waiting tuples of each cell; the places of the cells in the table, which holds rows and head of each."""
    keys, stamps, rows, heads = table[0], table[1], table[2], table[3]
    cells, many = np.empty(len(active), np.int64), 0
    for i in range(len(active)):  # faster than iteration over the array
        t, key = active[i], np.uint64(0)
        for c in range(tuples.shape[1]):
            key += key_of_node[node_at[at[c] + tuples[t, c]]]
        s = _slot(keys, stamps, visit, key)
        if stamps[s] != visit:
            stamps[s], keys[s], rows[s], heads[s] = visit, np.int64(key), 0, -1
            cells[many] = s
            many += 1
        rows[s] += weights[t]
        links[t] = heads[s]
        heads[s] = t
    return cells[:many]


@_inlined
def _ask(tuples, class_of, cells, at, node_at, key_of_node, loss, marks, table, visit, links, k, limit):
    """Link the tuples of classes that lie in a small and affordable cell, too; how many tuples were asked."""
    keys, stamps, rows, heads = table[0], table[1], table[2], table[3]
    asked = 0
    for q in range(len(cells)):
        s, t = cells[q], heads[cells[q]]
        if rows[s] < k and _loss_at(tuples, t, at, node_at, loss) <= limit:
            asked = len(tuples)
            while t >= 0:
                for c in range(tuples.shape[1]):
                    marks[node_at[at[c] + tuples[t, c]]] = visit
                t = links[t]
    for t in range(asked):
        if class_of[t] < 0:
            continue
        key, inside = np.uint64(0), True
        for c in range(tuples.shape[1]):
            node = node_at[at[c] + tuples[t, c]]
            if marks[node] != visit:
                inside = False
                break
            key += key_of_node[node]
        if inside:
            s = _slot(keys, stamps, visit, key)
            if stamps[s] == visit and rows[s] < k:
                links[t] = heads[s]
                heads[s] = t
    return asked


@_inlined
def _offer(t, rows, own, stamp, limit, k, weights, links, chosen, values, tally, class_of, count, loss_of):
    """Price of a cell of tuple ``t`` and its links; the class it borrows, or -1; how many of ``chosen`` (-1: none)."""
    seen, stamps = tally[0], tally[1]
    need, best, lender = k - rows, np.inf, -1
    many, spare, highest = 0, 0, 0.0
    while t >= 0:
        a = class_of[t]
        if a >= 0:
            if count[a] - weights[t] >= k:
                chosen[many], values[many] = t, -loss_of[a]
                many += 1
                spare += weights[t]
                highest = max(highest, loss_of[a])
            if stamps[a] != stamp:
                stamps[a], seen[a] = stamp, 0
            seen[a] += weights[t]
            if seen[a] == count[a] and count[a] * (own - loss_of[a]) < best:
                best, lender = count[a] * (own - loss_of[a]), a
        t = links[t]
    bound = min(best, need * (own - highest)) if spare >= need else best
    if own + bound / rows > limit or spare < need:
        return own + bound / rows, lender, 0
    order, cut, cost = np.argsort(values[:many]), 0, 0.0
    for j in order:
        u = chosen[j]
        a = class_of[u]
        cut += 1
        if count[a] - weights[u] < k:
            chosen[j] = -1
            continue
        count[a] -= weights[u]
        cost += weights[u] * (own - loss_of[a])
        need -= weights[u]
        if need <= 0 or cost >= best:
            break
    for j in order[:cut]:
        if chosen[j] >= 0:
            count[class_of[chosen[j]]] += weights[chosen[j]]
    if need > 0 or cost >= best:
        return own + best / rows, lender, 0
    chosen[:cut] = chosen[order[:cut]]
    return own + cost / rows, -1, cut


@_compiled
def open_cells(tuples, weights, active, at, node_at, key_of_node, loss, marks, table, visit, links, chosen, values,
               tally, class_of, count, loss_of, classes, k, limit, may_ask):  # fmt: skip
    """Open the cells of one element whose price is at most ``limit``; ``active`` are the tuples without a class.

    Returns how many classes there are and tuples wait (first in ``active``), the lowest price above the limit, and how
    many tuples were asked to lend themselves.
    """
    cells = _gather(tuples, weights, active, at, node_at, key_of_node, table, visit, links)
    rows_of, heads, asked, following = table[2], table[3], 0, np.inf
    if may_ask:
        asked = _ask(tuples, class_of, cells, at, node_at, key_of_node, loss, marks, table, visit, links, k, limit)
    for q in range(len(cells)):
        rows, t = rows_of[cells[q]], heads[cells[q]]
        price = own = _loss_at(tuples, t, at, node_at, loss)
        lender, cut = -1, 0
        if own <= limit and rows < k:
            price, lender, cut = _offer(
                t, rows, own, visit * len(tuples) + q, limit, k, weights, links, chosen, values, tally, class_of, count,
                loss_of,
            )  # fmt: skip
        if price > limit or price == np.inf:
            following = min(following, price)
            continue
        loss_of[classes], count[classes] = own, 0
        for u in chosen[:cut]:
            if u >= 0:
                count[class_of[u]] -= weights[u]
                class_of[u] = classes
                count[classes] += weights[u]
        while t >= 0:
            if class_of[t] < 0 or class_of[t] == lender:
                class_of[t] = classes
                count[classes] += weights[t]
            t = links[t]
        if lender >= 0:
            count[lender] = 0
        classes += 1
    waiting = 0
    for i in range(len(active)):
        if class_of[active[i]] < 0:
            active[waiting] = active[i]
            waiting += 1
    return classes, waiting, following, asked


@_compiled
def _above(node, low, high, nodes):
    """The lowest node at or above another that holds some ranks."""
    while low < nodes[node, 0] or high > nodes[node, 1]:
        node = nodes[node, 2]
    return node


@_compiled
def _common_loss(a, b, nodes, loss, most):
    """Loss of two hulls merged; infinity once it is above ``most``. A tuple's leaves are a hull, too."""
    total = 0.0
    for c in range(len(a)):
        total += loss[_above(a[c], nodes[b[c], 0], nodes[b[c], 1], nodes)]
        if total > most:
            return np.inf
    return total


@_compiled
def _join(a, b, nodes, loss):
    """Widen hull ``a`` by another; what it loses then."""
    total = 0.0
    for c in range(len(a)):
        a[c] = _above(a[c], nodes[b[c], 0], nodes[b[c], 1], nodes)
        total += loss[a[c]]
    return total


@_compiled
def _put(t, a, leaves, weights, nodes, loss, hull, loss_of, count, head, links):
    """Tuple ``t`` becomes one of class ``a``."""
    if head[a] < 0:
        hull[a, :] = leaves[t]
    loss_of[a] = _join(hull[a], leaves[t], nodes, loss)
    count[a] += weights[t]
    links[t] = head[a]
    head[a] = t


@_compiled
def hulls(leaves, weights, class_of, capacity, nodes, loss):
    """Lowest common ancestors, loss and rows of each class, and its tuples as linked lists."""
    hull = np.full((capacity, leaves.shape[1]), -1, np.int64)
    loss_of, count = np.zeros(capacity), np.zeros(capacity, np.int64)
    head, links = np.full(capacity, -1, np.int64), np.full(len(leaves), -1, np.int64)
    for t in range(len(leaves)):
        if class_of[t] >= 0:
            _put(t, class_of[t], leaves, weights, nodes, loss, hull, loss_of, count, head, links)
    return hull, loss_of, count, head, links


@_compiled
def nearest(a, classes, hull, loss_of, count, nodes, loss, wanted, blur, found, costs):
    """The classes that lose least when merged with class ``a``, cheapest first; how many were found."""
    many = 0
    for b in range(classes):
        if b == a or count[b] == 0:
            continue
        apart, rows = count[a] * loss_of[a] + count[b] * loss_of[b], count[a] + count[b]
        jitter = 1.0 + blur * (np.random.random() - 0.5)
        most = np.inf if many < wanted else costs[many - 1] / jitter
        together = _common_loss(hull[a], hull[b], nodes, loss, (most + apart) / rows)
        cost = (together * rows - apart) * jitter
        if many == wanted and not cost < costs[many - 1]:
            continue
        place = many if many < wanted else wanted - 1
        while place > 0 and costs[place - 1] > cost:
            costs[place], found[place] = costs[place - 1], found[place - 1]
            place -= 1
        costs[place], found[place] = cost, b
        many = min(many + 1, wanted)
    return many


@_compiled
def absorb(a, b, hull, loss_of, count, nodes, loss):
    """Class ``a`` takes class ``b``."""
    loss_of[a] = _join(hull[a], hull[b], nodes, loss)
    count[a] += count[b]
    count[b] = 0


@_compiled
def attach(leaves, weights, class_of, nodes, loss):
    """Each tuple without a class (-1) joins the one that loses least by it."""
    hull, loss_of, count, _, _ = hulls(leaves, weights, class_of, class_of.max() + 1, nodes, loss)
    for t in range(len(leaves)):
        if class_of[t] >= 0:
            continue
        cheapest, chosen = np.inf, 0
        for b in range(len(count)):
            joined = _common_loss(hull[b], leaves[t], nodes, loss, np.inf)
            cost = count[b] * (joined - loss_of[b]) + joined
            if cost < cheapest:
                cheapest, chosen = cost, b
        class_of[t] = chosen
        loss_of[chosen] = _join(hull[chosen], leaves[t], nodes, loss)


@_compiled
def refine(leaves, weights, class_of, nodes, loss, k, trials, wanted, seed):
    """One round: every class and its nearest ones are taken apart and clustered again, where that loses less."""
    np.random.seed(seed)
    n, classes = len(leaves), class_of.max() + 1
    hull, loss_of, count, head, links = hulls(leaves, weights, class_of, n + 1, nodes, loss)
    found, costs = np.empty(wanted, np.int64), np.empty(wanted)
    members, names, best = np.empty(_MEMBERS, np.int64), np.empty(_MEMBERS, np.int64), np.empty(_MEMBERS, np.int64)
    rest, into = np.empty(_MEMBERS, np.int64), np.empty(_MEMBERS, np.int64)
    for a in np.argsort(-loss_of[:classes] * count[:classes]):
        if count[a] == 0 or loss_of[a] <= 0:
            continue
        many = nearest(a, classes, hull, loss_of, count, nodes, loss, wanted, 1.0, found, costs)
        size, used, before = 0, 0, 0.0
        for i in range(many + 1):
            b = a if i == 0 else found[i - 1]
            filled, t = size, head[b]
            while t >= 0 and filled < _MEMBERS:
                members[filled] = t
                filled += 1
                t = links[t]
            if t >= 0:
                break
            names[used] = b
            used, size, before = used + 1, filled, before + count[b] * loss_of[b]
        if used < 2:
            continue
        lowest, most = before - 1e-9, 0
        for _ in range(trials):
            made, total = _cluster(leaves, weights, members[:size], rest, into, k, lowest, nodes, loss)
            if total < lowest:
                lowest, most = total, made
                best[:size] = into[:size]
        if most == 0:
            continue
        for i in range(used):
            head[names[i]], count[names[i]] = -1, 0
        for i in range(used, most):
            names[i] = classes
            classes += 1
        for i in range(size):
            t = members[i]
            class_of[t] = names[best[i]]
            _put(t, class_of[t], leaves, weights, nodes, loss, hull, loss_of, count, head, links)
        if classes + _MEMBERS >= n:
            break
    return class_of


@_compiled
def _cluster(leaves, weights, members, rest, into, k, lowest, nodes, loss):
    """k-member clustering (Byun et al., DASFAA 2007): clusters and loss, infinite if not below ``lowest``."""
    left, made, total, rows = len(members), 0, 0.0, 0
    hull, loss_of, count = np.empty((left, leaves.shape[1]), np.int64), np.empty(left), np.empty(left, np.int64)
    for i in range(left):
        rest[i] = i
        rows += weights[members[i]]
    while rows >= k:
        j = np.random.randint(left)
        loss_of[made], count[made] = 0.0, 0
        while True:
            i = rest[j]
            t = members[i]
            left -= 1
            rest[j] = rest[left]
            into[i] = made
            if count[made] == 0:
                hull[made, :] = leaves[t]
            else:
                loss_of[made] = _join(hull[made], leaves[t], nodes, loss)
            count[made] += weights[t]
            rows -= weights[t]
            if count[made] >= k:
                break
            cheapest, j = np.inf, -1
            for q in range(left):
                u = members[rest[q]]
                joined = _common_loss(hull[made], leaves[u], nodes, loss, np.inf)
                cost = (count[made] + weights[u]) * joined - count[made] * loss_of[made]
                cost *= (1.0 + 0.2 * np.random.random()) / weights[u]
                if cost < cheapest:
                    cheapest, j = cost, q
        total += count[made] * loss_of[made]
        made += 1
        if total >= lowest:
            return made, np.inf
    for i in rest[:left][::-1]:
        t = members[i]
        cheapest, b = np.inf, 0
        for q in range(made):
            joined = _common_loss(hull[q], leaves[t], nodes, loss, np.inf)
            cost = (count[q] + weights[t]) * joined - count[q] * loss_of[q]
            if cost < cheapest:
                cheapest, b = cost, q
        into[i] = b
        total += cheapest
        loss_of[b] = _join(hull[b], leaves[t], nodes, loss)
        count[b] += weights[t]
        if total >= lowest:
            return made, np.inf
    return made, total
