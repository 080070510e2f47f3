"""Reads YAML into typed models: the one reader of descriptors, policies and urgency rules.

A scalar stays the text that was written until a field's type asks for something else, so that ``01``, ``No``,
``12:30``, ``on`` and ``1.10`` are themselves wherever text is meant (YAML 1.1 makes numbers, booleans and times of
them). Keys given twice, tags, merge keys and documents that grow by aliases are refused. Every error names the line.

Models are `msgspec.Struct` classes; `json_schema` describes one to an editor.
"""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from microflow.errors import InputError
from microflow.yaml_tree import Items, Mapping, Node, Word, compose, shown

__all__ = ["Document", "json_schema", "read_file", "read_text"]

T = TypeVar("T")
Place = tuple[str | int, ...]

_TRUE = frozenset({"true", "yes", "on"})
_FALSE = frozenset({"false", "no", "off"})
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Document(Generic[T]):
    """A document as its model, with the line of every part of it.

    ``place`` is the file's name for messages; ``lines`` maps the way to a part (keys, and positions in lists) to its
    line, from 1.
    """

    model: T
    place: str
    lines: dict[Place, int]
    kind: type[InputError]

    def error(self, message: str, *where: str | int, allowed: Iterable[str] = (), hint: str = "") -> InputError:
        """An error at a part of the document, to be raised; ``allowed`` are the words that would do."""
        line = next((self.lines[where[:n]] for n in range(len(where), -1, -1) if where[:n] in self.lines), None)
        words = ", ".join(allowed)
        way = _way(where)
        return self.kind(
            f"{way}: {message}" if way else message,
            path=self.place,
            line=line,
            hint=hint or (f"allowed are: {words}" if words else ""),
        )


def read_file(path: Path, model: type[T], kind: type[InputError] = InputError) -> Document[T]:
    """The document in a UTF-8 file as a model; see `read_text`.

    Raises:
        InputError: of ``kind``: it cannot be opened, is not UTF-8, or is not such a document.
    """
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise kind("not UTF-8 text", path=path, hint="save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise kind(f"cannot be read: {reason}", path=path) from error
    return read_text(text, model, str(path), kind)


def read_text(text: str, model: type[T], place: str, kind: type[InputError] = InputError) -> Document[T]:
    """A YAML text as a model.

    Args:
        text: One YAML document.
        model: A `msgspec.Struct`, or a list or dictionary of them.
        place: The file's name, for messages.
        kind: The class of the errors.

    Returns:
        The model and where its parts stand.

    Raises:
        InputError: of ``kind``; its message names the line, the part at fault and the words allowed.

    >>> class Box(msgspec.Struct):
    ...     labels: list[str] = []
    ...     wide: bool = False
    >>> read_text("labels: [01, No, 12:30]", Box, "box.yaml").model
    Box(labels=['01', 'No', '12:30'], wide=False)
    >>> read_text("wide: maybe", Box, "box.yaml")
    Traceback (most recent call last):
    microflow.errors.InputError: box.yaml:1: wide must be true or false
    """
    root = compose(text, place, kind)
    document: Document[Any] = Document(None, place, {}, kind)
    value = _Builder(document).build(root, model, ())
    return Document(value, place, document.lines, kind)


def json_schema(model: Any) -> dict[str, Any]:
    """The JSON Schema of a model, with which editors complete and check its YAML."""
    return msgspec.json.schema(model)


class _Builder:
    """Makes of each node what the model's types ask for."""

    def __init__(self, document: Document[Any]) -> None:
        self._document = document

    def build(self, node: Node, annotation: Any, where: Place) -> Any:
        self._document.lines.setdefault(where, node.line)
        if annotation is Any:
            return self._untyped(node, where)
        members = _members(annotation)
        is_null = isinstance(node, Word) and node.is_null
        if is_null and type(None) in members:
            return None
        for member in members:
            build = self._container(node, member)
            if build is not None:
                return build(node, member, where)
        scalars = [member for member in members if _is_scalar(get_origin(member) or member)]
        if isinstance(node, Word) and scalars:
            return self._scalar(node, scalars, where)
        raise self._error(f"must be {_expected(members)}", where)

    def _container(self, node: Node, member: Any) -> Callable[[Node, Any, Place], Any] | None:
        """What builds the node as this type, if the type holds others and the node is of its shape or nothing."""
        origin = get_origin(member) or member
        is_null = isinstance(node, Word) and node.is_null
        if origin in {list, tuple, frozenset}:
            return self._items if is_null or isinstance(node, Items) else None
        if not is_null and not isinstance(node, Mapping):
            return None
        if origin is dict:
            return self._dict
        return self._struct if isinstance(origin, type) and issubclass(origin, msgspec.Struct) else None

    def _untyped(self, node: Node, where: Place) -> Any:
        if isinstance(node, Mapping):
            return self._dict(node, dict[str, Any], where)
        if isinstance(node, Items):
            return self._items(node, list[Any], where)
        assert isinstance(node, Word)
        return None if node.is_null else node.text

    def _struct(self, node: Node, struct: type[msgspec.Struct], where: Place) -> msgspec.Struct:
        fields = {found.encode_name: found for found in msgspec.structs.fields(struct)}
        entries, lines = (node.entries, node.lines) if isinstance(node, Mapping) else ({}, {})
        for name in entries:
            if name not in fields:
                self._document.lines[(*where, name)] = lines[name]
                raise self._misnamed(f"unknown key {shown(name)}", (*where, name), fields)
        values = {}
        for name, entry in entries.items():
            self._document.lines[(*where, name)] = lines[name]
            values[fields[name].name] = self.build(entry, fields[name].type, (*where, name))
        for name, found in fields.items():
            if found.required and name not in entries:
                raise self._document.error(f"{shown(name)} is missing", *where)
        return struct(**values)

    def _dict(self, node: Node, annotation: Any, where: Place) -> dict[str, Any]:
        if not isinstance(node, Mapping):
            return {}
        _, below = get_args(annotation) or (str, Any)
        self._document.lines.update({(*where, name): line for name, line in node.lines.items()})
        return {name: self.build(entry, below, (*where, name)) for name, entry in node.entries.items()}

    def _items(self, node: Node, annotation: Any, where: Place) -> Any:
        collection, (below, *_) = get_origin(annotation) or annotation, get_args(annotation) or (Any,)
        items = node.items if isinstance(node, Items) else []
        return collection(self.build(item, below, (*where, position)) for position, item in enumerate(items))

    def _scalar(self, node: Word, members: list[Any], where: Place) -> Any:
        if node.is_null and not node.text:
            raise self._error("must not be empty", where, 'an empty text is written ""')
        faults = []
        for member in sorted(members, key=_rank):
            try:
                return _converted(node, member)
            except msgspec.ValidationError as error:
                faults.append(str(error))
        words = [word for member in members for word in _words(member)]
        if words:
            name = next((part for part in reversed(where) if isinstance(part, str)), "word")
            raise self._misnamed(f"unknown {name} {shown(node.text)}", where, words)
        reason = next((fault for fault in faults if fault), "")
        raise self._error(f"must be {reason or _expected(members)}", where)

    def _misnamed(self, message: str, where: Place, allowed: Iterable[str]) -> InputError:
        """What is wrong is said of the part that holds the word, at the word's own line."""
        way = _way(where[:-1])
        return self._document.kind(
            f"{way}: {message}" if way else message,
            path=self._document.place,
            line=self._document.lines.get(where),
            hint=f"allowed are: {', '.join(allowed)}",
        )

    def _error(self, message: str, where: Place, hint: str = "") -> InputError:
        line = self._document.lines.get(where)
        return self._document.kind(
            f"{_way(where) or 'the document'} {message}", path=self._document.place, line=line, hint=hint
        )


def _converted(node: Word, member: Any) -> Any:
    """The scalar as a type; a `msgspec.ValidationError` without words says "something else is expected"."""
    text, origin = node.text, get_origin(member)
    base = get_args(member)[0] if origin is Annotated else member
    if base in {bool, int, float} and node.is_quoted:
        raise msgspec.ValidationError
    if base is bool:
        return _one_of(text.lower(), _TRUE, _FALSE)
    if base in {int, float} and not (_INTEGER if base is int else _NUMBER).fullmatch(text):
        raise msgspec.ValidationError
    if base is date and not _ISO_DATE.fullmatch(text):
        raise msgspec.ValidationError
    if (words := _words(member)) and text not in words:
        raise msgspec.ValidationError
    value: Any = text
    if base is int:
        value = int(text)
    elif base is float:
        value = float(text)
        if not math.isfinite(value):
            raise msgspec.ValidationError("a number of at most 1.8e308")
    try:
        return msgspec.convert(value, member)
    except msgspec.ValidationError as error:
        limit = re.search(r"(?:>=|<=|>|<) [-+.0-9e]+|matching.*|of length.*", str(error))
        raise msgspec.ValidationError(f"{_expected([base])} {limit.group()}" if limit else "") from error


def _one_of(word: str, true: frozenset[str], false: frozenset[str]) -> bool:
    if word not in true | false:
        raise msgspec.ValidationError
    return word in true


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)


