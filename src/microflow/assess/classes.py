"""What the equivalence classes of a release achieve: k, l and t, and the risks that follow from their sizes.

k: the fewest persons that share all quasi-identifiers (Samarati 2001). Each row is taken for a person where no column
says whose it is; else a person counts once, and in l and t once for each of their values.
l: the fewest different values of a sensitive column in a class (Machanavajjhala et al. 2007), and c: what recursive
(c', l)-diversity with this l needs c' to be above (the same). t: the greatest earth
mover's distance between a class and everybody, with equal ground distance for text and ordered distance for numbers and
ordered categories (Li et al. 2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from microflow.assess.labels import Floats, Index, distinct
from microflow.assess.pair import Pair, group
from microflow.errors import InputError
from microflow.schema import Column, Value

__all__ = ["Achieved", "achieved", "achieved_k", "l_diversity", "t_closeness"]


@dataclass(frozen=True, slots=True)
class Achieved:
    """``k`` counts the ``unit``, persons or rows; ``l``, ``t`` and ``c`` are by sensitive column (no c where l is 1).

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


def achieved_k(released: pa.Table, quasi_identifiers: Sequence[str]) -> int:
    """The size of the smallest equivalence class; 0 for an empty table.

    Raises:
        InputError: a quasi-identifier is not among the table's columns.

    >>> achieved_k(pa.table({"age": ["[30-39]"] * 3, "sex": ["F", "F", None]}), ["age", "sex"])
    1
    """
    for name in quasi_identifiers:
        if name not in released.column_names:
            raise InputError("no such column", column=name, hint=f"columns are: {', '.join(released.column_names)}")
    if released.num_rows == 0:
        return 0
    _, _, sizes = group([distinct(released[name])[0] for name in quasi_identifiers], released.num_rows)
    return int(sizes.min())


def achieved(pair: Pair) -> Achieved:
    """Measure the classes of a release."""
    smallest, rows = int(pair.members.min()), pair.released.num_rows
    columns = {
        sensitive.column.name: (sensitive.column, *distinct(pair.released[sensitive.column.name]))
        for sensitive in pair.sensitive
    }
    least = {name: l_diversity(pair.classes, codes) for name, (_, codes, _) in columns.items()}
    return Achieved(
        k=smallest,
        unit=pair.unit,
        classes=len(pair.sizes),
        rows=rows,
        suppressed=pair.suppressed,
        l_diversity=least,
        t_closeness={
            name: _t_closeness(pair, _ranks(column, codes, values), ordered=column.is_numeric or column.ordered)
            for name, (column, codes, values) in columns.items()
        },
        recursive_c={
            name: recursive_c(*_by_person(pair, codes), least[name]) if least[name] > 1 else None
            for name, (_, codes, _) in columns.items()
        },
        average_class=float(pair.members.mean()) / smallest,
        discernibility=int((pair.sizes**2).sum()) + pair.suppressed * pair.original.num_rows,
    )


def l_diversity(classes: Index, codes: Index) -> int:
    """The fewest different codes in a class."""
    pairs = np.unique(classes * (int(codes.max()) + 1) + codes)
    return int(np.bincount(pairs // (int(codes.max()) + 1)).min())


def recursive_c(classes: Index, codes: Index, least: int) -> float:
    """The greatest ratio, in a class, of the most frequent code's rows to those from the ``least``-th downward."""
    width = int(codes.max()) + 1
    pairs, rows = np.unique(classes * width + codes, return_counts=True)
    owner = pairs // width
    order = np.lexsort((-rows, owner))
    place = np.arange(len(order)) - np.searchsorted(owner, owner)
    most, rest = (np.bincount(owner, rows[order] * chosen) for chosen in (place == 0, place >= least - 1))
    return float((most / rest).max())


def _by_person(pair: Pair, codes: Index) -> tuple[Index, Index]:
    """Class and code of each row; of a person's rows with one code in a class only one."""
    if pair.unit == "row":
        return pair.classes, codes
    found = np.unique(np.stack([pair.persons[pair.ordinals], pair.classes, codes], axis=1), axis=0)
    return found[:, 1], found[:, 2]


def _ranks(column: Column, codes: Index, values: list[Value]) -> Index:
    """Codes in the order of the values; missing values come last."""
    declared = {value: place for place, value in enumerate(column.categories)}

    def place(code: int) -> tuple[bool, float, str]:
        value = values[code]
        if isinstance(value, int | float):
            return (True, 0.0, "") if math.isnan(value) else (False, float(value), "")
        return value is None, declared.get(value or "", len(declared)), str(value)

    rank_of = np.empty(len(values), np.int64)
    rank_of[sorted(range(len(values)), key=place)] = np.arange(len(values))
    return rank_of[codes]


def _t_closeness(pair: Pair, ranks: Index, *, ordered: bool) -> float:
    """The distances of distributions over persons, each of whom counts once for each of their values."""
    everybody = ranks
    if pair.unit == "person":
        everybody = np.unique(np.stack([pair.persons[pair.ordinals], ranks], axis=1), axis=0)[:, 1]
    return t_closeness(*_by_person(pair, ranks), everybody, ordered=ordered)


def t_closeness(classes: Index, ranks: Index, everybody: Index, *, ordered: bool) -> float:
    """The greatest distance of a class's distribution of ``ranks`` from that of ``everybody``'s ranks."""
    shares = np.bincount(everybody) / len(everybody)
    if len(shares) <= 1:
        return 0.0
    order = np.lexsort((ranks, classes))
    starts = np.flatnonzero(np.diff(classes[order], prepend=-1))
    size = np.diff(np.append(starts, len(ranks)))
    measure = _ordered_distances if ordered else _equal_distances
    return float(measure(shares, ranks[order], starts, size).max())


def _equal_distances(everybody: Floats, ranks: Index, starts: Index, sizes: Index) -> Floats:
    """Half the L1 distance, which is the sum of the surpluses."""
    of_class = np.repeat(np.arange(len(starts)), sizes)
    keys, counts = np.unique(of_class * len(everybody) + ranks, return_counts=True)
    of_key = keys // len(everybody)
    surplus = np.maximum(counts / sizes[of_key] - everybody[keys % len(everybody)], 0)
    return np.bincount(of_key, surplus, len(starts)).astype(np.float64)


def _ordered_distances(everybody: Floats, ranks: Index, starts: Index, sizes: Index) -> Floats:
    """The mean absolute difference of the cumulative distributions.

    A class of f rows has a cumulative distribution of f steps. Between two steps it is level, and the area between a
    level and everybody's ascending curve is had from running sums on both sides of the point where they cross.
    """
    curve = np.cumsum(everybody)
    area = np.concatenate([[0.0], np.cumsum(curve)])
    of_class = np.repeat(np.arange(len(starts)), sizes)
    level = (np.arange(len(ranks)) - starts[of_class] + 1) / sizes[of_class]
    last = np.append(ranks[1:], len(everybody))
    last[starts[1:] - 1] = len(everybody)
    gap = _between(np.zeros(len(starts), np.int64), ranks[starts], np.zeros(len(starts)), curve, area)
    gap += np.add.reduceat(_between(ranks, last, level, curve, area), starts)
    return gap / (len(everybody) - 1)


def _between(first: Index, last: Index, level: Floats, curve: Floats, area: Floats) -> Floats:
    """The area between a level and the curve from rank ``first`` to before ``last``."""
    cross = np.clip(np.searchsorted(curve, level), first, last)
    below = level * (cross - first) - (area[cross] - area[first])
    above = (area[last] - area[cross]) - level * (last - cross)
    return np.asarray(below + above)
