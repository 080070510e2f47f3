"""Measures of equivalence classes: k, l and t, and the risks that follow from their sizes.

k: the fewest persons that share all quasi-identifiers (Samarati 2001). Each row is taken for a person where no column
says whose it is; else a person counts once, and in l and t once for each of their values.
l: the fewest different values of a sensitive column in a class, by number or by entropy, and c: what recursive
(c', l)-diversity needs c' to be above (Machanavajjhala et al. 2007). t: the greatest earth mover's distance between a
class and everybody, with equal ground distance for text and ordered distance for numbers and ordered categories (Li et
al. 2007).

`microflow assess` and `microflow verify` both count by `column_held`. `microflow.anonymize.diversity` has code of its
own, and tests hold that it agrees: it asks about thousands of groupings of the same encoded cells while a partition is
looked for, and what made a release must not be what checks it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from microflow.anonymize.generalise import text_order
from microflow.assess.labels import Floats, Index, distinct
from microflow.assess.pair import Pair, counted
from microflow.schema import Column, Value

__all__ = ["Achieved", "ColumnHeld", "achieved", "column_held"]


@dataclass(frozen=True, slots=True)
class ColumnHeld:
    """Measures of the classes in one sensitive column.

    Attributes:
        l_distinct: The fewest different values.
        l_entropy: The least exponential of the values' entropy.
        recursive_c: Of recursive (c', l)-diversity every c' above this holds; infinite where a class has fewer than l
            values.
        t: The greatest distance from everybody.
    """

    l_distinct: int
    l_entropy: float
    recursive_c: float
    t: float


def column_held(
    column: Column,
    values: pa.ChunkedArray,
    classes: Index,
    *,
    rows: Index | None = None,
    persons: Index | None = None,
    least: int | None = None,
) -> ColumnHeld:
    """Count one sensitive column; a missing value is a value.

    Args:
        column: What its values mean.
        values: The value of each cell.
        classes: The equivalence class of each cell, counted from 0.
        rows: How many equal rows each cell is; by default one.
        persons: Whose each cell is, where persons are counted.
        least: The l of recursive (c, l)-diversity; by default the l that is found.
    """
    codes, found = distinct(values)
    ranks = _ranks(column, found)[codes]
    keys, members = counted(classes * len(found) + ranks, rows, persons)
    owner, rank = np.divmod(keys, len(found))
    share = members / np.bincount(owner, members)[owner]
    of_all = counted(ranks, rows, persons)[1]
    l_distinct = int(np.bincount(owner).min())
    measure = _ordered_distances if column.is_numeric or column.ordered else _equal_distances
    return ColumnHeld(
        l_distinct=l_distinct,
        l_entropy=float(np.exp(np.bincount(owner, -share * np.log(share)).min())),
        recursive_c=_recursive_c(owner, members, l_distinct if least is None else least),
        t=float(measure(of_all / of_all.sum(), owner, rank, members).max()),
    )


def _ranks(column: Column, values: Sequence[Value]) -> Index:
    """The rank of each value: missing ones, then numbers by size; texts as the column orders them."""
    order = text_order(column)

    def place(code: int) -> tuple[float, str]:
        value = values[code]
        if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
            return -math.inf, ""
        return (float(value), "") if isinstance(value, int | float) else order(value)

    rank_of = np.empty(len(values), np.int64)
    rank_of[sorted(range(len(values)), key=place)] = np.arange(len(values))
    return rank_of


def _recursive_c(owner: Index, members: Index, least: int) -> float:
    """The greatest ratio, in a class, of the most frequent value's members to those from the ``least``-th downward."""
    falling = members[np.lexsort((-members, owner))]
    place = np.arange(len(owner)) - np.searchsorted(owner, owner)
    most, rest = (np.bincount(owner, falling * chosen) for chosen in (place == 0, place >= least - 1))
    return float(np.divide(most, rest, out=np.full(len(most), np.inf), where=rest > 0).max())


def _equal_distances(everybody: Floats, owner: Index, rank: Index, members: Index) -> Floats:
    """Half the L1 distance of each class, which is the sum of its surpluses."""
    share = members / np.bincount(owner, members)[owner]
    return np.bincount(owner, np.maximum(share - everybody[rank], 0)).astype(np.float64)


def _ordered_distances(everybody: Floats, owner: Index, rank: Index, members: Index) -> Floats:
    """The mean absolute difference of the cumulative distributions of each class and of everybody.

    That of a class is level between two of its values. The area between a level and everybody's ascending curve is had
    from running sums on both sides of the point where they cross: a table of classes by values would be too large.
    """
    curve = np.cumsum(everybody)
    area = np.concatenate([[0.0], np.cumsum(curve)])
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    end = np.append(rank[1:], len(everybody))
    end[starts[1:] - 1] = len(everybody)
    running = np.cumsum(members)
    level = (running - (running - members)[starts][owner]) / np.bincount(owner, members)[owner]
    cross = np.clip(np.searchsorted(curve, level), rank, end)
    below = level * (cross - rank) - (area[cross] - area[rank])
    above = (area[end] - area[cross]) - level * (end - cross)
    gap = area[rank[starts]] + np.add.reduceat(below + above, starts)
    return np.asarray(gap / max(1, len(everybody) - 1))


@dataclass(frozen=True, slots=True)
class Achieved:
    """Measures of classes: ``k`` in ``unit`` (persons or rows); ``l``, ``t`` and ``c`` by sensitive column.

    ``average_class`` is C_avg (LeFevre et al. 2006): members per class over k.

    ``discernibility`` (Bayardo and Agrawal 2005) is the sum of squared class sizes, each suppressed row counting as
    many as there are rows.
    """

    k: int
    unit: str
    classes: int
    rows: int
    suppressed: int
    l_diversity: dict[str, int]
    t_closeness: dict[str, float]
    recursive_c: dict[str, float | None]
    average_class: float
    discernibility: int


def achieved(pair: Pair) -> Achieved:
    """Measure the classes of a release."""
    smallest = int(pair.members.min())
    persons = None if pair.unit == "row" else pair.persons[pair.ordinals]
    columns = {
        sensitive.column.name: column_held(
            sensitive.column, pair.released[sensitive.column.name], pair.classes, persons=persons
        )
        for sensitive in pair.sensitive
    }
    return Achieved(
        k=smallest,
        unit=pair.unit,
        classes=len(pair.sizes),
        rows=pair.released.num_rows,
        suppressed=pair.suppressed,
        l_diversity={name: found.l_distinct for name, found in columns.items()},
        t_closeness={name: found.t for name, found in columns.items()},
        recursive_c={name: found.recursive_c if found.l_distinct > 1 else None for name, found in columns.items()},
        average_class=float(pair.members.mean()) / smallest,
        discernibility=int((pair.sizes**2).sum()) + pair.suppressed * pair.original.num_rows,
    )
