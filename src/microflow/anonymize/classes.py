"""Equivalence classes with labels, made from counted tuples and verified before use.

`Cube` counts distinct tuples of codes: in a dense table while the domain is small, as sorted keys when it is huge. A
tuple becomes one key: its codes side by side, each in as many bits as its column needs, in a 64-bit integer, or in
bytes when they need more. Memory grows with the tuples that occur (dense: with the domain, at most `DENSE_BITS`), never
with the rows. `decide` partitions and labels them; `CellIndex` then finds the class of a row's tuple.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.axes import Axis, Bag, Coder, Codes, Index, Ladder, Scale
from microflow.anonymize.contract import MethodSettings
from microflow.anonymize.diversity import Diversity, Reached, Sensitive
from microflow.anonymize.recode import Members, Recoding, recode
from microflow.errors import MicroflowError
from microflow.schema import DatasetSchema

__all__ = ["CellIndex", "Cells", "Classes", "Cube", "Decision", "Packing", "decide"]

#: Up to 4 M cells (32 MB) are counted in a table; a larger domain as sorted keys.
DENSE_BITS = 22
#: Keys that wait before they are sorted into the others.
_WAITING = 1 << 20

#: 64-bit integers, or fixed-width bytes.
Keys = npt.NDArray[Any]
#: Distinct tuples, one array a column, and the rows that have each.
Cells = tuple[list[Codes], Index]


class Packing:
    """Layout of a tuple in one key: column ``i`` has codes 0 … ``sizes[i]`` (the last stands for unknown)."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.bits = [size.bit_length() for size in sizes]
        self.total = sum(self.bits)
        self._wide = self.total > np.iinfo(np.int64).bits - 1

    def pack(self, codes: Sequence[Codes]) -> Keys:
        """One key a tuple; equal keys for equal tuples, ordered as the tuples are."""
        if self._wide:
            columns = np.stack(codes, axis=1).astype(">u4")
            return np.ascontiguousarray(columns).view(f"S{4 * len(codes)}").ravel()
        keys = codes[0].astype(np.int64)
        for bits, column in zip(self.bits[1:], codes[1:], strict=True):
            keys <<= bits
            keys |= column
        return keys

    def unpack(self, keys: Keys) -> list[Codes]:
        """The tuples of some keys, one array a column."""
        if self._wide:
            return list(keys.view(">u4").reshape(len(keys), len(self.bits)).astype(np.int32).T.copy())
        rest = keys.astype(np.int64)
        codes: list[Codes] = []
        for bits in reversed(self.bits):
            codes.append((rest & ((1 << bits) - 1)).astype(np.int32))
            rest >>= bits
        return codes[::-1]

    def holds(self, sizes: Sequence[int]) -> bool:
        """True if columns that have grown to these sizes still fit their bits."""
        return all(size.bit_length() <= bits for size, bits in zip(sizes, self.bits, strict=True))


class Cube:
    """Counts tuples. Columns may grow between calls: what was counted is packed again each time a bit is added."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._start(sizes)

    def _start(self, sizes: Sequence[int]) -> None:
        self._packing = Packing(sizes)
        dense = self._packing.total <= DENSE_BITS
        self._table: Index | None = np.zeros(1 << self._packing.total, np.int64) if dense else None
        self._keys: Keys = self._packing.pack([np.empty(0, np.int32)] * len(sizes))
        self._counts: Index = np.empty(0, np.int64)
        self._waiting: list[tuple[Keys, Index]] = []

    def add(self, codes: Sequence[Codes], sizes: Sequence[int], counts: Index | None = None) -> None:
        """Count one tuple a row, or ``counts`` of each; ``sizes`` are the columns' sizes by now."""
        if not self._packing.holds(sizes):
            cells = self.cells()
            self._start(sizes)
            self._add(*cells)
        self._add(codes, np.ones(len(codes[0]), np.int64) if counts is None else counts)

    def _add(self, codes: Sequence[Codes], counts: Index) -> None:
        keys = self._packing.pack(codes)
        if self._table is not None:
            np.add.at(self._table, keys, counts)
            return
        self._waiting.append((keys, counts))
        if sum(len(keys) for keys, _ in self._waiting) >= max(_WAITING, len(self._keys)):
            self._settle()

    def _settle(self) -> None:
        """Sort the waiting keys into the others."""
        waiting = [(self._keys, self._counts), *self._waiting]
        keys = np.concatenate([keys for keys, _ in waiting])
        counts = np.concatenate([counts for _, counts in waiting])
        self._keys, place = np.unique(keys, return_inverse=True)
        self._counts = np.bincount(place, counts, len(self._keys)).astype(np.int64)
        self._waiting = []

    def cells(self) -> Cells:
        """The tuples that occur, in ascending order, and their counts."""
        if self._table is not None:
            keys = np.flatnonzero(self._table)
            return self._packing.unpack(keys), self._table[keys]
        self._settle()
        return self._packing.unpack(self._keys), self._counts


