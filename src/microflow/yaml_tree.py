"""YAML as a tree of words, lists and mappings: what was written, before anything takes it for a number or a date.

Keys given twice, tags, merge keys, documents that grow by aliases and deep nesting are refused, with their line. The
tree is built from the parser's events without recursion: nothing in a document makes Python's stack grow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from microflow.errors import InputError

__all__ = ["Items", "Mapping", "Node", "Word", "compose", "shown"]

#: Levels of a document; ours have at most ten.
DEEPEST = 50
#: Nodes of a document once its aliases are written out.
MOST_NODES = 1_000_000
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_PLAIN_TAGS = {None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"}
_QUOTES = frozenset("'\"|>")
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def compose(text: str, place: str, kind: type[InputError]) -> Node:
    """The tree of one document; an empty one is an empty word.

    Raises:
        InputError: of ``kind``: the text is not YAML, or not YAML of the kind described above.
    """
    return _Composer(text, place, kind).root()


@dataclass(slots=True)
class Node:
    """``line`` from 1; ``size`` counts the nodes below once aliases are written out, itself included."""

    line: int
    size: int = 1


@dataclass(slots=True)
class Word(Node):
    text: str = ""
    is_quoted: bool = False

    @property
    def is_null(self) -> bool:
        return not self.is_quoted and self.text in _NULLS


@dataclass(slots=True)
class Items(Node):
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping(Node):
    entries: dict[str, Node] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    key: str | None = None


class _Composer:
    """Builds the tree from the parser's events, without recursion: nothing in a document makes Python's stack grow."""

    def __init__(self, text: str, place: str, kind: type[InputError]) -> None:
        self._text = text
        self._place = place
        self._kind = kind
        self._open: list[tuple[Items | Mapping, str | None]] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None

    def root(self) -> Node:
        try:
            for event in yaml.parse(self._text, Loader=_LOADER):
                self._take(event)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            problem = getattr(error, "problem", None) or getattr(error, "reason", None)
            raise self._error(
                f"not readable as YAML{f': {problem}' if problem else ''}", mark.line + 1 if mark else None
            ) from error
        return self._root or Word(1)

    def _take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        match event:
            case yaml.DocumentStartEvent() if self._root is not None:
                raise self._error("more than one document", line)
            case yaml.AliasEvent():
                self._add(self._aliased(str(event.anchor), line), line)
            case yaml.ScalarEvent():
                self._check_tag(event.tag, line)
                node = Word(line, text=event.value, is_quoted=event.style in _QUOTES)
                self._remember(event.anchor, node)
                self._add(node, line)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._check_tag(event.tag, line)
                if len(self._open) >= DEEPEST:
                    raise self._error("nested too deeply", line)
                is_list = isinstance(event, yaml.SequenceStartEvent)
                self._open.append((Items(line) if is_list else Mapping(line), event.anchor))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                collection, anchor = self._open.pop()
                self._remember(anchor, collection)
                self._add(collection, collection.line)
            case _:
                pass

    def _check_tag(self, tag: str | None, line: int) -> None:
        if tag not in _PLAIN_TAGS:
            raise self._error("a tag (!…) is not understood here", line)

    def _remember(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            self._anchors[anchor] = node

    def _aliased(self, anchor: str, line: int) -> Node:
        if anchor not in self._anchors:
            raise self._error(f"*{anchor} stands before or within what it repeats", line)
        return self._anchors[anchor]

    def _add(self, node: Node, line: int) -> None:
        if not self._open:
            self._root = node
            return
        parent, _ = self._open[-1]
        parent.size += node.size
        if parent.size > MOST_NODES:
            raise self._error(f"more than {MOST_NODES:,} values once its aliases are written out", line)
        if isinstance(parent, Items):
            parent.items.append(node)
        elif parent.key is None:
            parent.key = self._key(parent, node, line)
            parent.lines[parent.key] = line
        else:
            parent.entries[parent.key] = node
            parent.key = None

    def _key(self, mapping: Mapping, node: Node, line: int) -> str:
        if not isinstance(node, Word):
            raise self._error("a key is a word, not a list or a mapping", line)
        if node.text == "<<" and not node.is_quoted:
            raise self._error("'<<' (merge) is not understood: write the keys out", line)
        if node.text in mapping.entries:
            first = mapping.lines[node.text]
            raise self._error(f"{shown(node.text)} is given twice, first in line {first}", line, "keep one of the two")
        return node.text

    def _error(self, message: str, line: int | None, hint: str = "") -> InputError:
        return self._kind(message, path=self._place, line=line, hint=hint)


def shown(text: str) -> str:
    """A word as an error shows it: quoted, escaped and short."""
    return repr(text if len(text) <= 80 else f"{text[:80]}…")  # noqa: PLR2004 - a line of a terminal
