"""Refinement of equivalence classes in a lattice: neighbours are dissolved and clustered again (k-member).

Byun et al., "Efficient k-Anonymization Using Clustering Techniques", DASFAA 2007, applied class by class to the nearest
classes only; what loses less is kept. A *hull* is the smallest cell that holds a class: one node of each column's tree.
All functions are compiled; arrays describe the trees of `microflow.anonymize.cover` in one row.
"""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["absorb", "attach", "common_loss", "hull_loss", "hulls", "join", "nearest", "refine"]

#: The most tuples of a neighbourhood.
_MEMBERS = 256
_compiled = numba.njit(cache=True, nogil=True)


@_compiled
def hull_loss(hull, tuples, t, first, last, parent, loss):  # fmt: skip
    """Loss of a class after tuple ``t`` has joined it."""
    total = 0.0
    for c in range(tuples.shape[1]):
        node, rank = hull[c], tuples[t, c]
        while rank < first[node] or rank > last[node]:
            node = parent[node]
        total += loss[node]
    return total


@_compiled
def join(hull, tuples, t, first, last, parent, loss):  # fmt: skip
    """Widen a class's hull by tuple ``t``."""
    total = 0.0
    for c in range(tuples.shape[1]):
        node, rank = hull[c], tuples[t, c]
        while rank < first[node] or rank > last[node]:
            node = parent[node]
        hull[c] = node
        total += loss[node]
    return total


@_compiled
def common_loss(a, b, first, last, parent, loss, most):  # fmt: skip
    """Loss of the union of two classes; infinity once it is above ``most``."""
    total = 0.0
    for c in range(len(a)):
        node, other = a[c], b[c]
        while first[other] < first[node] or last[other] > last[node]:
            node = parent[node]
        total += loss[node]
        if total > most:
            return np.inf
    return total


@_compiled
def hulls(tuples, weights, class_of, capacity, first, last, parent, loss, leaf, leaf_at):  # fmt: skip
    """Lowest common ancestors, loss and rows of each class, and its tuples as linked lists."""
    n, columns = tuples.shape
    hull = np.full((capacity, columns), -1, np.int64)
    loss_of, count = np.zeros(capacity), np.zeros(capacity, np.int64)
    head, links = np.full(capacity, -1, np.int64), np.full(n, -1, np.int64)
    for t in range(n):
        a = class_of[t]
        if head[a] < 0:
            for c in range(columns):
                hull[a, c] = leaf[leaf_at[c] + tuples[t, c]]
        loss_of[a] = join(hull[a], tuples, t, first, last, parent, loss)
        count[a] += weights[t]
        links[t] = head[a]
        head[a] = t
    return hull, loss_of, count, head, links


@_compiled
def nearest(a, classes, hull, loss_of, count, first, last, parent, loss, wanted, blur, found, costs):  # fmt: skip
    """The classes that lose least when merged with class ``a``, cheapest first; how many were found."""
    many = 0
    for b in range(classes):
        if b == a or count[b] == 0:
            continue
        apart, rows = count[a] * loss_of[a] + count[b] * loss_of[b], count[a] + count[b]
        jitter = 1.0 + blur * (np.random.random() - 0.5)
        most = np.inf if many < wanted else costs[many - 1] / jitter
        together = common_loss(hull[a], hull[b], first, last, parent, loss, (most + apart) / rows)
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
def absorb(a, b, hull, loss_of, count, first, last, parent, loss):  # fmt: skip
    """Class ``a`` takes class ``b``."""
    total = 0.0
    for c in range(hull.shape[1]):
        node, other = hull[a, c], hull[b, c]
        while first[other] < first[node] or last[other] > last[node]:
            node = parent[node]
        hull[a, c] = node
        total += loss[node]
    loss_of[a] = total
    count[a] += count[b]
    count[b] = 0


@_compiled
def attach(tuples, weights, class_of, first, last, parent, loss, leaf, leaf_at):  # fmt: skip
    """Each tuple without a class (-1) joins the one that loses least by it."""
    n, columns = tuples.shape
    classes = class_of.max() + 1
    hull, count = np.full((classes, columns), -1, np.int64), np.zeros(classes, np.int64)
    loss_of = np.zeros(classes)
    for t in range(n):
        b = class_of[t]
        if b >= 0:
            if count[b] == 0:
                for c in range(columns):
                    hull[b, c] = leaf[leaf_at[c] + tuples[t, c]]
            loss_of[b] = join(hull[b], tuples, t, first, last, parent, loss)
            count[b] += weights[t]
    for t in range(n):
        if class_of[t] >= 0:
            continue
        cheapest, chosen = np.inf, 0
        for b in range(classes):
            joined = hull_loss(hull[b], tuples, t, first, last, parent, loss)
            cost = count[b] * (joined - loss_of[b]) + joined
            if cost < cheapest:
                cheapest, chosen = cost, b
        class_of[t] = chosen
        loss_of[chosen] = join(hull[chosen], tuples, t, first, last, parent, loss)


