"""l-diversity and t-closeness: the requirements of every sensitive column on a class besides k rows.

- *Distinct* l-diversity: at least l different values. *Entropy* l-diversity (Machanavajjhala et al., TKDD 2007): the
  entropy of the values is at least log(l). *Recursive* (c, l)-diversity (the same): the most frequent value has fewer
  rows than c times those of the l-th most frequent and all rarer ones together.
- *t-closeness* (Li, Li and Venkatasubramanian, ICDE 2007): the earth mover's distance between the class's distribution
  and everybody's is at most t, with equal ground distance (half the L1 distance), or with ordered distance where the
  descriptor calls the categories ordered.

A missing sensitive value counts as a value. Numeric sensitive columns are left out: 1,000 and 1,001 are two values and
one secret.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from microflow.anonymize.axes import Codes, Flags, Floats, Index
from microflow.anonymize.contract import MethodSettings
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Role

__all__ = ["Diversity", "Reached", "Sensitive", "diverse_columns"]

#: Rounding of sums of floats must not turn a class away that satisfies the bound exactly.
_SLACK = 1e-9


@dataclass(frozen=True)
class Sensitive:
    """One sensitive column: the rank of each cell's value, how many ranks there are, and whether they have an order."""

    ranks: Codes
    size: int
    ordered: bool


def diverse_columns(settings: MethodSettings, schema: DatasetSchema) -> list[Column]:
    """The columns that must be diverse; none where no diversity is asked for.

    Raises:
        MicroflowError: diversity is asked for, and there is no column to hold it in.
    """
    if settings.l_diversity <= 1 and settings.t_closeness >= 1:
        return []
    columns = [column for column in schema.with_role(Role.SENSITIVE) if not column.is_numeric]
    if not columns:
        raise MicroflowError(
            f"schema {schema.name!r} has no sensitive column that l-diversity or t-closeness could be held in",
            hint="give a column that is not a number the role 'sensitive'",
        )
    return columns


class Reached(NamedTuple):
    """Measures of classes in one sensitive column: least l (by entropy if required), greatest t and c.

    Of recursive (c', l)-diversity every c' above ``c`` holds; 0 where it was not asked for.
    """

    l_diversity: float = math.inf
    t_closeness: float = 0.0
    recursive_c: float = 0.0

    def weaker(self, other: Reached) -> Reached:
        """Combination of both: the weaker of each measure."""
        return Reached(min(self[0], other[0]), max(self[1], other[1]), max(self[2], other[2]))


