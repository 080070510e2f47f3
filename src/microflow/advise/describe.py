"""Description of a file: a runnable descriptor with the reason for each column, and drift against one.

What is taken from the data and must not be (bounds and categories of differential privacy are public knowledge) is
marked; what cannot be known is left undecided, and then a job does not start. No value of the file is shown unless
examples are asked for: categories are listed where each occurs in many rows, and bounds are rounded outward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl

from microflow.advise.profile import ColumnProfile, FileProfile, profile_file, text_blocks
from microflow.advise.roles import Judgement, judge
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Others, Role
from microflow.sources import Quarantine
from microflow.sources.columns import known_as, typed_column
from microflow.sources.reader import column_names
from microflow.sources.tables import is_database

__all__ = ["Description", "Drift", "QuasiIdentifierSet", "describe", "describe_together", "drift_of"]


@dataclass(frozen=True, slots=True)
class Drift:
    """Differences between a file and its descriptor; ``retyped``: column to number of misfits and first reason."""

    new: tuple[str, ...]
    missing: tuple[str, ...]
    retyped: dict[str, tuple[int, str]]
    rows: int
    refused: int = 0

    def __bool__(self) -> bool:
        return bool(self.new or self.missing or self.retyped or self.refused)

    def lines(self) -> list[str]:
        """Differences as text, a line each; no value is shown."""
        lines = [f"new: {name!r} is not described" for name in self.new]
        lines += (f"missing: {name!r} is described and not there" for name in self.missing)
        for name, (count, reason) in self.retyped.items():
            lines.append(f"retyped: {count:,} of {self.rows:,} values of {name!r} do not fit: {reason}")
        if self.refused:
            lines.append(f"unreadable: {self.refused:,} rows cannot be read as they are described")
        return lines


def drift_of(path: Path | str, schema: DatasetSchema) -> Drift:
    """Differences between a file and a descriptor.

    Raises:
        InputError: the file cannot be read.
    """
    names = list(schema.names)
    if schema.source.header:
        names = known_as(column_names(path, schema.source), schema.names)
    there = [column for column in schema.columns if column.name in names]
    new = tuple(name for name in names if name not in schema.names) if schema.others == "refuse" else ()
    missing = tuple(name for name in schema.names if name not in names)
    texts = tuple(
        replace(column, role=Role.ATTRIBUTE, dtype=Dtype.STRING, format=None, required=False) for column in there
    )
    quarantine, rows, retyped = Quarantine(), 0, dict[str, tuple[int, str]]()
    for block in text_blocks(path, replace(schema, columns=texts, others="drop"), quarantine) if there else ():
        rows += block.num_rows
        for column in there:
            _, failures = typed_column(block.column(column.name).combine_chunks(), column)
            if failures:
                count, reason = retyped.get(column.name, (0, failures[0][1]))
                retyped[column.name] = count + len(failures), reason
    return Drift(new, missing, retyped, rows, quarantine.total)


#: A category is listed where so many rows have it: none of them is then one person's value.
MIN_CATEGORY_ROWS = 5

_MOST_CATEGORIES = 40
#: Quasi-identifiers combined with each other: all sets of up to three of the most distinct.
_MOST_QUASI_IDENTIFIERS, _LARGEST_SET, _MOST_SETS = 7, 3, 8
#: The share of a key's values that another key holds, where the two join.
_JOINED = 0.9
#: Bounds that are known without looking at the data.
_PUBLIC_BOUNDS = {"age": (0, 120), "latitude": (-90, 90), "longitude": (-180, 180)}
_SEXES = frozenset({"F", "M", "X", "U", "Female", "Male", "female", "male", "f", "m", "Other", "Unknown"})


@dataclass(frozen=True, slots=True)
class QuasiIdentifierSet:
    """Set of columns, and the number of rows whose values of these columns are unique."""

    columns: tuple[str, ...]
    singled_out: int


@dataclass(frozen=True)
class Description:
    """Description of a file: the schema, and the reason for each column."""

    schema: DatasetSchema
    judgements: dict[str, Judgement]
    profile: FileProfile
    from_data: frozenset[str]
    """Columns whose bounds or categories were taken from the data."""
    sets: tuple[QuasiIdentifierSet, ...]

    @property
    def undecided(self) -> tuple[str, ...]:
        """Columns whose role a person must decide."""
        return tuple(column.name for column in self.schema.with_role(Role.UNDECIDED))


def describe(path: Path | str) -> Description:
    """Describe one file; see `describe_together`."""
    return describe_together([path])[0]


def describe_together(paths: Sequence[Path | str], sheet: str = "") -> list[Description]:
    """Describe files that may be tables of one database: keys that join them share a token domain.

    Args:
        paths: Files, addresses or tables of any format that `microflow run` reads.
        sheet: Which one of a spreadsheet, where several hold rows.

    Returns:
        A description for each, in order.

    Raises:
        InputError: a file cannot be read.
    """
    profiles = [profile_file(path, sheet) for path in paths]
    domains = _domains(profiles) if len(profiles) > 1 else {}
    return [_described(profile, domains) for profile in profiles]


def _described(profile: FileProfile, domains: dict[tuple[str, str], str]) -> Description:
    judgements = {column.name: judge(column, is_named=profile.source.header) for column in profile.columns}
    judgements = _with_dates(_with_person(profile, judgements))
    columns, from_data = [], set[str]()
    for found in profile.columns:
        column, is_from_data = _column(found, judgements[found.name])
        if domain := domains.get((str(profile.path), found.name)):
            # A policy blanks unique identifiers; a database's key of a record is a code, and its tokens still join.
            column = replace(column, token_domain=domain, kind="code")
            reason = f"{judgements[found.name].reason}; it joins these tables"
            judgements[found.name] = replace(judgements[found.name], reason=reason)
        columns.append(column)
        from_data |= {found.name} if is_from_data else set()
    others: Others = "drop" if profile.left_out else "refuse"
    schema = DatasetSchema(_name_of(profile), tuple(columns), "combined", source=profile.source, others=others)
    return Description(schema, judgements, profile, frozenset(from_data), _quasi_identifier_sets(profile, schema))


def _name_of(profile: FileProfile) -> str:
    """The first part of a file's name, the last one of a table's."""
    is_table = is_database(profile.path)
    return profile.name.rpartition(".")[2] if is_table else profile.name.split(".")[0] or "described"


def _with_person(profile: FileProfile, judgements: dict[str, Judgement]) -> dict[str, Judgement]:
    """The key of persons that stands in several rows gets the role person: k then counts persons."""
    keys = [
        column
        for column in profile.columns
        if judgements[column.name].role is Role.IDENTIFIER
        and judgements[column.name].reason.endswith("names a person")
        and 1 < column.distinct < column.present
    ]
    if not keys:
        return judgements
    person = max(keys, key=lambda column: (column.missing == 0, column.distinct))
    reason = f"its name says that it names a person, with {person.present / person.distinct:.1f} rows each"
    return {**judgements, person.name: replace(judgements[person.name], role=Role.PERSON, reason=reason)}


def _with_dates(judgements: dict[str, Judgement]) -> dict[str, Judgement]:
    """Dates of events are what an attacker may know, where the file holds nothing else of that kind."""
    if any(judgement.role in {Role.QUASI_IDENTIFIER, Role.UNDECIDED} for judgement in judgements.values()):
        return judgements
    reason = "dates of events, which others may know; a policy shortens them"
    return {
        name: replace(judgement, role=Role.QUASI_IDENTIFIER, reason=reason)
        if judgement.kind == "date" and judgement.role is Role.ATTRIBUTE
        else judgement
        for name, judgement in judgements.items()
    }


def _column(profile: ColumnProfile, judgement: Judgement) -> tuple[Column, bool]:
    """The column as the schema holds it, and whether a bound or category was taken from the data."""
    dtype = judgement.dtype or profile.dtype
    if judgement.role is Role.UNDECIDED and profile.is_ambiguous:
        dtype = Dtype.STRING
    column = Column(
        profile.name,
        judgement.role,
        dtype,
        judgement.kind,
        required=judgement.role is Role.RECORD_ID,
        format=profile.format if dtype is profile.dtype and dtype is not Dtype.STRING else None,
    )
    if judgement.kind == "zip":
        return replace(column, hierarchy=Hierarchy(prefix=(5, 3, 2, 1, 0))), False
    if judgement.role not in {Role.QUASI_IDENTIFIER, Role.SENSITIVE}:
        return column, False
    if judgement.kind in _PUBLIC_BOUNDS:
        low, high = _PUBLIC_BOUNDS[judgement.kind]
        return replace(column, low=low, high=high), False
    if column.is_numeric and profile.low is not None and profile.high is not None and column.format is None:
        number = int if column.dtype is Dtype.INTEGER else float
        least, most = map(number, _outward(profile.low, profile.high))
        return replace(column, low=least, high=most), True
    counts: dict[str, int] = (profile.counts or {}) if dtype is Dtype.STRING and judgement.kind is None else {}
    are_few = 1 < len(counts) <= _MOST_CATEGORIES
    if not are_few or (min(counts.values()) < MIN_CATEGORY_ROWS and not set(counts) <= _SEXES):
        return column, False
    return replace(column, categories=tuple(sorted(counts))), True


def _outward(low: float, high: float) -> tuple[float, float]:
    """Bounds rounded outward to two digits of their distance, so that they are no person's value.

    >>> _outward(17, 88), _outward(0, 98765)
    ((10.0, 90.0), (0.0, 99000.0))
    """
    width = max(high - low, abs(high), abs(low)) or 1.0
    step = 10.0 ** (math.floor(math.log10(width)) - (1 if width > 100 else 0))  # noqa: PLR2004
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step
    return (first, last) if first < last else (first, first + step)


def _quasi_identifier_sets(profile: FileProfile, schema: DatasetSchema) -> tuple[QuasiIdentifierSet, ...]:
    """Sets of up to three quasi-identifiers by the rows they single out, and all of them together first."""
    names = {column.name for column in schema.quasi_identifiers}
    found = [column for column in profile.columns if column.name in names and column.distinct > 1]
    if not found:
        return ()
    chosen = sorted(found, key=lambda column: -column.distinct)[:_MOST_QUASI_IDENTIFIERS]
    sizes = range(1, min(_LARGEST_SET, len(found) - 1) + 1)
    sets = [_singling_out(some) for size in sizes for some in combinations(chosen, size)]
    sets.sort(key=lambda combination: (-combination.singled_out, len(combination.columns)))
    return (_singling_out(found), *sets[:_MOST_SETS])


def _singling_out(columns: Sequence[ColumnProfile]) -> QuasiIdentifierSet:
    """These columns, and the rows that no other row shares all their values with."""
    combined = np.zeros(len(columns[0].hashes), np.uint64)
    for column in columns:
        combined = combined * np.uint64(0x9E3779B97F4A7C15) + column.hashes + np.uint64(1)
        combined ^= combined >> np.uint64(29)
    return QuasiIdentifierSet(tuple(column.name for column in columns), int(pl.Series(combined).is_unique().sum()))


def _domains(profiles: Sequence[FileProfile]) -> dict[tuple[str, str], str]:
    """Token domains of the keys that join files: nine in ten of a column's values occur in another file's key."""
    keys = [
        (profile, column)
        for profile in profiles
        for column in profile.columns
        if column.distinct > 1 and judge(column).role is Role.IDENTIFIER and judge(column).kind == "unique_id"
    ]
    values = [pl.Series(column.hashes).unique().to_numpy() for _, column in keys]
    domains: dict[tuple[str, str], str] = {}
    for (profile, column), own in zip(keys, values, strict=True):
        for (other, key), theirs in zip(keys, values, strict=True):
            joins = profile is not other and np.isin(own, theirs).mean() >= _JOINED and len(theirs) >= len(own)
            if joins and key.is_unique:
                name = domains.setdefault((str(other.path), key.name), f"{_name_of(other)}_{key.name}".lower())
                domains[str(profile.path), column.name] = name
    return domains
