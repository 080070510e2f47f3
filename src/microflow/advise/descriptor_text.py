"""Writes a description as a descriptor with comments, or as plain data for a program."""

from __future__ import annotations

import re
from importlib import resources
from typing import Any

from microflow.advise.describe import Description
from microflow.schema import Column, Dtype, SourceFormat

__all__ = ["as_data", "as_yaml"]

_BARE = re.compile(r"[^\W\d][\w-]*", re.ASCII)
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_MOST_EXAMPLES = 3


def as_yaml(description: Description, *, examples: bool = False) -> str:
    """The descriptor as YAML; with ``examples``, up to three values of each column stand in its comment."""
    schema, profile = description.schema, description.profile
    model = resources.files("microflow.descriptors").joinpath("descriptor.schema.json")
    lines = [
        f"# yaml-language-server: $schema=file://{model}",
        f"# {profile.path.name}: {profile.rows:,} rows, described by looking at them. Read it before you rely on it.",
    ]
    if profile.refused:
        lines.append(f"# {profile.refused:,} rows cannot be read and will be quarantined.")
    lines += _about_sets(description)
    if description.undecided:
        names = ", ".join(map(_word, description.undecided))
        lines.append(f"# Undecided, so that 'microflow run' does not start: {names}")
    lines += [f"name: {_word(schema.name)}", f"policy: {_word(schema.policy)}"]
    if source := _source(schema.source):
        lines.append(f"source: {source}")
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
    for word in ("delimiter", "quote", "encoding", "header", "trim"):
        if getattr(source, word) != getattr(plain, word):
            settings[word] = getattr(source, word)
    if source.missing:
        settings["missing"] = sorted(source.missing)
    return settings


def _source(source: SourceFormat) -> str:
    settings = _source_settings(source)
    return _flow(settings) if settings else ""


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


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"}
