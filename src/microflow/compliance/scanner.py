"""Finding identifiers in one text: the same function decides for both compiled checks."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import polars as pl

from microflow.compliance.patterns import BEHIND, LEAD, PATTERNS, PLACES, Pattern
from microflow.compliance.spelling import RESPELLED, SUSPICIOUS, plain, with_marks

__all__ = ["Span", "TextScanner"]

Search = Callable[[str, int], re.Match[str] | None]
Span = tuple[str, int, int]

#: One of these is in every identifier that a pattern finds.
_CLUE = r"[0-9@]|://|[Ww]{2}[0-9]{0,2}\."
_first_clue = re.compile(_CLUE).search
#: How far in front of a match its beginning is looked for (a mailbox has at most 64 octets, RFC 5321).
_REACH = 256
_DIGITS = frozenset("0123456789")
#: So many digits in a row are as good as any more; and so many shapes are remembered at once.
_MOST_DIGITS, _SHAPES = 20, 10_000
#: Stands between texts that are searched as one; no pattern and no look around a match crosses it.
_BETWEEN = "\n\x00\n"


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A pattern, ready to be matched at one place."""

    name: str
    match: Search
    measure: Callable[[re.Match[str]], int]
    before: Search | None
    behind: Callable[[str], re.Match[str] | None] | None
    reads_back: bool

    @classmethod
    def of(cls, pattern: Pattern) -> _Compiled:
        match = re.compile(pattern.expression, re.ASCII).match
        before = re.compile(f"{pattern.before}+").match if pattern.before else None
        behind = re.compile(rf"(?:{pattern.behind})\Z", re.ASCII).search if pattern.behind else None
        return cls(pattern.name, match, pattern.measure, before, behind, bool(before or behind))


class TextScanner:
    """Finds the spans of several patterns in texts, from left to right, none overlapping another.

    A text is searched as `microflow.compliance.spelling.plain` spells it, from shortly before its first digit or mark
    (``@``, ``://``, ``www.``); a text without either is not searched at all. One expression finds the places where
    something may begin; how many digits follow each other there, and what follows them, tells which patterns to try.
    """

    def __init__(self, names: Iterable[str]) -> None:
        wanted = set(names)
        patterns = [pattern for pattern in PATTERNS if pattern.name in wanted]
        self._search = _beginnings(patterns)
        self._patterns = patterns
        self._by_shape: dict[str | tuple[int, str], _Likely] = {}

    def bears_clue(self, text: pl.Expr) -> pl.Expr:
        """True of every text in which there is something to find, and of few others."""
        return text.str.contains(f"{_CLUE}|{SUSPICIOUS}")

    def spans(self, text: str) -> list[Span]:
        """Pattern name, start and end (code points) of every finding, by start."""
        spelled = plain(text)
        clue = _first_clue(spelled.text)
        if clue is None:
            return []
        found = self._spans(spelled.text, max(clue.start() - LEAD, 0))
        return [(name, *spelled.original(start, end)) for name, start, end in found] if spelled.starts else found

    def spans_in(self, texts: Sequence[str]) -> Iterator[tuple[int, Span]]:
        """The same for many texts at once, which is faster: index of the text, and the finding in it; in no order."""
        respelled = pl.Series(texts, dtype=pl.String).str.contains(RESPELLED).arg_true().to_list()
        spelled = {index: plain(texts[index]) for index in respelled}
        if spelled:
            texts = [spelled[index].text if index in spelled else text for index, text in enumerate(texts)]
        offsets = [0, *accumulate(len(text) + len(_BETWEEN) for text in texts)]
        for name, start, end in self._spans(with_marks(_BETWEEN.join(texts)), 0):
            index = bisect_right(offsets, start) - 1
            span = start - offsets[index], end - offsets[index]
            yield index, (name, *(spelled[index].original(*span) if index in spelled else span))

    def _spans(self, text: str, position: int) -> list[Span]:
        search, by_shape = self._search, self._by_shape
        found: list[Span] = []
        while (match := search(text, position)) is not None:
            start, position = match.span()
            char = text[start]
            shape = (position - start, text[position : position + 2]) if char in _DIGITS else char
            likely = by_shape.get(shape)
            if likely is None:
                likely = self._of_shape(shape)
            match = likely.match(text, start)
            while match is not None:
                index = match.lastindex or 0
                pattern = likely.patterns[index]
                length = pattern.measure(match)
                begin = _reach_back(text, start, pattern, found) if length and pattern.reads_back else start
                if length and not (pattern.reads_back and begin == start):
                    while found and found[-1][1] >= begin:
                        found.pop()  # it lies inside
                    position = start + length
                    found.append((pattern.name, begin, position))
                    break
                match = likely.after(index)(text, start)  # that was a look-alike; another may still be right
        return found

    def _of_shape(self, shape: str | tuple[int, str]) -> _Likely:
        """The patterns, in order of precedence, that may begin with a mark or letter, or with digits of this shape."""
        if len(self._by_shape) >= _SHAPES:
            self._by_shape.clear()
        if isinstance(shape, str):
            may_be = [pattern for pattern in self._patterns if shape in pattern.starts]
        else:
            written = f"{min(shape[0], _MOST_DIGITS)}|{shape[1]}"
            may_be = [
                pattern
                for pattern in self._patterns
                if pattern.starts & _DIGITS and re.match(pattern.shape, written, re.DOTALL)
            ]
        likely = self._by_shape[shape] = _Likely(may_be)
        return likely