@_compiled
def refine(tuples, weights, class_of, first, last, parent, loss, leaf, leaf_at, k, trials, wanted, seed):  # fmt: skip
    """Run one round: every class and its nearest ones are dissolved and clustered again, if that loses less."""
    np.random.seed(seed)
    n, columns = tuples.shape
    classes = class_of.max() + 1
    hull, loss_of, count, head, links = hulls(
        tuples, weights, class_of, n + 1, first, last, parent, loss, leaf, leaf_at
    )
    found, costs = np.empty(wanted, np.int64), np.empty(wanted)
    members, rest = np.empty(_MEMBERS, np.int64), np.empty(_MEMBERS, np.int64)
    into, best = np.empty(_MEMBERS, np.int64), np.empty(_MEMBERS, np.int64)
    parts, part_loss = np.empty((_MEMBERS, columns), np.int64), np.empty(_MEMBERS)
    part_rows, names = np.empty(_MEMBERS, np.int64), np.empty(_MEMBERS, np.int64)
    for a in np.argsort(-loss_of[:classes] * count[:classes]):
        if count[a] == 0 or loss_of[a] <= 0:
            continue
        many = nearest(a, classes, hull, loss_of, count, first, last, parent, loss, wanted, 1.0, found, costs)
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
            made, total = cluster(
                tuples, weights, members[:size], rest, into, parts, part_loss, part_rows, k, lowest,
                first, last, parent, loss, leaf, leaf_at,
            )  # fmt: skip
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
            t, b = members[i], names[best[i]]
            if count[b] == 0:
                for c in range(columns):
                    hull[b, c] = leaf[leaf_at[c] + tuples[t, c]]
                head[b] = -1
            loss_of[b] = join(hull[b], tuples, t, first, last, parent, loss)
            count[b] += weights[t]
            links[t] = head[b]
            head[b] = t
            class_of[t] = b
        if classes + _MEMBERS >= n:
            break
    return class_of


@_compiled
def cluster(tuples, weights, members, rest, into, parts, part_loss, part_rows, k, lowest,
             first, last, parent, loss, leaf, leaf_at):  # fmt: skip
    """k-member clustering from random seeds: clusters and their loss, infinity once it cannot be below ``lowest``."""
    left, made, total, rows = len(members), 0, 0.0, 0
    for i in range(left):
        rest[i] = i
        rows += weights[members[i]]
    while rows >= k:
        j = np.random.randint(left)
        i = rest[j]
        t = members[i]
        left -= 1
        rest[j] = rest[left]
        into[i] = made
        for c in range(tuples.shape[1]):
            parts[made, c] = leaf[leaf_at[c] + tuples[t, c]]
        part_rows[made], part_loss[made] = weights[t], 0.0
        rows -= weights[t]
        while part_rows[made] < k:
            cheapest, j = np.inf, -1
            for q in range(left):
                u = members[rest[q]]
                joined = hull_loss(parts[made], tuples, u, first, last, parent, loss)
                cost = (part_rows[made] + weights[u]) * joined - part_rows[made] * part_loss[made]
                cost *= (1.0 + 0.2 * np.random.random()) / weights[u]
                if cost < cheapest:
                    cheapest, j = cost, q
            i = rest[j]
            t = members[i]
            left -= 1
            rest[j] = rest[left]
            into[i] = made
            part_loss[made] = join(parts[made], tuples, t, first, last, parent, loss)
            part_rows[made] += weights[t]
            rows -= weights[t]
        total += part_rows[made] * part_loss[made]
        made += 1
        if total >= lowest:
            return made, np.inf
    while left > 0:
        left -= 1
        i = rest[left]
        t = members[i]
        cheapest, b = np.inf, 0
        for q in range(made):
            joined = hull_loss(parts[q], tuples, t, first, last, parent, loss)
            cost = (part_rows[q] + weights[t]) * joined - part_rows[q] * part_loss[q]
            if cost < cheapest:
                cheapest, b = cost, q
        into[i] = b
        total += cheapest
        part_loss[b] = join(parts[b], tuples, t, first, last, parent, loss)
        part_rows[b] += weights[t]
        if total >= lowest:
            return made, np.inf
    return made, total