class CellIndex:
    """Finds the class of a tuple once classes are decided; -1 for a tuple that has none."""

    def __init__(self, sizes: Sequence[int], codes: Sequence[Codes], classes: Codes) -> None:
        self._packing = Packing(sizes)
        keys = self._packing.pack(codes)
        self._table: Codes | None = None
        if self._packing.total <= DENSE_BITS:
            self._table = np.full(1 << self._packing.total, -1, np.int32)
            self._table[keys] = classes
        else:
            order = np.argsort(keys)
            self._keys, self._classes = keys[order], classes[order]

    def find(self, codes: Sequence[Codes]) -> Codes:
        """The class of each row."""
        keys = self._packing.pack(codes)
        if self._table is not None:
            return self._table.take(keys)
        if not len(self._keys):
            return np.full(len(keys), -1, np.int32)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._classes[place], np.int32(-1))


#: A set of so few ranks is one integer.
_SET_BITS = 63


@dataclass(frozen=True)
class Classes:
    """Labels by class: class ``c`` is written ``labels[q][label_of[q][c]]`` in quasi-identifier ``q``.

    ``k`` is the fewest rows, or persons, that share a combination of labels (0 without any class), ``rows`` how many
    rows were placed. ``diversity`` is what each sensitive column that was looked at reaches.
    """

    labels: tuple[pa.Array, ...]
    label_of: tuple[Codes, ...]
    k: int
    count: int
    rows: int
    diversity: tuple[Reached, ...] = ()

    def columns(self, classes: Codes) -> list[pa.Array]:
        """The label of each row in each quasi-identifier, for rows of these classes."""
        places = classes.astype(np.intp)  # what NumPy would make of them for each column again
        return [labels.take(pa.array(of.take(places))) for labels, of in zip(self.labels, self.label_of, strict=True)]


@dataclass(frozen=True)
class Decision:
    """The tuple of each cell, the distinct tuples, the class of each tuple (-1: suppressed), and the classes."""

    owner: Index
    tuples: list[Codes]
    class_of: Codes
    classes: Classes


def warm(schema: DatasetSchema) -> None:
    """Load what `decide` may need of compiled code, where every quasi-identifier may have a hierarchy.

    It is kept out of whatever only counts or looks up: the compiler's import takes longer than a small job.
    """
    if all(column.hierarchy is not None or not column.is_numeric for column in schema.quasi_identifiers):
        from microflow.anonymize.recode import warm_lattice

        warm_lattice()


