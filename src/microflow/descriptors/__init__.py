"""Reads a data set descriptor (YAML) into a `microflow.schema.DatasetSchema`.

Five ship with the package: ``healthcare``, ``financial``, ``ecommerce``, ``iot`` and ``adult`` (UCI Adult). A user's
own is a path. Everything wrong with one is a `SchemaError` that names the file, the column and the words allowed.
"""

from __future__ import annotations

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
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise SchemaError("not readable as YAML", path=place, line=mark and mark.line + 1) from error
    return _Reader(place).schema(document)


def _read(name_or_path: str | Path) -> tuple[str, str]:
    name = str(name_or_path)
    if name in schema_names():
        return resources.files(__package__).joinpath(f"{name}.yaml").read_text("utf-8"), f"{name}.yaml"
    try:
        return Path(name).read_text("utf-8"), name
    except (OSError, UnicodeDecodeError) as error:
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
            policy=str(top.get("policy") or "combined"),
            source=self._source(top.get("source") or {}),
            columns=tuple(self._column(str(name), spec or {}) for name, spec in columns.items()),
        )

    def _source(self, document: object) -> SourceFormat:
        source = self._mapping(document, "source", _SOURCE)
        delimiter = str(source.get("delimiter", ","))
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise self._error("source.delimiter must be one character other than a quote or a line end")
        return SourceFormat(
            delimiter=delimiter,
            header=bool(source.get("header", True)),
            trim=bool(source.get("trim", False)),
            missing=frozenset(str(word) for word in source.get("missing", ())),
        )

    def _column(self, name: str, document: object) -> Column:
        spec = self._mapping(document, f"column {name!r}", _COLUMN)
        kind = spec.get("kind")
        if kind is not None and kind not in KINDS:
            raise self._error(f"unknown kind {kind!r}", name, sorted(KINDS))
        column = Column(
            name=name,
            role=Role(self._word(name, "role", spec.get("role", "attribute"), Role)),
            dtype=Dtype(self._word(name, "type", spec.get("type", "string"), Dtype)),
            kind=kind,
            low=self._bound(name, "low", spec.get("low")),
            high=self._bound(name, "high", spec.get("high")),
            categories=tuple(str(word) for word in spec.get("categories") or ()),
            ordered=bool(spec.get("ordered", False)),
            hierarchy=self._hierarchy(name, spec.get("hierarchy")),
            required=bool(spec.get("required", False)),
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
            if not isinstance(lengths, list) or not all(isinstance(n, int) and n >= 0 for n in lengths):
                raise self._error("hierarchy.prefix is a list of lengths, finest first", name)
            return Hierarchy(prefix=tuple(sorted(lengths, reverse=True)))
        return Hierarchy(parents=dict(self._edges(name, spec["tree"], None)))

    def _edges(self, name: str, tree: object, parent: str | None) -> Iterable[tuple[str, str]]:
        """Child and parent of every edge of ``{root: {group: [leaf, ...]}}``."""
        if isinstance(tree, Mapping):
            for label, below in tree.items():
                if parent is not None:
                    yield str(label), parent
                yield from self._edges(name, below, str(label))
        elif isinstance(tree, list) and parent is not None:
            yield from ((str(leaf), parent) for leaf in tree)
        else:
            raise self._error("hierarchy.tree is nested mappings that end in lists of values", name)

    def _bound(self, name: str, what: str, value: object) -> float | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(f"{what} must be a number", name)
        return float(value)

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
