"""Compiled inner loops of CASTLE: the loss that a record adds to each cluster, and the division of a cluster."""

from __future__ import annotations

import numba
import numpy as np

__all__ = ["common_length", "note_added", "note_gain", "split_cluster"]

_compiled = numba.njit(cache=True, nogil=True)


@_compiled
def note_added(row, rows, weights, gains, codes, equal, added, near):  # fmt: skip
    """Note for each slot the entries by which a point exceeds it, weighed, and the gains of its codes.

    Returns how many slots have the least, which are noted in ``near``, and the least.
    """
    slots, width = rows.shape
    least = np.inf
    for s in range(slots):
        total = 0.0
        for j in range(width):
            beyond = row[j] - rows[s, j]
            if beyond > 0.0:  # never where one of them is not a number
                total += beyond * weights[j]
        for t in range(len(gains)):
            total += gains[t][codes[t], s]
        added[s] = total
        least = min(least, total)
    count = 0
    for s in range(slots):
        if added[s] <= least + equal:
            near[count] = s
            count += 1
    return count, least


@_compiled
def common_length(node, length, path):  # fmt: skip
    """Number of levels that two paths share from the root down."""
    for level in range(length):
        if node[level] != path[level]:
            return level
    return length


@_compiled
def note_gain(node, length, levels, first, last, steps, gain, slot):  # fmt: skip
    """Note the loss that values would add to a slot's node: the steps of its own levels in which they differ."""
    for code in range(first, last):
        total = 0.0
        for level in range(length):
            if levels[code, level] != node[level]:
                total += steps[level]
        gain[code, slot] = total


@_compiled
def _apart(a, b, rows, weights, traits, steps):  # fmt: skip
    """What two records lose together."""
    total = 0.0
    for j in range(rows.shape[1]):
        beyond = rows[a, j] - rows[b, j]
        if beyond > 0.0:
            total += beyond * weights[j]
    for j in range(traits.shape[1]):
        if traits[a, j] != traits[b, j]:
            total += steps[j]
    return total


@_compiled
def split_cluster(rows, weights, traits, steps, persons, k, group_of):  # fmt: skip
    """Groups of k persons or more: the first record and its nearest, and so on; the rest with the nearest centre.

    ``group_of`` is -1 everywhere and becomes the group of each record; returns how many groups there are.
    """
    n = len(persons)
    left, centres = np.arange(n), np.empty(n, np.int64)
    apart, seen = np.empty(n), np.full(n, -1, np.int64)
    many, groups = n, 0
    while many >= k:
        centre = left[0]
        for i in range(many):
            apart[i] = _apart(centre, left[i], rows, weights, traits, steps)
        # The centre is at no distance from itself, and a stable order keeps it before others that are not either.
        order = np.argsort(apart[:many], kind="mergesort")
        found, end = 0, 0
        while end < many and found < k:
            person = persons[left[order[end]]]
            if seen[person] != groups:
                seen[person] = groups
                found += 1
            end += 1
        if found < k:
            break
        for i in range(end):
            group_of[left[order[i]]] = groups
        centres[groups] = centre
        groups += 1
        kept = 0
        for i in range(many):
            if group_of[left[i]] < 0:
                left[kept] = left[i]
                kept += 1
        many = kept
    for i in range(many):
        nearest = np.inf
        for g in range(groups):
            distance = _apart(left[i], centres[g], rows, weights, traits, steps)
            if distance < nearest:
                nearest = distance
                group_of[left[i]] = g
    return groups