def decide(
    cells: Cells,
    coders: Sequence[Coder],
    sensitive: Sequence[tuple[Coder, bool]],
    settings: MethodSettings,
    *,
    by_person: bool = False,
) -> Decision:
    """Partition counted cells and label the classes.

    Args:
        cells: Distinct tuples, sorted: codes of quasi-identifiers, of sensitive columns, and of the person if there is
            one.
        coders: Those of the quasi-identifiers.
        sensitive: Those of the sensitive columns, each with whether its values have an order.
        settings: k, l and t.
        by_person: Whether the last column says which rows are one person's; persons are then counted instead of rows.

    Raises:
        MicroflowError: the result is not what was asked for; nothing may be released then.
    """
    codes, counts = cells
    owner, tuples = _tuples_of(codes[: len(coders)])
    in_tuple = np.bincount(owner, counts, len(tuples[0])).astype(np.int64)
    persons = codes[-1] if by_person else None
    axes, ranks = _ranked(coders, tuples, in_tuple)
    constraint = _constraint(owner, (codes[len(coders) :], counts), sensitive, settings, persons)

    def weigh(kept: Index) -> Index:
        return in_tuple[kept] if persons is None else _homes(owner, persons, ranks, kept)

    class_of = recode(Recoding(ranks, axes, in_tuple, weigh, constraint), settings)
    sorted_tuples = Members.of(class_of)
    labelled = [_labels(axis, column, sorted_tuples) for axis, column in zip(axes, ranks, strict=True)]
    # A number for each class, the same for classes that are written alike: to a reader they are one.
    keys = Packing([len(texts) for texts, _ in labelled]).pack([of for _, of in labelled])
    same = np.unique(keys, return_inverse=True)[1]
    placed = class_of >= 0
    rows = np.bincount(same[class_of[placed]], in_tuple[placed]).astype(np.int64)
    members = rows if persons is None else _distinct_persons(same, class_of[owner], persons)
    reached = _verified(members, same, class_of, constraint, settings)
    classes = Classes(
        labels=tuple(labels for labels, _ in labelled),
        label_of=tuple(of for _, of in labelled),
        k=int(members.min()) if len(members) else 0,
        count=len(rows),
        rows=int(rows.sum()),
        diversity=reached,
    )
    return Decision(owner, tuples, class_of, classes)


def _tuples_of(codes: Sequence[Codes]) -> tuple[Index, list[Codes]]:
    """The tuple each cell belongs to, and the tuples; cells of one tuple stand together."""
    first = np.ones(len(codes[0]), np.bool_)
    if len(first):
        first[1:] = np.any([column[1:] != column[:-1] for column in codes], axis=0)
    return np.cumsum(first) - 1, [column[first] for column in codes]


def _homes(owner: Index, persons: Codes, ranks: Sequence[Codes], kept: Index) -> Index:
    """Persons of some tuples, each counted in one of their tuples only: in the one that fewest persons have.

    Whatever tuples form a class, its persons are then at least as many as the sum.
    """
    tuples = max(1, len(ranks[0]))
    there = np.isin(owner, kept)
    keys = np.unique(persons[there].astype(np.int64) * tuples + owner[there])
    person, place = keys // tuples, keys % tuples
    turn = np.empty(tuples, np.int64)
    turn[np.lexsort(ranks)] = np.arange(len(ranks[0]))  # not the order in which values were met: splits change it
    order = np.lexsort((turn[place], np.bincount(place, minlength=tuples)[place], person))
    first = np.flatnonzero(np.diff(person[order], prepend=-1))
    return np.bincount(place[order[first]], minlength=tuples)[kept].astype(np.int64)


