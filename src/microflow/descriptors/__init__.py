"""Reads a data set descriptor (YAML) into a `microflow.schema.DatasetSchema`.

Five ship with the package: ``healthcare``, ``financial``, ``ecommerce``, ``iot`` and ``adult`` (UCI Adult). A user's
own is a path. Everything wrong with one is a `SchemaError` that names the file, the column and the words allowed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from microflow.errors import SchemaError
from microflow.schema import KINDS, Column, DatasetSchema, Dtype, Hierarchy, Role, SourceFormat

__all__ = ["load_schema", "schema_names"]

_TOP = {"name", "title", "policy", "source", "columns"}
_COLUMN = {
    "role", "type", "kind", "low", "high", "categories", "ordered", "hierarchy", "required",
    "share",
}  # fmt: skip
_LARGEST = sys.float_info.max
_SOURCE = {"delimiter", "header", "trim", "missing"}


def schema_names() -> tuple[str, ...]:
    """Names of the descriptors that ship with the package, sorted."""
    shipped = resources.files(__package__).iterdir()
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in shipped if entry.name.endswith(".yaml")))


def load_schema(name_or_path: str | Path) -> DatasetSchema:
    """Load a shipped descriptor by name, or any by path.

    Raises:
        SchemaError: no such descriptor, not YAML, or a word that is not in the vocabulary.

    >>> [column.name for column in load_schema("adult").quasi_identifiers][:2]
    ['age', 'education']
    """
    text, place = _read(name_or_path)
    try:
        return _Reader(place).schema(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError) as error:  # a date that does not exist is a ValueError of the parser's
        mark = getattr(error, "problem_mark", None)
        raise SchemaError("not readable as YAML", path=place, line=mark and mark.line + 1) from error
    except RecursionError as error:
        raise SchemaError("nested too deeply", path=place) from error


def _read(name_or_path: str | Path) -> tuple[str, str]:
    name = str(name_or_path)
    if name in schema_names():
        return resources.files(__package__).joinpath(f"{name}.yaml").read_text("utf-8"), f"{name}.yaml"
    try:
        return Path(name).read_text("utf-8"), name
    except (OSError, ValueError) as error:
        raise SchemaError(
            f"no schema {name!r}",
            hint=f"shipped schemas are: {', '.join(schema_names())}; or give the path of a readable YAML file",
        ) from error


class _Reader:
    """Turns the parsed document into objects, remembering the place for its errors."""

    def __init__(self, place: str) -> None:
        self.place = place

    def schema(self, document: object) -> DatasetSchema:
        top = self._mapping(document, "the document", _TOP)
        columns = self._mapping(top.get("columns"), "columns", None)
        if not columns:
            raise self._error("'columns' is empty")
        return DatasetSchema(
            name=str(top.get("name") or Path(self.place).stem),
            title=str(top.get("title") or ""),
            policy=self._policy(top.get("policy", "combined")),
            source=self._source(top.get("source") or {}),
            columns=tuple(self._column(str(name), spec or {}) for name, spec in columns.items()),
        )

    def _policy(self, name: object) -> str:
        if not isinstance(name, str) or not name:
            raise self._error("policy must be the name of one, or a path")
        return name

    def _source(self, document: object) -> SourceFormat:
        source = self._mapping(document, "source", _SOURCE)
        delimiter = str(source.get("delimiter", ","))
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise self._error("source.delimiter must be one character other than a quote or a line end")
        return SourceFormat(
            delimiter=delimiter,
            header=self._flag("source.header", source.get("header", True)),
            trim=self._flag("source.trim", source.get("trim", False)),
            missing=frozenset(self._texts("source.missing", source.get("missing"))),
        )

    def _column(self, name: str, document: object) -> Column:
        spec = self._mapping(document, f"column {name!r}", _COLUMN)
        kind = spec.get("kind")
        column = Column(
            name=name,
            role=Role(self._word(name, "role", spec.get("role", "attribute"), Role)),
            dtype=Dtype(self._word(name, "type", spec.get("type", "string"), Dtype)),
            kind=None if kind is None else self._word(name, "kind", kind, sorted(KINDS)),
            low=self._bound(name, "low", spec.get("low")),
            high=self._bound(name, "high", spec.get("high")),
            categories=tuple(self._texts("categories", spec.get("categories"), name)),
            ordered=self._flag("ordered", spec.get("ordered", False), name),
            hierarchy=self._hierarchy(name, spec.get("hierarchy")),
            required=self._flag("required", spec.get("required", False), name),
            share=self._share(name, spec.get("share")),
        )
        if column.low is not None and column.high is not None and column.low > column.high:
            raise self._error("low is above high", name)
        return column

    def _hierarchy(self, name: str, document: object) -> Hierarchy | None:
        if document is None:
            return None
        spec = self._mapping(document, f"hierarchy of {name!r}", {"prefix", "tree"})
        if len(spec) != 1:
            raise self._error("a hierarchy is either 'prefix' or 'tree'", name)
        if "prefix" in spec:
            lengths = spec["prefix"]
            if not isinstance(lengths, list) or not all(type(n) is int and n >= 0 for n in lengths):
                raise self._error("hierarchy.prefix is a list of lengths, finest first", name)
            return Hierarchy(prefix=tuple(sorted(lengths, reverse=True)))
        edges = list(self._edges(name, spec["tree"], None))
        labels = [child for child, _ in edges]
        if len({*labels, *(parent for _, parent in edges)}) != len(labels) + 1:
            raise self._error("hierarchy.tree has one root, and every label stands in it once", name)
        return Hierarchy(parents=dict(edges))

    def _edges(self, name: str, tree: object, parent: str | None) -> Iterable[tuple[str, str]]:
        """Child and parent of every edge of ``{root: {group: [leaf, ...]}}``."""
        if isinstance(tree, Mapping):
            for label, below in tree.items():
                if parent is not None:
                    yield str(label), parent
                yield from self._edges(name, below, str(label))
        elif isinstance(tree, list) and parent is not None:
            yield from ((leaf, parent) for leaf in self._texts("hierarchy.tree", tree, name))
        else:
            raise self._error("hierarchy.tree is nested mappings that end in lists of values", name)

    def _bound(self, name: str, what: str, value: object) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST:
            raise self._error(f"{what} must be a number", name)
        return float(value)

    def _flag(self, what: str, value: object, name: str | None = None) -> bool:
        if not isinstance(value, bool):
            raise self._error(f"{what} must be true or false", name)
        return value

    def _texts(self, what: str, values: object, name: str | None = None) -> list[str]:
        if values is None:
            return []
        if not isinstance(values, list):
            raise self._error(f"{what} must be a list of values", name)
        if any(value is None or isinstance(value, bool | list | dict) for value in values):
            # YAML 1.1 takes Norway's code for "no"; what was meant cannot be known.
            raise self._error(f"{what}: put quotes around words such as NO, yes, on and null", name)
        return [str(value) for value in values]

    def _share(self, name: str, value: object) -> float:
        share = self._bound(name, "share", value)
        if share is not None and share <= 0:
            raise self._error("share must be above 0", name)
        return 1.0 if share is None else share

    def _word(self, name: str, what: str, word: object, allowed: Iterable[str]) -> str:
        words = [str(item) for item in allowed]
        if word not in words:
            raise self._error(f"unknown {what} {word!r}", name, words)
        return str(word)

    def _mapping(self, document: object, what: str, allowed: set[str] | None) -> dict[str, Any]:
        if not isinstance(document, dict):
            raise self._error(f"{what} must be a mapping")
        unknown = sorted(str(key) for key in document if allowed is not None and key not in allowed)
        if unknown:
            raise self._error(f"{what}: unknown key {unknown[0]!r}", allowed=sorted(allowed or ()))
        return document

    def _error(self, message: str, column: str | None = None, allowed: Iterable[str] = ()) -> SchemaError:
        words = ", ".join(allowed)
        return SchemaError(message, path=self.place, column=column, hint=f"allowed are: {words}" if words else "")
