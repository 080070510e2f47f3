"""Pair of an original and its release, row by row, from which every measure of this package is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.assess.labels import Domain, Index, Labels, distinct, read_labels
from microflow.errors import InputError
from microflow.schema import PASSING, Column, DatasetSchema, Role

#: Roles of columns that both tables must have.
_COMPARED = (Role.RECORD_ID, Role.IDENTIFIER, Role.PERSON, Role.QUASI_IDENTIFIER, Role.SENSITIVE)

__all__ = ["Compared", "Pair", "align", "counted", "group", "needed_columns"]


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