def _distinct_persons(same: Index, class_of_cell: Codes, persons: Codes) -> Index:
    """Number of persons of each class; classes that are written alike are one."""
    placed = class_of_cell >= 0
    size = int(persons.max(initial=0)) + 1
    pairs = np.unique(same[class_of_cell[placed]] * size + persons[placed])
    return np.bincount(pairs // size).astype(np.int64)


def _ranked(coders: Sequence[Coder], tuples: list[Codes], weights: Index) -> tuple[list[Axis], list[Codes]]:
    axes, ranks = [], []
    for coder, codes in zip(coders, tuples, strict=True):
        axis, rank_of = coder.axis(np.bincount(codes, weights, coder.size).astype(np.int64))
        axes.append(axis)
        ranks.append(rank_of[codes])
    return axes, ranks


def _constraint(
    owner: Index,
    cells: Cells,
    sensitive: Sequence[tuple[Coder, bool]],
    settings: MethodSettings,
    persons: Codes | None,
) -> Diversity | None:
    """The constraint over cells, of which the first columns are the sensitive ones."""
    if not sensitive:
        return None
    codes, counts = cells
    columns = []
    for (coder, ordered), column in zip(sensitive, codes, strict=False):  # a person's may follow
        _, rank_of = coder.axis(np.bincount(column, counts, coder.size).astype(np.int64))
        # Numbered again without the missing value where none is missing: it would lengthen the ordered distance.
        present, ranks = np.unique(rank_of[column], return_inverse=True)
        columns.append(Sensitive(ranks.astype(np.int32), len(present), ordered))
    return Diversity(owner, counts, columns, settings, persons=persons)


def _labels(axis: Axis, ranks: Codes, members: Members) -> tuple[pa.Array, Codes]:
    """The different labels of one column, and which of them each class has."""
    if not len(members.starts):
        return pa.array([], pa.string()), np.empty(0, np.int32)
    groups, which = _groups(axis, ranks, members) if isinstance(axis, Bag) else _runs(axis, ranks, members)
    known: dict[str | None, int] = {}
    written = [known.setdefault(axis.label(group), len(known)) for group in groups]
    return pa.array(known, pa.string()), np.asarray(written, np.int32)[which]


_Groups = tuple[list[tuple[int, ...]], Index]


def _runs(axis: Scale | Ladder, ranks: Codes, members: Members) -> _Groups:
    """The different runs (missing, lowest, highest) of all classes, and which each class has."""
    own = ranks[members.order]
    missing = np.minimum.reduceat(own, members.starts) == 0
    high = np.maximum.reduceat(own, members.starts)
    low = np.minimum(np.minimum.reduceat(np.where(own == 0, axis.size, own), members.starts), high)
    low, high = axis.widened(low, high)
    keys = (missing * axis.size + low.astype(np.int64)) * axis.size + high
    runs, which = np.unique(keys, return_inverse=True)
    split = zip(runs // axis.size**2, runs // axis.size % axis.size, runs % axis.size, strict=True)
    return [(0,) * int(absent) + (int(first), int(last)) for absent, first, last in split], which


def _groups(axis: Bag, ranks: Codes, members: Members) -> _Groups:
    """The different sets of ranks of all classes, and which each class has."""
    if axis.size <= _SET_BITS:
        bits = np.left_shift(1, ranks[members.order], dtype=np.int64)
        masks, place = np.unique(np.bitwise_or.reduceat(bits, members.starts), return_inverse=True)
        return [tuple(rank for rank in range(axis.size) if mask >> rank & 1) for mask in masks.tolist()], place
    pairs = np.unique(members.owner.astype(np.int64) * axis.size + ranks[members.order])
    bounds = np.searchsorted(pairs, np.arange(len(members.starts) + 1) * axis.size).tolist()
    each = (pairs % axis.size).tolist()
    known: dict[tuple[int, ...], int] = {}
    sets = (tuple(each[start:end]) for start, end in pairwise(bounds))
    which = [known.setdefault(ranks_of, len(known)) for ranks_of in sets]
    return list(known), np.asarray(which, np.int64)


def _verified(
    members: Index, same: Index, class_of: Codes, constraint: Diversity | None, settings: MethodSettings
) -> tuple[Reached, ...]:
    """Hold the result against the claim, by a count of its own over what readers will see; what it reaches."""
    if len(members) and members.min() < settings.k:
        raise MicroflowError(f"a class of fewer than {settings.k} was formed; nothing is released")
    if constraint is None or not len(members):
        return ()
    placed = np.flatnonzero(class_of >= 0)
    groups = same[class_of[placed]]
    if not constraint.allows(placed, groups, len(members)).all():
        raise MicroflowError("a class without the diversity asked for was formed; nothing is released")
    return tuple(constraint.reached(placed, groups, len(members)))
