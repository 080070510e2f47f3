"""An original and its release, row by row: what every measure of this room is taken on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.assess.labels import Index, Labels, distinct
from microflow.assess.number_labels import NumberLabels
from microflow.assess.text_labels import TextLabels
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Role, Value

__all__ = ["Compared", "Pair", "align", "group", "needed_columns"]


@dataclass(frozen=True)
class Compared:
    """One column of both tables. ``codes`` and ``values`` are the original's, ``labels`` the release's.

    ``before`` are the original's values seen as labels, for measures that are taken the same way on both sides.
    """

    column: Column
    codes: Index
    values: list[Value]
    labels: Labels
    before: Labels

    @classmethod
    def of(cls, column: Column, original: pa.Table, released: pa.Table) -> Compared:
        """Compare one column; quasi-identifiers may have been generalised, other columns never are."""
        truth = original[column.name]
        generalised = column.role is Role.QUASI_IDENTIFIER
        labels = _labels_of(column, released[column.name], truth, generalised=generalised)
        before = _labels_of(column, truth, truth, generalised=False)
        return cls(column, *distinct(truth), labels, before)


def _labels_of(column: Column, released: pa.ChunkedArray, original: pa.ChunkedArray, *, generalised: bool) -> Labels:
    """The labels of a released column, against the domain of the original one.

    ``generalised`` says that text is to be read as labels rather than as values.
    """
    if column.is_numeric:
        return NumberLabels(column, released, original)
    return TextLabels(column, released, original, generalised=generalised)


@dataclass(frozen=True)
class Pair:
    """``released`` row ``i`` came from ``original`` row ``ordinals[i]``; original rows not named were suppressed.

    ``classes`` is the equivalence class of each released row (equal labels in all quasi-identifiers), counted from 0;
    ``sizes`` the rows of each class, ``first`` the row by which a class is known.
    """

    schema: DatasetSchema
    original: pa.Table
    released: pa.Table
    ordinals: Index
    quasi: tuple[Compared, ...]
    sensitive: tuple[Compared, ...]
    classes: Index
    sizes: Index
    first: Index

    @property
    def suppressed(self) -> int:
        """How many original rows were not released."""
        return int(self.original.num_rows - self.released.num_rows)

    @classmethod
    def of(cls, schema: DatasetSchema, original: pa.Table, released: pa.Table, ordinals: npt.ArrayLike) -> Pair:
        """Compare two tables.

        Raises:
            InputError: a column is missing, the tables are empty, or the ordinals do not fit them.
        """
        rows = np.asarray(ordinals, np.int64)
        _check(schema, original, released, rows)
        quasi = tuple(Compared.of(column, original, released) for column in schema.quasi_identifiers)
        sensitive = tuple(Compared.of(column, original, released) for column in schema.with_role(Role.SENSITIVE))
        classes, first, sizes = group([one.labels.codes for one in quasi], len(rows))
        return cls(schema, original, released, rows, quasi, sensitive, classes, sizes, first)


def needed_columns(schema: DatasetSchema) -> list[str]:
    """The columns an assessment reads; nobody needs to keep the others in memory."""
    roles = (Role.RECORD_ID, Role.IDENTIFIER, Role.PERSON, Role.QUASI_IDENTIFIER, Role.SENSITIVE)
    return [column.name for column in schema.with_role(*roles)]


def group(codes: Sequence[Index], rows: int) -> tuple[Index, Index, Index]:
    """The class of each row (equal codes in all columns), and each class's first row and number of rows.

    >>> group([np.array([0, 0, 1]), np.array([5, 5, 5])], 3)[2].tolist()
    [2, 1]
    """
    classes = np.zeros(rows, np.int64)
    for column in codes:
        classes = np.unique(classes * (int(column.max(initial=0)) + 1) + column, return_inverse=True)[1]
    _, first, sizes = np.unique(classes, return_index=True, return_counts=True)
    return classes, first, sizes


def _check(schema: DatasetSchema, original: pa.Table, released: pa.Table, ordinals: Index) -> None:
    for name, table in (("original", original), ("released", released)):
        missing = [name for name in needed_columns(schema) if name not in table.column_names]
        if missing:
            raise InputError(
                f"the {name} table has no column {missing[0]!r}", hint=f"schema {schema.name!r} describes it"
            )
        if table.num_rows == 0:
            raise InputError(f"the {name} table has no rows", hint="there is nothing to compare")
    if len(ordinals) != released.num_rows or len(np.unique(ordinals)) != len(ordinals):
        raise InputError("each released row must name one original row of its own")
    if ordinals.min() < 0 or ordinals.max() >= original.num_rows:
        raise InputError("a released row names an original row that does not exist")


def align(schema: DatasetSchema, original: pa.Table, released: pa.Table) -> Index:
    """Which original row each released row came from: by record id, or by position where none was suppressed.

    Raises:
        InputError: neither is possible, or a record id is unknown or occurs twice.
    """
    name = schema.record_id
    if name is None:
        if original.num_rows != released.num_rows:
            raise InputError(
                f"{released.num_rows} released rows cannot be told apart among {original.num_rows} original ones",
                hint="without a column of role record_id, files of equal length are compared row by row",
            )
        return np.arange(original.num_rows)
    places = {key: row for row, key in enumerate(original[name].to_pylist())}
    keys = released[name].to_pylist()
    if len(places) != original.num_rows or len(set(keys)) != len(keys):
        raise InputError("a record id occurs twice", column=name)
    if unknown := sum(key not in places for key in keys):
        raise InputError(f"{unknown} released rows have a record id that the original does not have", column=name)
    return np.array([places[key] for key in keys], np.int64)
