"""A file described: a runnable descriptor as YAML or plain data, with the reason for each column.

What is taken from the data and must not be (bounds and categories of differential privacy are public knowledge) is
marked; what cannot be known is left undecided, and then a job does not start. No value of the file is shown unless
examples are asked for: categories are listed where each occurs in many rows, and bounds are rounded outward.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from microflow.advise.profile import ColumnProfile, FileProfile, profile_file
from microflow.advise.roles import Judgement, judge
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role, SourceFormat
from microflow.sources.tables import is_database

__all__ = ["Description", "QuasiIdentifierSet", "as_data", "as_yaml", "describe", "describe_together"]

#: A category is listed where so many rows have it: none of them is then one person's value.
MIN_CATEGORY_ROWS = 5

_MOST_CATEGORIES = 40
#: Quasi-identifiers combined with each other: all sets of up to three of the most distinct.
_MOST_QUASI_IDENTIFIERS, _LARGEST_SET, _MOST_SETS = 7, 3, 8
#: The share of a key's values that another key holds, where the two join.
_JOINED = 0.9
_OLDEST = 120
_SEXES = frozenset({"F", "M", "X", "U", "Female", "Male", "female", "male", "f", "m", "Other", "Unknown"})


@dataclass(frozen=True, slots=True)
class QuasiIdentifierSet:
    """Columns, and how many rows are the only ones with their values of these columns."""

    columns: tuple[str, ...]
    singled_out: int


@dataclass(frozen=True)
class Description:
    """A described file: the schema, and why each column is what it is."""

    schema: DatasetSchema
    judgements: dict[str, Judgement]
    profile: FileProfile
    from_data: frozenset[str]
    """Columns whose bounds or categories were taken from the data."""
    sets: tuple[QuasiIdentifierSet, ...]

    @property
    def undecided(self) -> tuple[str, ...]:
        """The columns that a person has to decide about."""
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
    judged = {column.name: judge(column, is_named=profile.source.header) for column in profile.columns}
    judgements = _with_dates(_with_person(profile, judged))
    columns, from_data = [], set[str]()
    for found in profile.columns:
        column, is_from_data = _column(found, judgements[found.name])
        if domain := domains.get((str(profile.path), found.name)):
            # A policy blanks unique identifiers; a database's key of a record is a code, and its tokens still join.
            column = replace(column, token_domain=domain, kind="code")
            reason = f"{judgements[found.name].reason}; it joins these tables"
            judgements[found.name] = replace(judgements[found.name], reason=reason)
        columns.append(column)
        if is_from_data:
            from_data.add(found.name)
    schema = DatasetSchema(
        name=_name_of(profile),
        columns=tuple(columns),
        policy="combined",
        source=profile.source,
        others="drop" if profile.left_out else "refuse",
    )
    return Description(schema, judgements, profile, frozenset(from_data), _quasi_identifier_sets(profile, schema))


def _name_of(profile: FileProfile) -> str:
    """The first part of a file's name, the last one of a table's."""
    if is_database(profile.path):
        return profile.name.rpartition(".")[2]
    return profile.name.split(".")[0] or "described"


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
    rows = person.present / person.distinct
    found = replace(
        judgements[person.name],
        role=Role.PERSON,
        reason=f"its name says that it names a person, with {rows:.1f} rows each",
    )
    return {**judgements, person.name: found}


def _with_dates(judgements: dict[str, Judgement]) -> dict[str, Judgement]:
    """Dates of events are what an attacker may know, where the file holds nothing else of that kind."""
    if any(one.role in {Role.QUASI_IDENTIFIER, Role.UNDECIDED} for one in judgements.values()):
        return judgements
    reason = "dates of events, which others may know; a policy shortens them"
    return {
        name: replace(one, role=Role.QUASI_IDENTIFIER, reason=reason)
        if one.kind == "date" and one.role is Role.ATTRIBUTE
        else one
        for name, one in judgements.items()
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
    if judgement.kind == "age":
        return replace(column, low=0, high=_OLDEST), False
    if judgement.kind in {"latitude", "longitude"}:
        largest = 90 if judgement.kind == "latitude" else 180
        return replace(column, low=-largest, high=largest), False
    if column.is_numeric and profile.low is not None and profile.high is not None and column.format is None:
        low, high = _outward(profile.low, profile.high)
        whole = column.dtype is Dtype.INTEGER
        return replace(column, low=int(low) if whole else low, high=int(high) if whole else high), True
    categories = _categories(profile) if dtype is Dtype.STRING and judgement.kind is None else ()
    return replace(column, categories=categories), bool(categories)


def _outward(low: float, high: float) -> tuple[float, float]:
    """Bounds rounded outward to two digits of their distance, so that they are nobody's value.

    >>> _outward(17, 88), _outward(0, 98765)
    ((10.0, 90.0), (0.0, 99000.0))
    """
    width = max(high - low, abs(high), abs(low)) or 1.0
    step = 10.0 ** (math.floor(math.log10(width)) - (1 if width > 100 else 0))  # noqa: PLR2004
    first, last = math.floor(low / step) * step, math.ceil(high / step) * step
    return (first, last) if first < last else (first, first + step)


def _categories(profile: ColumnProfile) -> tuple[str, ...]:
    counts = profile.counts
    if counts is None or not 1 < len(counts) <= _MOST_CATEGORIES:
        return ()
    if min(counts.values()) < MIN_CATEGORY_ROWS and not set(counts) <= _SEXES:
        return ()
    return tuple(sorted(counts))


def _quasi_identifier_sets(profile: FileProfile, schema: DatasetSchema) -> tuple[QuasiIdentifierSet, ...]:
    """Sets of up to three quasi-identifiers by the rows they single out, and all of them together first."""
    names = {column.name for column in schema.quasi_identifiers}
    found = [column for column in profile.columns if column.name in names and column.distinct > 1]
    if not found:
        return ()
    chosen = sorted(found, key=lambda column: -column.distinct)[:_MOST_QUASI_IDENTIFIERS]
    sizes = range(1, min(_LARGEST_SET, len(found) - 1) + 1)
    sets = [_singling_out(some) for size in sizes for some in combinations(chosen, size)]
    sets.sort(key=lambda one: (-one.singled_out, len(one.columns)))
    return (_singling_out(found), *sets[:_MOST_SETS])


def _singling_out(columns: Sequence[ColumnProfile]) -> QuasiIdentifierSet:
    """These columns, and the rows that no other row shares all their values with."""
    combined = np.zeros(len(columns[0].hashes), np.uint64)
    for column in columns:
        combined = combined * np.uint64(0x9E3779B97F4A7C15) + column.hashes + np.uint64(1)
        combined ^= combined >> np.uint64(29)
    return QuasiIdentifierSet(tuple(one.name for one in columns), int(pl.Series(combined).is_unique().sum()))


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


#: A text that YAML takes for a text without quotes, unless it is one of the words.
_BARE = re.compile(r"[^\W\d][\w-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
_MOST_EXAMPLES = 3


def as_yaml(description: Description, *, examples: bool = False) -> str:
    """The descriptor as YAML; with ``examples``, up to three values of each column stand in its comment."""
    schema, profile = description.schema, description.profile
    model = resources.files("microflow.descriptors").joinpath("descriptor.schema.json")
    lines = [
        f"# yaml-language-server: $schema=file://{model}",
        f"# {profile.name}: {profile.rows:,} rows, described by looking at them. Read it before you rely on it.",
    ]
    if profile.refused:
        lines.append(f"# {profile.refused:,} rows cannot be read and will be quarantined.")
    lines += _about_sets(description)
    if description.undecided:
        names = ", ".join(map(_word, description.undecided))
        lines.append(f"# Undecided, so that 'microflow run' does not start: {names}")
    lines += [f"name: {_word(schema.name)}", f"policy: {_word(schema.policy)}"]
    if source := _source_settings(schema.source):
        lines.append(f"source: {_flow(source)}")
    if profile.left_out:
        names = ", ".join(map(_word, profile.left_out))
        lines.append(f"others: {schema.others}  # lists, which are no single values, do not come along: {names}")
    lines.append("columns:")
    for column in schema.columns:
        lines.append(f"  # {_about(description, column, examples=examples)}")
        lines.append(f"  {_word(column.name)}: {_flow(_settings(column))}")
        if column.name in description.from_data:
            lines[-1] += "  # taken from the data: confirm before differential privacy"
    return "\n".join(lines) + "\n"


def as_data(description: Description, *, examples: bool = False) -> dict[str, Any]:
    """The description as plain values, to be written as JSON."""
    schema, profile = description.schema, description.profile
    found = {column.name: column for column in profile.columns}
    return {
        "file": str(profile.path),
        "rows": profile.rows,
        "refused": profile.refused,
        "left_out": list(profile.left_out),
        "name": schema.name,
        "policy": schema.policy,
        "person": schema.person,
        "undecided": list(description.undecided),
        "source": _source_settings(schema.source),
        "columns": {
            column.name: {
                **_settings(column),
                "reason": description.judgements[column.name].reason,
                "confidence": description.judgements[column.name].confidence,
                "from_data": column.name in description.from_data,
                "missing": found[column.name].missing,
                "distinct": found[column.name].distinct,
                **({"examples": found[column.name].examples[:_MOST_EXAMPLES]} if examples else {}),
            }
            for column in schema.columns
        },
        "quasi_identifier_sets": [
            {"columns": list(one.columns), "singled_out": one.singled_out} for one in description.sets
        ],
    }


def _about_sets(description: Description) -> list[str]:
    if not description.sets or not description.profile.rows:
        return []
    lines = ["# Rows that quasi-identifiers single out, all of them and the worst sets of up to three:"]
    for one in description.sets:
        share = one.singled_out / description.profile.rows
        lines.append(f"#   {share:6.1%}  {' + '.join(map(_word, one.columns))}")
    return lines


def _about(description: Description, column: Column, *, examples: bool) -> str:
    judgement = description.judgements[column.name]
    found = next(one for one in description.profile.columns if one.name == column.name)
    text = judgement.reason
    text += f" (confidence {judgement.confidence:.2f})" if judgement.confidence else " (decide: what is it?)"
    text += f"; {found.distinct:,} distinct"
    if found.missing:
        text += f", {found.missing:,} missing"
    if examples and found.examples:
        text += "; such as " + ", ".join(map(_quoted, found.examples[:_MOST_EXAMPLES]))
    return text


def _settings(column: Column) -> dict[str, Any]:
    """What a descriptor says of a column, defaults left out."""
    settings: dict[str, Any] = {"role": str(column.role)}
    if column.dtype is not Dtype.STRING:
        settings["type"] = str(column.dtype)
    for word in ("kind", "format", "low", "high", "token_domain"):
        if getattr(column, word) is not None:
            settings[word] = getattr(column, word)
    if column.categories:
        settings["categories"] = list(column.categories)
    if column.hierarchy is not None:
        settings["hierarchy"] = {"prefix": list(column.hierarchy.prefix)}
    if column.required:
        settings["required"] = True
    return settings


def _source_settings(source: SourceFormat) -> dict[str, Any]:
    plain = SourceFormat()
    settings: dict[str, Any] = {}
    for word in ("delimiter", "quote", "encoding", "header", "trim", "sheet"):
        if getattr(source, word) != getattr(plain, word):
            settings[word] = getattr(source, word)
    if source.missing:
        settings["missing"] = sorted(source.missing)
    return settings


def _flow(value: object) -> str:
    """A value in YAML's flow style, every text that might be taken for something else in quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_word(str(key))}: {_flow(below)}" for key, below in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _word(value) if isinstance(value, str) else repr(value)


def _word(text: str) -> str:
    return text if _BARE.fullmatch(text) and text.lower() not in _WORDS else _quoted(text)


def _quoted(text: str) -> str:
    """A double-quoted scalar: what is no printable ASCII, a quote or a backslash is escaped."""
    escaped = "".join(
        sign if sign.isprintable() and sign not in '"\\' else _ESCAPES.get(sign) or f"\\U{ord(sign):08X}"
        for sign in text
    )
    return f'"{escaped}"'
