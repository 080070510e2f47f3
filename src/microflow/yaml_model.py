"""Reader of YAML into typed models: the only reader of descriptors, policies and urgency rules.

A scalar stays the text that was written until a field's type asks for something else, so that ``01``, ``No``,
``12:30``, ``on`` and ``1.10`` are themselves wherever text is meant (YAML 1.1 makes numbers, booleans and times of
them). Keys given twice, tags, merge keys, deep nesting and documents that grow by aliases are refused. Every error
names the line. Nothing in a document makes Python's stack grow: its depth is looked at first.

Models are `msgspec.Struct` classes. `msgspec.convert` alone would not do: it takes ``"3"`` for 3, knows no line, and
tells neither the key of a dictionary at fault nor the words that would do.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import Enum
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

import msgspec
import yaml

from microflow.errors import InputError

__all__ = ["Document", "read_file", "read_named", "read_text", "shipped_names"]

T = TypeVar("T")
Place = tuple[str | int, ...]

#: Levels of a document; ours have at most ten.
DEEPEST = 50
#: Nodes of a document once its aliases are written out.
MOST_NODES = 1_000_000
_LONGEST_WORD = 80
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_PLAIN_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_TRUE = frozenset({"true", "yes", "on"})
#: How the text of a type is written, and what an error calls it.
_WRITTEN: dict[Any, tuple[str, str]] = {
    bool: ("(?i:true|yes|on|false|no|off)", "true or false"),
    int: ("[+-]?[0-9]{1,300}", "a whole number"),
    float: (r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", "a number"),
    date: ("[0-9]{4}-[0-9]{2}-[0-9]{2}", "a date such as 2026-01-31"),
    str: ("(?s:.*)", "a text"),
}
_LISTS = (list, tuple, frozenset)


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
        way = _way(where)
        return _at(self, where, f"{way}: {message}" if way else message, hint or _words(allowed))


def shipped_names(folder: Traversable) -> tuple[str, ...]:
    """Names of the documents that ship with the package in this folder, sorted."""
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def read_named(
    name: str, folder: Traversable, model: type[T], kind: type[InputError], words: tuple[str, str]
) -> Document[T]:
    """A document that ships in a folder of the package, by its name, or any by its path; see `read_text`.

    Raises:
        InputError: of ``kind``: there is none, or it is not such a document; ``words`` call it, and several of it.
    """
    if name in (names := shipped_names(folder)):
        return read_text(folder.joinpath(f"{name}.yaml").read_text("utf-8"), model, f"{name}.yaml", kind)
    if not os.path.isfile(name):  # noqa: PTH113 - a name may be too long for Path to ask
        hint = f"shipped {words[1]} are: {', '.join(names)}; or give the path of a readable YAML file"
        raise kind(f"no {words[0]} {name!r}", hint=hint)
    return read_file(Path(name), model, kind)


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
    document: Document[Any] = Document(None, place, {}, kind)
    return Document(_build(document, _composed(text, place, kind), model, ()), place, document.lines, kind)


def _composed(text: str, place: str, kind: type[InputError]) -> yaml.Node:
    """The nodes of the one document in a text; depth and cycles are refused before they can make the stack grow."""
    extents: dict[int, tuple[int, int]] = {}

    def extent(node: yaml.Node) -> tuple[int, int]:
        """The nodes below this one once aliases are written out, itself included, and their levels."""
        if id(node) not in extents:
            below = [] if isinstance(node, yaml.ScalarNode) else node.value
            parts = [extent(part) for entry in below for part in (entry if isinstance(entry, tuple) else (entry,))]
            count = 1 + sum(nodes for nodes, _ in parts)
            levels = max((levels for _, levels in parts), default=0) + (not isinstance(node, yaml.ScalarNode))
            if count > MOST_NODES:
                problem = f"more than {MOST_NODES:,} values once its aliases are written out"
                raise kind(problem, path=place, line=_line(node))
            if levels > DEEPEST:
                raise kind("nested too deeply once its aliases are written out", path=place, line=_line(node))
            extents[id(node)] = count, levels
        return extents[id(node)]

    try:
        for problem, line in _problems(text):
            raise kind(problem, path=place, line=line)
        root = yaml.compose(text, Loader=_LOADER) or yaml.ScalarNode("", "")
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None)
        message = f"not readable as YAML: {reason}" if reason else "not readable as YAML"
        raise kind(message, path=place, line=mark.line + 1 if mark else None) from error
    extent(root)
    return root


def _problems(text: str) -> Iterator[tuple[str, int]]:
    """Parts that are refused although they are YAML, each with its line."""
    documents = 0
    anchors: list[str | None] = []  # of the collections that are open
    known: set[str | None] = set()
    for event in yaml.parse(text, Loader=_LOADER):
        line = _line(event)
        if getattr(event, "tag", None) not in _PLAIN_TAGS:
            yield "a tag (!…) is not understood here", line
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    yield "more than one document", line
            case yaml.AliasEvent() if event.anchor not in known:
                yield f"*{event.anchor} stands before or within what it repeats", line
            case yaml.ScalarEvent():
                known.add(event.anchor)
            case yaml.CollectionStartEvent():
                anchors.append(event.anchor)
                if len(anchors) > DEEPEST:
                    yield "nested too deeply", line
            case yaml.CollectionEndEvent():
                known.add(anchors.pop())
            case _:
                pass


def _line(part: yaml.Node | yaml.Event) -> int:
    return part.start_mark.line + 1 if part.start_mark else 1


def _is_quoted(node: yaml.ScalarNode) -> bool:
    return bool(node.style) and node.style in "'\"|>"


def _entries(document: Document[Any], node: yaml.Node, where: Place) -> dict[str, yaml.Node]:
    """Node behind each key of a mapping, or of nothing; the lines of the keys are noted in the document."""
    entries: dict[str, yaml.Node] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        problem = hint = ""
        if not isinstance(key, yaml.ScalarNode):
            problem = "a key is a word, not a list or a mapping"
        elif key.value == "<<" and not _is_quoted(key):
            problem = "'<<' (merge) is not understood: write the keys out"
        elif key.value in entries:
            first = document.lines[*where, key.value]
            problem, hint = f"{_shown(key.value)} is given twice, first in line {first}", "keep one of the two"
        if problem:
            raise document.kind(problem, path=document.place, line=_line(key), hint=hint)
        entries[key.value] = value
        document.lines[*where, key.value] = _line(key)
    return entries


def _build(document: Document[Any], node: yaml.Node, annotation: Any, where: Place) -> Any:
    """Value that the annotation asks for, of a node; the lines of its parts are noted in the document."""
    document.lines.setdefault(where, _line(node))
    if get_origin(annotation) is Annotated and get_args(annotation)[0] not in _WRITTEN:
        annotation = get_args(annotation)[0]  # what describes it to an editor
    if annotation is Any:
        is_mapping, is_list = isinstance(node, yaml.MappingNode), isinstance(node, yaml.SequenceNode)
        annotation = dict[str, Any] if is_mapping else list[Any] if is_list else str | None
    members = get_args(annotation) if get_origin(annotation) in {Union, types.UnionType} else (annotation,)
    is_null = isinstance(node, yaml.ScalarNode) and node.value in _NULLS and not _is_quoted(node)
    if is_null and type(None) in members:
        return None
    for member in members:
        origin = get_origin(member) or member
        if origin in _LISTS and (is_null or isinstance(node, yaml.SequenceNode)):
            below, *_ = get_args(member) or (Any,)
            items = enumerate([] if is_null else node.value)
            return origin(_build(document, item, below, (*where, place)) for place, item in items)
        is_struct = isinstance(origin, type) and issubclass(origin, msgspec.Struct)
        if (origin is dict or is_struct) and (is_null or isinstance(node, yaml.MappingNode)):
            entries = _entries(document, node, where)
            if origin is dict:
                _, below = get_args(member) or (str, Any)
                return {name: _build(document, entry, below, (*where, name)) for name, entry in entries.items()}
            return _struct(document, entries, origin, where)
    scalars = [member for member in members if _base(member) in _WRITTEN or _allowed(member)]
    if isinstance(node, yaml.ScalarNode) and scalars:
        return _scalar(document, node, scalars, where)
    raise _wrong(document, where, f"be {_expected(members)}")


def _struct(document: Document[Any], entries: dict[str, yaml.Node], struct: Any, where: Place) -> msgspec.Struct:
    fields = {found.encode_name: found for found in msgspec.structs.fields(struct)}
    for name in entries:
        if name not in fields:
            raise _unknown(document, (*where, name), "key", name, fields)
    values = {
        fields[name].name: _build(document, entry, fields[name].type, (*where, name)) for name, entry in entries.items()
    }
    for name, found in fields.items():
        if found.required and name not in entries:
            raise document.error(f"{_shown(name)} is missing", *where)
    return struct(**values)  # type: ignore[no-any-return]


def _scalar(document: Document[Any], node: yaml.ScalarNode, members: list[Any], where: Place) -> Any:
    if not node.value and not _is_quoted(node):
        raise _wrong(document, where, "not be empty", 'an empty text is written ""')
    reason = ""
    # Text last: everything is text; whole numbers before others, so that they stay exact.
    for member in sorted(members, key=lambda member: list(_WRITTEN).index(_base(member))):
        try:
            return _converted(node, member)
        except msgspec.ValidationError as error:
            reason = reason or str(error)
    if words := [word for member in members for word in _allowed(member)]:
        name = next((part for part in reversed(where) if isinstance(part, str)), "word")
        raise _unknown(document, where, name, str(node.value), words)
    raise _wrong(document, where, f"be {reason or _expected(members)}")


def _converted(node: yaml.ScalarNode, member: Any) -> Any:
    """The scalar as a type; a `msgspec.ValidationError` without words says "something else is expected"."""
    text, base = str(node.value), _base(member)
    if _is_quoted(node) and base in {bool, int, float}:
        raise msgspec.ValidationError
    written, expected = _WRITTEN[base]
    allowed = _allowed(member)
    if not re.fullmatch(written, text, re.ASCII) or (allowed and text not in allowed):
        raise msgspec.ValidationError
    value: Any = text.lower() in _TRUE if base is bool else base(text) if base in {int, float} else text
    if base is float and not math.isfinite(value):
        raise msgspec.ValidationError("a number of at most 1.8e308")
    try:
        return msgspec.convert(value, member)
    except msgspec.ValidationError as error:
        limit = re.search(r"(?:>=|<=|>|<) [-+.0-9e]+|matching.*|of length.*", str(error))
        raise msgspec.ValidationError(f"{expected} {limit.group()}" if limit else "") from error


def _at(document: Document[Any], where: Place, message: str, hint: str) -> InputError:
    """An error at the line of a part, or of what holds it."""
    ways = (where[:size] for size in range(len(where), -1, -1))
    line = next((document.lines[way] for way in ways if way in document.lines), None)
    return document.kind(message, path=document.place, line=line, hint=hint)


def _wrong(document: Document[Any], where: Place, what: str, hint: str = "") -> InputError:
    return _at(document, where, f"{_way(where) or 'the document'} must {what}", hint)


def _unknown(document: Document[Any], where: Place, what: str, word: str, allowed: Iterable[str]) -> InputError:
    """Error about the part that holds an unknown word, at the word's own line."""
    words, way = list(allowed), _way(where[:-1])
    close = difflib.get_close_matches(word, words, n=1)
    hint = f"did you mean {close[0]!r}? {_words(words)}" if close else _words(words)
    return _at(
        document, where, f"{way}: unknown {what} {_shown(word)}" if way else f"unknown {what} {_shown(word)}", hint
    )


