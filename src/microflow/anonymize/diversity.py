"""What a class must hold besides k rows: l-diversity and t-closeness of every sensitive column.

- *Distinct* l-diversity: at least l different values. *Entropy* l-diversity (Machanavajjhala et al., TKDD 2007): the
  entropy of the values is at least log(l).
- *t-closeness* (Li, Li and Venkatasubramanian, ICDE 2007): the earth mover's distance between the class's distribution
  and everybody's is at most t, with equal ground distance (half the L1 distance), or with ordered distance where the
  descriptor calls the categories ordered.

A missing sensitive value counts as a value. Numeric sensitive columns are left out: 1,000 and 1,001 are two values and
one secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from microflow.anonymize.axes import Codes, Flags, Floats, Index
from microflow.anonymize.contract import MethodSettings
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Role

__all__ = ["Diversity", "Sensitive", "diverse_columns"]

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


class Diversity:
    """The constraint over cells: cell ``i`` is ``weights[i]`` equal rows of tuple ``owner[i]``.

    Where ``persons`` says whose they are, a person counts once for each different value.
    """

    def __init__(
        self,
        owner: Index,
        weights: Index,
        columns: Sequence[Sensitive],
        *,
        l_diversity: int = 1,
        entropy: bool = False,
        t_closeness: float = 1.0,
        persons: Codes | None = None,
    ) -> None:
        self._owner = owner
        self._weights = weights
        self._persons = persons
        self._columns = columns
        self._l = l_diversity
        self._entropy = entropy
        self._t = t_closeness
        self._tuples = int(owner[-1]) + 1 if len(owner) else 0

    def allows(self, members: Index, groups: Index, count: int) -> Flags:
        """For each of ``count`` groups whether it may be a class; tuple ``members[i]`` belongs to ``groups[i]``."""
        allowed = np.ones(count, np.bool_)
        for column, cells in zip(self._columns, self._cells(members, groups), strict=True):
            if self._entropy:
                allowed &= _entropies(*cells, count) >= np.log(self._l) - _SLACK
            elif self._l > 1:
                allowed &= np.bincount(cells[0], minlength=count) >= self._l
            if self._t < 1:
                allowed &= self._distances(column, *cells, count) <= self._t + _SLACK
        return allowed

    def achieved(self, members: Index, groups: Index, count: int) -> list[tuple[float, float]]:
        """For each column the least l (by entropy where that was asked for) and the greatest t of ``count`` groups."""
        found = []
        for column, cells in zip(self._columns, self._cells(members, groups), strict=True):
            values = np.bincount(cells[0], minlength=count).astype(np.float64)
            l_of = np.exp(_entropies(*cells, count)) if self._entropy else values
            found.append((float(l_of.min()), float(self._distances(column, *cells, count).max())))
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

    def _everybody(self, column: Sensitive) -> Floats:
        ranks, rows = self._counted(column.ranks.astype(np.int64), slice(None))
        return np.bincount(ranks, rows / rows.sum(), column.size).astype(np.float64)

    def _distances(self, column: Sensitive, group: Index, rank: Index, share: Floats, count: int) -> Floats:
        measure = _ordered_distance if column.ordered else _equal_distance
        return measure(self._everybody(column), group, rank, share, count)


def _entropies(group: Index, rank: Index, share: Floats, count: int) -> Floats:  # noqa: ARG001 - one form for all measures
    return np.bincount(group, -share * np.log(share), count).astype(np.float64)


def _equal_distance(everybody: Floats, group: Index, rank: Index, share: Floats, count: int) -> Floats:
    """Half the L1 distance, which is the sum of the surpluses."""
    return np.bincount(group, np.maximum(share - everybody[rank], 0.0), count).astype(np.float64)


def _ordered_distance(everybody: Floats, group: Index, rank: Index, share: Floats, count: int) -> Floats:
    """The mean absolute difference of the cumulative distributions."""
    own = np.zeros((count, len(everybody)))
    own[group, rank] = share
    apart = np.abs(np.cumsum(own - everybody, axis=1)).sum(axis=1)
    return np.asarray(apart / max(1, len(everybody) - 1))
