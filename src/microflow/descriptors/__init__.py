r"""Reads a data set descriptor (YAML) into a `microflow.schema.DatasetSchema`.

Five ship with the package: ``healthcare``, ``financial``, ``ecommerce``, ``iot`` and ``adult`` (UCI Adult). A user's
own is a path. Everything wrong with one is a `SchemaError` that names the file, the line, the column and the words
allowed::

    name: visits
    policy: hipaa
    source: {delimiter: ";", encoding: cp1252, decimal: ",", missing: [NA, \N]}
    others: refuse                   # columns of a file not described here; or drop, or pass
    columns:
      visit:   {role: record_id, type: integer}
      born:    {role: quasi_identifier, type: date, format: DD.MM.YYYY, kind: date}
      charges: {role: sensitive, type: number, format: "$1,234.50", low: 0, high: 100000}
      remarks: {role: free_text}
    urgent:                          # what cannot wait in a stream; by default the kind urgency from "emergency" on
    - {column: charges, at_least: 50000}

A column that a header names twice is described as ``zip`` and ``zip#2``, one without a name as ``""``, a field of a
nested object as ``address.city``.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Container, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from microflow.descriptors.model import ColumnModel, DescriptorModel, HierarchyModel, SourceModel, UrgencyModel
from microflow.errors import SchemaError
from microflow.formats import format_of
from microflow.records import UnconvertibleError, convert
from microflow.schema import DEFAULT_URGENCY, Column, DatasetSchema, Dtype, Hierarchy, SourceFormat, UrgencyRule, Value
from microflow.yaml_model import Document, read_named, shipped_names

__all__ = ["load_schema", "schema_names", "urgency_rules"]

_SHIPPED = resources.files(__package__)

_WHOLE = re.compile(r"[+-]?[0-9]+", re.ASCII)
#: The largest bound of each type, on either side of zero: bounds are exact as floats, as are the whole numbers beside
#: them where cells end, and their distance is finite.
_LARGEST = {Dtype.INTEGER: 2**53 - 2, Dtype.NUMBER: 1e300}
#: A range is divided into cells, and their width is a normal float.
_LEAST_RANGE = 1e-290


def schema_names() -> tuple[str, ...]:
    """Names of the descriptors that ship with the package, sorted."""
    return shipped_names(_SHIPPED)


def load_schema(name_or_path: str | Path) -> DatasetSchema:
    """Load a shipped descriptor by name, or any by path.

    Raises:
        SchemaError: no such descriptor, not YAML, or a word that is not in the vocabulary.

    >>> [column.name for column in load_schema("adult").quasi_identifiers][:2]
    ['age', 'education']
    """
    return _schema(read_named(str(name_or_path), _SHIPPED, DescriptorModel, SchemaError, ("schema", "schemas")))


def _schema(document: Document[DescriptorModel]) -> DatasetSchema:
    model = document.model
    if not model.columns:
        raise document.error("'columns' is empty", "columns")
    if not model.policy:
        raise document.error("must be the name of a policy, or a path", "policy")
    decimal = model.source.decimal
    if decimal not in {".", ","}:
        raise document.error("a point or a comma", "source", "decimal", allowed=(".", ","))
    source = _source(document, model.source)
    columns = tuple(_column(document, name, column, decimal) for name, column in model.columns.items())
    try:
        return DatasetSchema(
            name=model.name or Path(document.place).stem,
            title=model.title or "",
            policy=model.policy,
            source=source,
            columns=columns,
            others=model.others,
            unlisted=model.unlisted,
            urgent=_urgent(document, {column.name for column in columns}),
        )
    except SchemaError as error:
        raise document.error(error.message, "columns", hint=error.hint) from error


def _urgent(document: Document[DescriptorModel], names: Container[str]) -> tuple[UrgencyRule, ...]:
    if document.model.urgent is None:
        return DEFAULT_URGENCY
    for position, model in enumerate(document.model.urgent):
        if model.column is not None and model.column not in names:
            raise document.error(f"there is no column {model.column!r}", "urgent", position, "column")
    return urgency_rules(document, document.model.urgent, "urgent")


def urgency_rules(
    document: Document[DescriptorModel] | Document[list[UrgencyModel]], models: Iterable[UrgencyModel], *where: str
) -> tuple[UrgencyRule, ...]:
    """The urgency rules of a document, which stand at ``where``.

    Raises:
        SchemaError: a rule does not name one kind or column and one condition.
    """
    rules = []
    for position, model in enumerate(models):
        try:
            rule = UrgencyRule(model.kind, model.column, tuple(model.one_of), model.at_least, model.within_days)
        except SchemaError as error:
            raise document.error(error.message, *where, position, hint=error.hint) from error
        rules.append(rule)
    return tuple(rules)


def _source(document: Document[DescriptorModel], model: SourceModel) -> SourceFormat:
    quote = model.quote or ""
    delimiter = model.delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in "\r\n\0" or delimiter == quote):
        raise document.error("one character other than the quote or a line end", "source", "delimiter")
    if len(quote) > 1 or quote in {"\r", "\n"}:
        raise document.error("one character, or nothing", "source", "quote")
    try:
        is_text = codecs.lookup(model.encoding)._is_text_encoding  # noqa: SLF001 - nothing else tells rot13 from cp1252
    except (LookupError, ValueError):
        is_text = False
    if not is_text:
        hint = "examples are: utf-8, cp1252, latin-1, utf-16"
        raise document.error(f"unknown encoding {model.encoding!r}", "source", "encoding", hint=hint)
    return SourceFormat(
        delimiter=delimiter or "",
        quote=quote,
        encoding=codecs.lookup(model.encoding).name,
        header=model.header,
        trim=model.trim,
        sheet=model.sheet,
        # pandas writes -999 as -999.0 wherever a column has a gap.
        missing=frozenset(model.missing) | {f"{word}.0" for word in model.missing if _WHOLE.fullmatch(word)},
    )


def _column(document: Document[DescriptorModel], name: str, model: ColumnModel, decimal: str) -> Column:
    made: dict[str, Any] = {
        "categories": tuple(model.categories),
        "hierarchy": _hierarchy(document, name, model.hierarchy),
        "format": model.format or ("0,5" if decimal == "," and model.dtype is Dtype.NUMBER else None),
    }
    column = Column(name, **{**msgspec.structs.asdict(model), **made})
    _check_bounds(document, column)
    try:
        format_of(column)
    except ValueError as error:
        raise document.error(str(error), "columns", name, "format") from error
    _check_categories(document, column)
    return column


def _check_categories(document: Document[DescriptorModel], column: Column) -> None:
    here = ("columns", column.name, "categories")
    if column.ordered and not column.categories:
        raise document.error("an order needs categories", *here[:2], "ordered", hint="list them, lowest first")
    seen: dict[Value, str] = {}
    for position, category in enumerate(column.categories):
        try:
            value = convert(category, column)
        except UnconvertibleError as error:
            raise document.error(f"category {category!r}: {error}", *here, position) from error
        if value in seen:
            same = "" if category == seen[value] else f", first as {seen[value]!r}"
            raise document.error(f"category {category!r} is given twice{same}", *here, position)
        seen[value] = category


def _check_bounds(document: Document[DescriptorModel], column: Column) -> None:
    here, low, high = ("columns", column.name), column.low, column.high
    if low is not None and high is not None:
        if low > high:
            raise document.error("low is above high", *here, "low")
        if 0 < high - low < _LEAST_RANGE:
            reason = f"the bounds of a number are equal, or at least {_LEAST_RANGE:g} apart"
            raise document.error(reason, *here, "high")
    for word, bound in (("low", low), ("high", high)):
        if bound is None:
            continue
        if (largest := _LARGEST.get(column.dtype)) is None:
            reason = f"a bound belongs to a number, and the type is {column.dtype}"
            raise document.error(reason, *here, word, hint="leave it out, or give the column its type")
        if not -largest <= bound <= largest:
            reason = f"a bound of type {column.dtype} lies between -{largest} and {largest}"
            raise document.error(reason, *here, word, hint="leave the bounds out where the values have none")


def _hierarchy(document: Document[DescriptorModel], name: str, model: HierarchyModel | None) -> Hierarchy | None:
    if model is None:
        return None
    here = ("columns", name, "hierarchy")
    if (model.prefix is None) == (model.tree is None):
        raise document.error("a hierarchy is either 'prefix' or 'tree'", *here)
    if model.prefix is not None:
        return Hierarchy(prefix=tuple(sorted(model.prefix, reverse=True)))
    edges = list(_edges(document, (*here, "tree"), model.tree, None))
    labels = [child for child, _ in edges]
    if len({*labels, *(parent for _, parent in edges)}) != len(labels) + 1:
        raise document.error("a tree has one root, and every label stands in it once", *here, "tree")
    return Hierarchy(parents=dict(edges))


def _edges(
    document: Document[DescriptorModel], here: tuple[str | int, ...], tree: object, parent: str | None
) -> Iterable[tuple[str, str]]:
    """Child and parent of every edge of ``{root: {group: [leaf, ...]}}``."""
    if isinstance(tree, Mapping):
        for label, below in tree.items():
            if parent is not None:
                yield label, parent
            yield from _edges(document, (*here, label), below, label)
    elif isinstance(tree, list) and parent is not None and all(isinstance(leaf, str) for leaf in tree):
        yield from ((leaf, parent) for leaf in tree)
    else:
        raise document.error("nested mappings that end in lists of values", *here)