class _Likely:
    """The patterns that may begin at a place of one shape: the first that matches there, and those after it."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._expressions = [f"({pattern.expression})" for pattern in patterns]
        self.patterns = [None, *map(_Compiled.of, patterns)]
        self._after: dict[int, Search] = {}
        self.match = self.after(0)

    def after(self, index: int) -> Search:
        """What matches the first of the patterns behind this one."""
        match = self._after.get(index)
        if match is None:
            later = self._expressions[index:]
            match = self._after[index] = re.compile("()" * index + "|".join(later) if later else "(?!)", re.ASCII).match
        return match


def _reach_back(text: str, start: int, pattern: _Compiled, found: list[Span]) -> int:
    """Where a finding begins whose beginning stands in front of its match; it may hold others, but not cut one."""
    if pattern.before is not None:
        run = pattern.before(text[max(start - _REACH, 0) : start][::-1], 0)
        begin = start - (run.end() if run else 0)
    else:
        words = pattern.behind(text[max(start - BEHIND, 0) : start]) if pattern.behind else None
        begin = start - (words.end() - words.start() if words else 0)
    for _, first, end in reversed(found):
        if first < begin:
            return max(begin, end)
    return begin


def _beginnings(patterns: Sequence[Pattern]) -> Search:
    """The search for the next place where a pattern may begin: all digits of a number, or the rest of what has none.

    It begins with a class of characters, to the next of which Python's engine skips quickly. What may stand behind each
    of them is looked up by a look back at it: first whether a word begins there, which most letters fail at once.
    """
    if not patterns:
        return re.compile("(?!)").search
    firsts = "".join(dict.fromkeys(pattern.first for pattern in patterns))
    behind: dict[str, dict[str, list[str]]] = {at: {} for at in PLACES}
    for pattern in patterns:
        if not pattern.starts & _DIGITS:
            behind[pattern.at].setdefault(f"(?<=[{pattern.first}])", []).append(f"(?={pattern.rest})")
        elif pattern.at == "word":
            behind["word"]["(?<=[0-9])"] = ["[0-9]*"]
        else:
            behind[pattern.at]["(?<=[0-9])"] = [""]
    places = []
    for at, by_first in behind.items():
        members = [f"{first}(?:{'|'.join(rests)})" for first, rests in by_first.items()]
        places += [f"{PLACES[at]}(?:{'|'.join(members)})"] if members else []
    return re.compile(f"[{firsts}](?:{'|'.join(places)})", re.ASCII).search