def _is_scalar(origin: Any) -> bool:
    if origin in {Literal, Annotated}:
        return True
    return isinstance(origin, type) and issubclass(origin, bool | int | float | str | date | Enum)


def _rank(member: Any) -> int:
    """Text last: everything is text; whole numbers before others, so that they stay exact."""
    base = get_args(member)[0] if get_origin(member) is Annotated else member
    return [bool, int, float].index(base) if base in {bool, int, float} else 5 if base is str else 4


def _words(member: Any) -> list[str]:
    if get_origin(member) is Literal:
        return [str(word) for word in get_args(member)]
    if get_origin(member) is Annotated:
        extra = [getattr(meta, "extra_json_schema", None) or {} for meta in get_args(member)[1:]]
        return [word for found in extra for word in found.get("enum", ())]
    if isinstance(member, type) and issubclass(member, Enum):
        return [str(word.value) for word in member]
    return []


def _expected(members: Iterable[Any]) -> str:
    named = [_EXPECTED.get(get_args(m)[0] if get_origin(m) is Annotated else get_origin(m) or m) for m in members]
    texts = list(dict.fromkeys(text for text in named if text)) or ["a mapping"]
    return " or ".join(texts)


_EXPECTED: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    date: "a date such as 2026-01-31",
    Literal: "a word",
    list: "a list",
    tuple: "a list",
    frozenset: "a list",
    dict: "a mapping",
    type(None): "",
}


def _way(where: Iterable[str | int]) -> str:
    """The way to a part as a person reads it.

    >>> _way(("columns", "age", "categories", 0))
    'columns.age.categories[0]'
    """
    way = ""
    for part in where:
        way += f"[{part}]" if isinstance(part, int) else f".{part[:80]}" if way else part[:80]
    return way