def _base(member: Any) -> Any:
    """The plain type below an annotation, of a word among several, text."""
    base = get_args(member)[0] if get_origin(member) is Annotated else member
    return str if _allowed(member) else base


def _allowed(member: Any) -> list[str]:
    """The words of an enumeration."""
    if get_origin(member) is Literal:
        return [str(word) for word in get_args(member)]
    if get_origin(member) is Annotated:
        extra = [getattr(meta, "extra_json_schema", None) or {} for meta in get_args(member)[1:]]
        return [word for found in extra for word in found.get("enum", ())]
    return [str(word.value) for word in member] if isinstance(member, type) and issubclass(member, Enum) else []


def _expected(members: Iterable[Any]) -> str:
    named = []
    for member in members:
        origin = get_origin(member) or member
        if _base(member) in _WRITTEN:
            named.append(_WRITTEN[_base(member)][1])
        elif origin is not type(None):
            named.append("a list" if origin in _LISTS else "a mapping")
    return " or ".join(dict.fromkeys(named)) or "a mapping"


def _way(where: Iterable[str | int]) -> str:
    """The way to a part as a person reads it.

    >>> _way(("columns", "age", "categories", 0))
    'columns.age.categories[0]'
    """
    way = ""
    for part in where:
        way += f"[{part}]" if isinstance(part, int) else f".{part[:80]}" if way else part[:80]
    return way


def _words(allowed: Iterable[str]) -> str:
    return f"allowed are: {words}" if (words := ", ".join(allowed)) else ""


def _shown(text: str) -> str:
    """A word as an error shows it: quoted, escaped and short."""
    return repr(text if len(text) <= _LONGEST_WORD else f"{text[:_LONGEST_WORD]}…")
