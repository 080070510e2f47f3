"""What a released file holds by a count of its own: k, l, t and the average risk, against what is required.

Nothing of the method is used, nor of its input: classes are the rows that a reader cannot tell apart. Where the schema
has a column of role person, its distinct values are counted, and a person counts once for each of their values.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.diversity import diverse_columns
from microflow.anonymize.k_anonymity import require_classes
from microflow.errors import InputError, MicroflowError
from microflow.schema import Column, DatasetSchema
from microflow.sources import Quarantine, read_microflows

__all__ = ["ColumnHeld", "Verification", "class_sizes", "stated", "verified"]

#: Microflows counted together before they are merged: fewer merges, bounded memory.
_GROUP = 200
#: Names that no column of a file has.
_ROWS, _CLASS, _MEMBERS, _SHARE = "\0rows", "\0class", "\0members", "\0share"
#: Rounding of sums of floats turns nothing away that meets a bound exactly.
_SLACK = 1e-9
#: Of what a document of metrics states: what it means when it is left out (k never is), the least and the most.
_STATED = {
    "k": (0, 2, 2**62), "l_diversity": (1, 1, 2**62), "l_recursive": (0.0, 0.0, 1e300), "t_closeness": (1.0, 0.0, 1.0)
}  # fmt: skip


def class_sizes(file: Path, schema: DatasetSchema) -> tuple[pl.DataFrame, str]:
    """The ``rows`` and ``members`` of every combination of quasi-identifiers; null is a value. And their unit.

    Members are the distinct persons where the schema has a column of role person, and the rows otherwise. Rows whose
    person is missing count as one person together, so that k is never overstated; where no row names a person, as after
    a method that removes identifiers, rows are counted and the unit is ``row``. Memory is bounded by the classes.

    Raises:
        InputError: the file cannot be read, holds unusable rows, or the schema has no quasi-identifier.
    """
    cells = _cells(file, schema, ())
    members, unit = _members(cells, schema)
    return _sizes(cells, schema, members), unit


def _sizes(cells: pl.DataFrame, schema: DatasetSchema, members: pl.Expr) -> pl.DataFrame:
    names = [column.name for column in schema.quasi_identifiers]
    counted = pl.col(_ROWS).sum().alias("rows"), members.alias("members")
    return cells.group_by(names).agg(counted).select("rows", "members")


def _cells(file: Path, schema: DatasetSchema, sensitive: Iterable[str]) -> pl.DataFrame:
    """The different combinations of quasi-identifiers, sensitive values and person, and the rows of each."""
    names = [column.name for column in schema.quasi_identifiers]
    if not names:
        raise InputError(f"schema {schema.name!r} has no quasi-identifier", hint="give a column that role")
    keys = [*names, *sensitive] if schema.person is None else [*names, *sensitive, schema.person]

    def merged(parts: list[pl.DataFrame]) -> pl.DataFrame:
        return pl.concat(parts).group_by(keys).agg(pl.col(_ROWS).sum())

    nothing = pl.DataFrame(schema={**dict.fromkeys(keys, pl.String), _ROWS: pl.Int64})
    counted = [nothing]
    quarantine = Quarantine()
    # Text, as a release writes it, whatever the type was before.
    for flow in read_microflows(file, schema.released(), quarantine=quarantine):
        rows = pl.DataFrame(flow.rows.select(keys))
        counted.append(rows.group_by(keys).agg(pl.len().cast(pl.Int64).alias(_ROWS)))
        if len(counted) == _GROUP:
            counted = [merged(counted)]
    quarantine.require_none(file)
    return merged(counted)


def _members(cells: pl.DataFrame, schema: DatasetSchema) -> tuple[pl.Expr, str]:
    """How many members some cells have, and what is counted: persons, or rows where none is named."""
    person = schema.person
    if person is None or cells[person].null_count() == len(cells):
        return pl.col(_ROWS).sum(), "row"
    return pl.col(person).n_unique().cast(pl.Int64), "person"


@dataclass(frozen=True, slots=True)
class ColumnHeld:
    """What every class holds of one sensitive column.

    Attributes:
        l_distinct: The fewest different values.
        l_entropy: The least exponential of the values' entropy.
        recursive_c: Of recursive (c', l)-diversity with the l that is required every c' above this holds; infinite
            where a class has fewer than l values.
        t: The greatest distance from everybody in the file.
    """

    l_distinct: int
    l_entropy: float
    recursive_c: float
    t: float


def _held(cells: pl.DataFrame, column: Column, members: pl.Expr, least: int) -> ColumnHeld:
    name = column.name
    found = cells.group_by(_CLASS, name).agg(members.alias(_MEMBERS))
    found = found.with_columns((pl.col(_MEMBERS) / pl.col(_MEMBERS).sum().over(_CLASS)).alias(_SHARE))
    share, falling = pl.col(_SHARE), pl.col(_MEMBERS).sort(descending=True)
    by_class = found.group_by(_CLASS).agg(
        pl.len().alias("l"),
        (-(share * share.log())).sum().exp().alias("entropy"),
        (falling.first() / falling.slice(max(least, 1) - 1).sum()).alias("c"),
    )
    return ColumnHeld(
        l_distinct=int(by_class["l"].to_numpy().min()),
        l_entropy=float(by_class["entropy"].to_numpy().min()),
        recursive_c=float(by_class["c"].to_numpy().max()),
        t=_distance(found, cells.group_by(name).agg(members.alias(_MEMBERS)), column),
    )


def _distance(found: pl.DataFrame, everybody: pl.DataFrame, column: Column) -> float:
    """The greatest earth mover's distance of a class: ordered where the categories are, else all values equally far."""
    declared = {value: place for place, value in enumerate(column.categories)}
    order = sorted(everybody[column.name].to_list(), key=lambda value: _place(value, declared))
    rank_of = {value: rank for rank, value in enumerate(order)}
    shares = np.zeros(len(order))
    counts = everybody[_MEMBERS].to_numpy()
    shares[[rank_of[value] for value in everybody[column.name].to_list()]] = counts / counts.sum()
    classes = np.unique(found[_CLASS].to_numpy(), return_inverse=True)[1]
    ranks = np.array([rank_of[value] for value in found[column.name].to_list()])
    own = found[_SHARE].to_numpy()
    if not column.ordered:  # the sum of the surpluses
        return float(np.bincount(classes, np.maximum(own - shares[ranks], 0)).max())
    apart = np.zeros((int(classes.max()) + 1, len(order)))
    apart[classes, ranks] = own
    return float(np.abs(np.cumsum(apart - shares, axis=1)).sum(axis=1).max() / max(1, len(order) - 1))


def _place(value: str | None, declared: Mapping[str, int]) -> tuple[int, str]:
    """A missing value stands before the categories, what is none of them behind."""
    return (-1, "") if value is None else (declared.get(value, len(declared)), value)


@dataclass(frozen=True)
class Verification:
    """What was counted on a release, and what is required of it.

    Attributes:
        required: k, l and t.
        most_average_risk: The greatest mean, over the members, of 1 over the size of their class; 1 asks for nothing.
        unit: What is counted, ``person`` or ``row``.
        rows: Of the file.
        k: Members of the smallest class.
        classes: How many there are.
        classes_below: Classes with fewer members than required.
        rows_below: The rows of these.
        average_risk: Classes over members: what an attacker gets right who knows everybody's quasi-identifiers.
        columns: By sensitive column; empty where no l and no t is required.
    """

    required: MethodSettings
    most_average_risk: float
    unit: str
    rows: int
    k: int
    classes: int
    classes_below: int
    rows_below: int
    average_risk: float
    columns: Mapping[str, ColumnHeld]

    @property
    def is_satisfied(self) -> bool:
        """Whether the release holds all that is required."""
        return all(holds for holds, _ in self._judged())

    def lines(self) -> list[str]:
        """One line for each requirement, and a verdict where there are several."""
        judged = list(self._judged())
        lines = [text if holds else f"not {text}" for holds, text in judged]
        if len(judged) > 1:
            failed = sum(not holds for holds, _ in judged)
            lines.append(f"verdict: {f'failed, {failed} of {len(judged)} requirements' if failed else 'passed'}")
        return lines

    def _judged(self) -> Iterator[tuple[bool, str]]:
        """Whether each requirement is met, in words that "not" may stand before."""
        asked, members = self.required, self.unit if self.k == 1 else f"{self.unit}s"
        if self.classes_below:
            yield (
                False,
                (
                    f"{asked.k}-anonymous: the smallest of {self.classes:,} classes has {self.k} {members};"
                    f" {self.classes_below:,} classes with {self.rows_below:,} rows are below {asked.k}"
                ),
            )
        else:
            counts = f"{self.rows:,} rows in {self.classes:,} classes"
            yield True, f"{asked.k}-anonymous: {counts}, the smallest has {self.k} {members}"
        for name, held in self.columns.items():
            yield from _judged_column(asked, name, held)
        if self.most_average_risk < 1:
            holds = self.average_risk <= self.most_average_risk + _SLACK
            yield holds, f"within the average risk of {self.most_average_risk:g}: it is {self.average_risk:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready. ``k`` and its counts, ``average_risk``, and what was required besides with what is held."""
        asked = self.required
        found: dict[str, Any] = {
            "k": self.k,
            "required_k": asked.k,
            "satisfied": self.is_satisfied,
            "failures": [text for holds, text in self._judged() if not holds],
            "unit": self.unit,
            "rows": self.rows,
            "classes": self.classes,
            "classes_below": self.classes_below,
            "rows_below": self.rows_below,
            "average_risk": self.average_risk,
            "highest_risk": 1 / self.k,
        }
        if self.most_average_risk < 1:
            found["required_average_risk"] = self.most_average_risk
        if self.columns:
            found["required_l"], found["l_kind"], found["required_t"] = (
                asked.l_diversity, _kind(asked), asked.t_closeness
            )  # fmt: skip
            found["columns"] = {
                name: {
                    "l": held.l_distinct,
                    "l_entropy": held.l_entropy,
                    "recursive_c": held.recursive_c if math.isfinite(held.recursive_c) else None,
                    "t": held.t,
                }
                for name, held in self.columns.items()
            }
        return found


def _kind(asked: MethodSettings) -> str:
    return "entropy" if asked.l_entropy else "recursive" if asked.l_recursive else "distinct"


def _judged_column(asked: MethodSettings, name: str, held: ColumnHeld) -> Iterator[tuple[bool, str]]:
    least = asked.l_diversity
    if asked.l_entropy:
        holds = math.log(held.l_entropy) >= math.log(least) - _SLACK
        yield holds, f"entropy {least}-diverse in {name}: the weakest class has {held.l_entropy:.4g}"
    elif least > 1:
        yield held.l_distinct >= least, f"{least}-diverse in {name}: the weakest class has {held.l_distinct} values"
    if asked.l_recursive:
        holds = held.recursive_c < asked.l_recursive * (1 - _SLACK)
        yield holds, f"recursively ({asked.l_recursive:g}, {least})-diverse in {name}: c is {held.recursive_c:.4g}"
    if asked.t_closeness < 1:
        holds = held.t <= asked.t_closeness + _SLACK
        yield holds, f"{asked.t_closeness:g}-close in {name}: the farthest class is {held.t:.4g} from everybody"


def verified(file: Path, schema: DatasetSchema, required: MethodSettings, average_risk: float = 1.0) -> Verification:
    """Count a released file and hold it against what is required.

    l and t are those of every sensitive column that is not a number, and t is held against everybody in the file: rows
    that were suppressed are not there to be compared with.

    Raises:
        InputError: the file cannot be read, or holds no rows.
        MicroflowError: what is required does not fit together, or there is no column to hold it in.
    """
    require_classes(required, schema)
    if required.l_entropy and required.l_diversity <= 1:
        raise MicroflowError("entropy l-diversity takes an l of at least 2", hint="such as --l 3 --l-entropy")
    columns = diverse_columns(required, schema)
    cells = _cells(file, schema, [column.name for column in columns])
    if cells.is_empty():
        raise InputError("there are no rows to verify", path=file)
    members, unit = _members(cells, schema)
    sizes = _sizes(cells, schema, members)
    counts = sizes["members"].to_numpy()
    small = sizes.filter(pl.col("members") < required.k)
    # A class is known by the place of its first combination.
    names = [column.name for column in schema.quasi_identifiers]
    placed = cells.with_row_index(_CLASS).with_columns(pl.col(_CLASS).first().over(names))
    return Verification(
        required=required,
        most_average_risk=average_risk,
        unit=unit,
        rows=int(sizes["rows"].sum()),
        k=int(counts.min()),
        classes=len(counts),
        classes_below=len(small),
        rows_below=int(small["rows"].sum()),
        average_risk=len(counts) / int(counts.sum()),
        columns={column.name: _held(placed, column, members, required.l_diversity) for column in columns},
    )


def stated(document: Any, path: Path) -> MethodSettings:
    """What was asked for, by a document that ``microflow run --metrics`` wrote.

    Raises:
        InputError: it is no such document, or its method is not k-anonymity.
    """
    method = document.get("method") if isinstance(document, dict) else None
    if not isinstance(method, dict):
        raise InputError("no document of metrics", path=path, hint="name the file that 'microflow run --metrics' wrote")
    if method.get("method") != Method.K_ANONYMITY.value:
        raise InputError("its method is not k-anonymity: no k, l or t was asked for", path=path)
    found: dict[str, Any] = {}
    for name, (plain, least, most) in _STATED.items():
        found[name] = method.get(name, plain)
        if type(found[name]) not in (type(plain), int) or not least <= found[name] <= most:
            raise InputError(f"{name} is not from {least:g} to {most:g}", path=path)
    return MethodSettings(Method.K_ANONYMITY, l_entropy=method.get("l_entropy") is True, **found)
