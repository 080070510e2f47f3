"""A descriptor as text: YAML with comments, or plain data for a program.

No value of the file is shown unless examples are asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any

import yaml

from microflow.advise.describe import Description
from microflow.schema import DEFAULT_URGENCY, Column, DatasetSchema, Dtype, Hierarchy, SourceFormat, UrgencyRule

__all__ = ["as_data", "as_yaml", "schema_as_yaml"]

#: A text that YAML takes for a text without quotes, unless it is one of the words.
_BARE = re.compile(r"[^\W\d][\w-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
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
    if description.sets and profile.rows:
        lines.append("# Rows that quasi-identifiers single out, all of them and the worst sets of up to three:")
        lines += (
            f"#   {found.singled_out / profile.rows:6.1%}  {' + '.join(map(_word, found.columns))}"
            for found in description.sets
        )
    for names, said in (
        (description.undecided, "Undecided, so that 'microflow run' does not start"),
        (profile.left_out, "Lists, which are no single values, do not come along"),
    ):
        lines += [f"# {said}: {', '.join(map(_word, names))}"] if names else []
    comments = {column.name: _about(description, column.name, examples=examples) for column in schema.columns}
    return "\n".join(lines) + "\n" + schema_as_yaml(schema, comments, description.from_data)


def schema_as_yaml(
    schema: DatasetSchema, comments: Mapping[str, str] | None = None, from_data: frozenset[str] = frozenset()
) -> str:
    """A descriptor that `load_schema` reads as this schema.

    Args:
        schema: What the columns mean.
        comments: By column, a line above it.
        from_data: Columns whose bounds or categories were taken from the data, which is marked.
    """
    lines = [f"name: {_word(schema.name)}", f"policy: {_word(schema.policy)}"]
    if schema.title:
        lines.append(f"title: {_word(schema.title)}")
    if source := _source_settings(schema.source):
        lines.append(f"source: {_flow(source)}")
    if schema.others != "refuse":
        lines.append(f"others: {schema.others}")
    if schema.unlisted != "pass":
        lines.append(f"unlisted: {schema.unlisted}")
    if schema.urgent != DEFAULT_URGENCY:
        lines.append(f"urgent: {_flow([_urgency(rule) for rule in schema.urgent])}")
    lines.append("columns:")
    for column in schema.columns:
        if comments:
            lines.append(f"  # {comments[column.name]}")
        lines.append(f"  {_word(column.name)}: {_flow(_settings(column))}")
        if column.name in from_data:
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
            {"columns": list(found.columns), "singled_out": found.singled_out} for found in description.sets
        ],
    }


def _about(description: Description, name: str, *, examples: bool) -> str:
    judgement = description.judgements[name]
    found = next(profiled for profiled in description.profile.columns if profiled.name == name)
    sure = f"confidence {judgement.confidence:.2f}" if judgement.confidence else "decide: what is it?"
    text = f"{judgement.reason} ({sure}); {found.distinct:,} distinct"
    if found.missing:
        text += f", {found.missing:,} missing"
    if examples and found.examples:
        text += "; such as " + ", ".join(map(_quoted, found.examples[:_MOST_EXAMPLES]))
    return text


def _settings(column: Column) -> dict[str, Any]:
    """Entries of a descriptor about a column, defaults left out."""
    settings: dict[str, Any] = {"role": str(column.role)}
    if column.dtype is not Dtype.STRING:
        settings["type"] = str(column.dtype)
    plain = Column(column.name)
    for word in (
        "kind", "format", "low", "high", "token_domain", "categories", "hierarchy", "ordered", "required", "share"
    ):  # fmt: skip
        value = getattr(column, word)
        if isinstance(value, Hierarchy):
            value = {"prefix": list(value.prefix)} if value.prefix else {"tree": _below(value.parents, None)}
        if value != getattr(plain, word):
            settings[word] = list(value) if isinstance(value, tuple) else value
    return settings


def _urgency(rule: UrgencyRule) -> dict[str, Any]:
    words = {word: list(value) if isinstance(value, tuple) else value for word, value in asdict(rule).items()}
    return {word: value for word, value in words.items() if value not in (None, [])}


def _below(parents: Mapping[str, str], label: str | None) -> dict[str, Any] | list[str]:
    """Labels and values below a label of a hierarchy; below none, the root."""
    children = (
        [child for child, parent in parents.items() if parent == label]
        if label
        else sorted(set(parents.values()) - set(parents))
    )
    inner = set(parents.values())
    return {child: _below(parents, child) for child in children} if inner & set(children) else children


def _source_settings(source: SourceFormat) -> dict[str, Any]:
    words = ("delimiter", "quote", "encoding", "header", "trim", "sheet", "missing")
    settings = {word: getattr(source, word) for word in words if getattr(source, word) != getattr(SourceFormat(), word)}
    return settings | ({"missing": sorted(source.missing)} if source.missing else {})


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
    """A double-quoted scalar on one line: what is no printable letter, a quote or a backslash is escaped."""
    return yaml.safe_dump(text, default_style='"', width=math.inf, allow_unicode=True).removesuffix("\n")
