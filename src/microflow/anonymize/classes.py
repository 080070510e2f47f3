"""Equivalence classes with labels, made from counted cells and verified before use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from microflow.anonymize.axes import Axis, Codes, Index
from microflow.anonymize.contract import MethodSettings
from microflow.anonymize.diversity import Diversity, Reached, Sensitive
from microflow.anonymize.encode import Cells, Coder, Packing
from microflow.anonymize.recode import Members, Recoding, recode
from microflow.errors import MicroflowError
from microflow.schema import DatasetSchema

__all__ = ["Classes", "Decision", "decide"]

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
    """The distinct tuples of quasi-identifier codes, the class of each (-1: suppressed), and the classes."""

    tuples: list[Codes]
    class_of: Codes
    classes: Classes


def warm(schema: DatasetSchema) -> None:
    """Load what `decide` may need of compiled code, where every quasi-identifier may have a hierarchy.

    It is kept out of whatever only counts or looks up: the compiler's import takes longer than a small job.
    """
    if all(column.hierarchy is not None or not column.is_numeric for column in schema.quasi_identifiers):
        from microflow.anonymize import cover

        cover.warm()


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
    same = _same_labels(labelled)
    placed = class_of >= 0
    rows = np.bincount(same[class_of[placed]], in_tuple[placed]).astype(np.int64)
    members = rows if persons is None else _distinct_persons(same, class_of[owner], persons)
    _verify(members, same, class_of, constraint, settings)
    classes = Classes(
        labels=tuple(labels for labels, _ in labelled),
        label_of=tuple(of for _, of in labelled),
        k=int(members.min()) if len(members) else 0,
        count=len(rows),
        rows=int(rows.sum()),
        diversity=_diversity(constraint, class_of, same),
    )
    return Decision(tuples, class_of, classes)


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
    """How many persons each class has; classes that are written alike are one."""
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
    groups, which = _groups(axis, ranks, members) if axis.counted else _runs(axis, ranks, members)
    known: dict[str | None, int] = {}
    written = [known.setdefault(axis.label(group), len(known)) for group in groups]
    return pa.array(known, pa.string()), np.asarray(written, np.int32)[which]


_Groups = tuple[list[tuple[int, ...]], Index]


def _runs(axis: Axis, ranks: Codes, members: Members) -> _Groups:
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


def _groups(axis: Axis, ranks: Codes, members: Members) -> _Groups:
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


def _same_labels(labels: Sequence[tuple[pa.Array, Codes]]) -> Index:
    """A number for each class, the same for classes that are written alike: to a reader they are one."""
    keys = Packing([len(texts) for texts, _ in labels]).pack([of for _, of in labels])
    return np.unique(keys, return_inverse=True)[1]


def _diversity(constraint: Diversity | None, class_of: Codes, same: Index) -> tuple[Reached, ...]:
    """What the classes achieve, by what readers will see."""
    placed = np.flatnonzero(class_of >= 0)
    if constraint is None or not len(placed):
        return ()
    return tuple(constraint.reached(placed, same[class_of[placed]], int(same.max()) + 1))


def _verify(
    members: Index, same: Index, class_of: Codes, constraint: Diversity | None, settings: MethodSettings
) -> None:
    """Hold the result against the claim, by a count of its own over what readers will see."""
    if len(members) and members.min() < settings.k:
        raise MicroflowError(f"a class of fewer than {settings.k} was formed; nothing is released")
    if constraint is None or not len(members):
        return
    placed = np.flatnonzero(class_of >= 0)
    if not constraint.allows(placed, same[class_of[placed]], len(members)).all():
        raise MicroflowError("a class without the diversity asked for was formed; nothing is released")