class Diversity:
    """The constraint over cells: cell ``i`` is ``weights[i]`` equal rows of tuple ``owner[i]``.

    Where ``persons`` says whose they are, a person counts once for each different value. ``everybody`` are the shares
    of each column's values that classes are held against; by default those of all cells.
    """

    def __init__(
        self,
        owner: Index,
        weights: Index,
        columns: Sequence[Sensitive],
        settings: MethodSettings,
        *,
        persons: Codes | None = None,
        everybody: list[Floats] | None = None,
    ) -> None:
        self._owner = owner
        self._weights = weights
        self._persons = persons
        self._columns = columns
        self._asked = settings
        self._tuples = int(owner.max(initial=-1)) + 1
        self._everybody = [self._shares(column) for column in columns] if everybody is None else everybody

    def among(self, kept: Index) -> Diversity:
        """Constraint on some of the tuples: ``i`` is ``kept[i]`` here; t still compares with all rows."""
        place = np.full(self._tuples, -1, np.int64)
        place[kept] = np.arange(len(kept))
        owner = place[self._owner]
        inside = owner >= 0
        columns = [replace(column, ranks=column.ranks[inside]) for column in self._columns]
        persons = None if self._persons is None else self._persons[inside]
        return Diversity(
            owner[inside], self._weights[inside], columns, self._asked, persons=persons, everybody=self._everybody
        )

    def allows(self, members: Index, groups: Index, count: int) -> Flags:
        """Flags of the ``count`` groups that may be a class; tuple ``members[i]`` belongs to ``groups[i]``."""
        allowed = np.ones(count, np.bool_)
        for column, cells in enumerate(self._cells(members, groups)):
            for excess in self._excesses(column, *cells, count):
                allowed &= excess == 0
        return allowed

    def profiles(self, class_of: Index) -> list[Floats]:
        """Rows (or persons) of each class with each value, by column; ``class_of`` is by tuple."""
        count = int(class_of.max(initial=-1)) + 1
        found = []
        for column in self._columns:
            keys, rows = self._counted(class_of[self._owner] * column.size + column.ranks, slice(None))
            counted = np.bincount(keys, rows, count * column.size).astype(np.float64)
            found.append(counted.reshape(count, column.size))
        return found

    def excess(self, profiles: Sequence[Floats]) -> Floats:
        """Excess of each class over the limits, from its `profiles`; 0 for a class that is allowed."""
        beyond = np.zeros(len(profiles[0]))
        for column, rows in enumerate(profiles):
            group, rank = np.nonzero(rows)
            share = rows[group, rank] / rows.sum(axis=1)[group]
            for excess in self._excesses(column, group, rank, share, len(rows)):
                beyond += excess
        return beyond

    def _excesses(self, column: int, group: Index, rank: Index, share: Floats, count: int) -> Iterator[Floats]:
        """For each thing that is asked for by how much each group exceeds it, 0 where it does not."""
        asked, cells = self._asked, (group, rank, share, count)
        if asked.l_entropy:
            yield np.maximum(0, np.log(asked.l_diversity) - _SLACK - _entropies(*cells))
        elif asked.l_diversity > 1:
            yield np.maximum(0, asked.l_diversity - np.bincount(group, minlength=count)) / asked.l_diversity
        if asked.l_recursive:
            ratio = _recursive_c(*cells, asked.l_diversity) / (asked.l_recursive * (1 - _SLACK))
            yield np.where(ratio >= 1, 1 - 1 / (1 + ratio), 0.0)
        if asked.t_closeness < 1:
            yield np.maximum(0, self._distances(column, *cells) - asked.t_closeness - _SLACK)

    def reached(self, members: Index, groups: Index, count: int) -> list[Reached]:
        """Measures that ``count`` groups reach, by column."""
        found, asked = [], self._asked
        for column, cells in enumerate(self._cells(members, groups)):
            l_of = np.bincount(cells[0], minlength=count).astype(np.float64)
            if asked.l_entropy:
                l_of = np.exp(_entropies(*cells, count))
            c_of = _recursive_c(*cells, count, asked.l_diversity) if asked.l_recursive else np.zeros(1)
            most = float(self._distances(column, *cells, count).max())
            found.append(Reached(float(l_of.min()), most, float(c_of.max())))
        return found

    def _cells(self, members: Index, groups: Index) -> Iterator[tuple[Index, Index, Floats]]:
        """For each column the group and the rank of all pairs that occur, and the share of each in its group."""
        group_of = np.full(self._tuples, -1, np.int64)
        group_of[members] = groups
        group = group_of[self._owner]
        inside = group >= 0
        for column in self._columns:
            keys, rows = self._counted(group[inside] * column.size + column.ranks[inside], inside)
            of_key = keys // column.size
            yield of_key, keys % column.size, rows / np.bincount(of_key, rows)[of_key]

    def _counted(self, keys: Index, inside: Flags | slice) -> tuple[Index, Floats]:
        """The different keys of some cells, and the rows of each; or its persons, each counted once for a key."""
        weights = self._weights[inside]
        if self._persons is not None:
            persons = int(self._persons.max(initial=0)) + 1
            pairs = np.unique(keys * persons + self._persons[inside])
            keys, weights = pairs // persons, np.ones(len(pairs), np.int64)
        found, place = np.unique(keys, return_inverse=True)
        return found, np.bincount(place, weights, len(found)).astype(np.float64)

    def _shares(self, column: Sensitive) -> Floats:
        """Everybody's distribution."""
        ranks, rows = self._counted(column.ranks.astype(np.int64), slice(None))
        return np.bincount(ranks, rows / rows.sum(), column.size).astype(np.float64)

    def _distances(self, column: int, group: Index, rank: Index, share: Floats, count: int) -> Floats:
        measure = _ordered_distance if self._columns[column].ordered else _equal_distance
        return measure(self._everybody[column], group, rank, share, count)


def _entropies(group: Index, rank: Index, share: Floats, count: int) -> Floats:  # noqa: ARG001 - one form for all measures
    return np.bincount(group, -share * np.log(share), count).astype(np.float64)


def _recursive_c(group: Index, rank: Index, share: Floats, count: int, least: int) -> Floats:  # noqa: ARG001
    """The most frequent value's rows over those of the ``least``-th most frequent and all rarer ones."""
    order = np.lexsort((-share, group))
    group, share = group[order], share[order]
    place = np.arange(len(group)) - np.searchsorted(group, group)
    most = np.bincount(group, np.where(place == 0, share, 0.0), count)
    rest = np.bincount(group, np.where(place >= least - 1, share, 0.0), count)
    return np.asarray(np.divide(most, rest, out=np.full(count, np.inf), where=rest > 0))


def _equal_distance(everybody: Floats, group: Index, rank: Index, share: Floats, count: int) -> Floats:
    """Half the L1 distance, which is the sum of the surpluses."""
    return np.bincount(group, np.maximum(share - everybody[rank], 0.0), count).astype(np.float64)


def _ordered_distance(everybody: Floats, group: Index, rank: Index, share: Floats, count: int) -> Floats:
    """The mean absolute difference of the cumulative distributions."""
    own = np.zeros((count, len(everybody)))
    own[group, rank] = share
    apart = np.abs(np.cumsum(own - everybody, axis=1)).sum(axis=1)
    return np.asarray(apart / max(1, len(everybody) - 1))
