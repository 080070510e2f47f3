"""Pair of an original and its release, row by row, and the measures of its equivalence classes.

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
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.generalise import text_order
from microflow.assess.labels import Domain, Floats, Index, Labels, distinct, read_labels
from microflow.errors import InputError
from microflow.schema import PASSING, Column, DatasetSchema, Role, Value

__all__ = [
    "Achieved", "ColumnHeld", "Compared", "Pair", "achieved", "align", "column_held", "counted", "group",
    "needed_columns",
]  # fmt: skip

#: Roles of columns that both tables must have.
_COMPARED = (Role.RECORD_ID, Role.IDENTIFIER, Role.PERSON, Role.QUASI_IDENTIFIER, Role.SENSITIVE)


@dataclass(frozen=True)
class Compared:
    """One column of both tables. ``domain`` are the original's values, ``labels`` the release's.

    ``before`` are the original's values seen as labels, for measures that are taken the same way on both sides.
    """

    column: Column
    domain: Domain
    labels: Labels
    before: Labels

    @classmethod
    def of(cls, column: Column, original: pa.Table, released: pa.Table, ordinals: Index) -> Compared:
        """Compare one column; quasi-identifiers may have been generalised, other columns never are."""
        domain = Domain(column, original[column.name])
        generalised = column.role is Role.QUASI_IDENTIFIER
        labels = read_labels(domain, released[column.name], ordinals, generalised=generalised)
        return cls(column, domain, labels, read_labels(domain, original[column.name], None, generalised=False))

    @property
    def codes(self) -> Index:
        """The code of each original row."""
        return self.domain.codes


@dataclass(frozen=True)
class Pair:
    """Pair of tables: ``released`` row ``i`` is ``original`` row ``ordinals[i]``; the other rows were suppressed.

    ``persons`` is whose each original row is, counted from 0: by the column of role person, or each row its own
    person's. ``classes`` is the equivalence class of each released row (equal labels in all quasi-identifiers), counted
    from 0; ``sizes`` the rows of each class, ``members`` its persons, ``first`` the row by which a class is known.
    """

    schema: DatasetSchema
    original: pa.Table
    released: pa.Table
    ordinals: Index
    quasi: tuple[Compared, ...]
    sensitive: tuple[Compared, ...]
    persons: Index
    classes: Index
    sizes: Index
    members: Index
    first: Index

    @property
    def passed(self) -> tuple[str, ...]:
        """Columns that no method touches; of these, what the original has at hand."""
        return tuple(
            column.name for column in self.schema.with_role(*PASSING) if column.name in self.original.column_names
        )

    @property
    def suppressed(self) -> int:
        """Number of original rows that were not released."""
        return int(self.original.num_rows - self.released.num_rows)

    @classmethod
    def of(cls, schema: DatasetSchema, original: pa.Table, released: pa.Table, ordinals: npt.ArrayLike) -> Pair:
        """Compare two tables.

        Raises:
            InputError: a column is missing, the tables are empty, or the ordinals do not fit them.
        """
        rows = np.asarray(ordinals, np.int64)
        _check(schema, original, released, rows)
        quasi = tuple(Compared.of(column, original, released, rows) for column in schema.quasi_identifiers)
        sensitive = tuple(Compared.of(column, original, released, rows) for column in schema.with_role(Role.SENSITIVE))
        classes, first, sizes = group([compared.labels.codes for compared in quasi], len(rows))
        persons, members = np.arange(original.num_rows), sizes
        if schema.person is not None:
            persons = distinct(original[schema.person])[0]
            members = counted(classes, persons=persons[rows])[1]
        return cls(schema, original, released, rows, quasi, sensitive, persons, classes, sizes, members, first)

    @property
    def unit(self) -> str:
        """Unit of k: ``person`` if a column says whose each row is, else ``row``."""
        return "row" if self.schema.person is None else "person"


def needed_columns(schema: DatasetSchema) -> list[str]:
    """The columns an assessment reads; the others need not be kept in memory."""
    return [column.name for column in schema.with_role(*_COMPARED, *PASSING)]


def group(codes: Sequence[Index], rows: int) -> tuple[Index, Index, Index]:
    """The class of each row (equal codes in all columns), and each class's first row and number of rows.

    >>> group([np.array([0, 0, 1]), np.array([5, 5, 5])], 3)[2].tolist()
    [2, 1]
    """
    classes = np.zeros(rows, np.int64)
    for column in codes:
        keys = pa.array(classes * (int(column.max(initial=0)) + 1) + column)
        classes = keys.dictionary_encode().indices.to_numpy().astype(np.int64)
    sizes = np.bincount(classes)
    first = np.empty(len(sizes), np.int64)
    first[classes[::-1]] = np.arange(rows)[::-1]
    return classes, first, sizes


def counted(keys: Index, rows: Index | None = None, persons: Index | None = None) -> tuple[Index, Index]:
    """The different keys, ascending, and the members of each: its rows, or its persons, each of whom counts once.

    Args:
        keys: Of cells, each of which is one or more equal rows.
        rows: How many rows each cell is; by default one.
        persons: Whose each cell is, counted from 0, where persons are counted.

    >>> [column.tolist() for column in counted(np.array([7, 7, 7, 9]), persons=np.array([0, 0, 1, 0]))]
    [[7, 9], [2, 1]]
    """
    found, place = np.unique(keys, return_inverse=True)
    if persons is not None:
        count = int(persons.max(initial=0)) + 1
        place, rows = np.unique(place * count + persons) // count, None
    return found, np.bincount(place, rows).astype(np.int64)


def _check(schema: DatasetSchema, original: pa.Table, released: pa.Table, ordinals: Index) -> None:
    for name, table in (("original", original), ("released", released)):
        missing = [column.name for column in schema.with_role(*_COMPARED) if column.name not in table.column_names]
        if missing:
            raise InputError(
                f"the {name} table has no column {missing[0]!r}", hint=f"schema {schema.name!r} describes it"
            )
        if table.num_rows == 0:
            raise InputError(f"the {name} table has no rows", hint="there is nothing to compare")
    if len(ordinals) != released.num_rows or len(np.unique(ordinals)) < len(ordinals):
        raise InputError("each released row must name one original row of its own")
    if ordinals.min() < 0 or ordinals.max() >= original.num_rows:
        raise InputError("a released row names an original row that does not exist")


def align(schema: DatasetSchema, original: pa.Table, released: pa.Table) -> Index:
    """Original row of each released row: by record id, or by position if no row was suppressed.

    Raises:
        InputError: neither is possible, or a record id is unknown or occurs twice.
    """
    name = schema.record_id
    if name is None:
        if original.num_rows != released.num_rows:
            raise InputError(
                f"{released.num_rows} released rows cannot be matched to one each of {original.num_rows} original ones",
                hint="without a column of role record_id, files of equal length are compared row by row",
            )
        return np.arange(original.num_rows)
    known, keys = original[name].combine_chunks(), released[name].combine_chunks()
    if any(pc.count_distinct(ids, mode="all").as_py() != len(ids) for ids in (known, keys)):
        hint = "a column that names persons, of whom each may have several rows, has the role person"
        raise InputError("a record id occurs twice", column=name, hint=hint)
    places = pc.index_in(keys, value_set=known)
    if places.null_count:
        raise InputError(
            f"{places.null_count} released rows have a record id that the original does not have", column=name
        )
    return np.asarray(places.to_numpy(), np.int64)


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
