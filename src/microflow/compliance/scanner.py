"""Finding identifiers in one text: the same function decides for both compiled checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import polars as pl

from microflow.compliance.patterns import LEAD, PATTERNS, Pattern

__all__ = ["TextScanner"]

Search = Callable[[str, int], re.Match[str] | None]
#: A pattern's name, the match of it at one place, and its measure.
Single = tuple[str, Search, Callable[[re.Match[str]], int]]

_first_digit = re.compile("[0-9]").search
# Polars finds one of a few bytes much faster than a word; whoever holds the word holds the byte.
_BYTE_OF_MARK = {"@": "@", "://": "/"}


class TextScanner:
    """Finds the spans of several patterns in one text, from left to right, none overlapping another.

    A text is searched once: with the union of all patterns if it bears a mark (``@``, ``://``), with the union of those
    that have none, and from shortly before its first digit, if it does not, and not at all if it has no digit either.
    """

    def __init__(self, names: Iterable[str]) -> None:
        wanted = set(names)
        patterns = {f"p{i}": pattern for i, pattern in enumerate(PATTERNS) if pattern.name in wanted}
        self._marks = tuple(dict.fromkeys(pattern.mark for pattern in patterns.values() if pattern.mark))
        self._search_marked = _union(patterns)
        self._search_digits = _union({group: pattern for group, pattern in patterns.items() if not pattern.mark})
        self._by_group = {group: (pattern.name, pattern.measure) for group, pattern in patterns.items()}
        self._by_first = _first_characters(patterns.values())

    def bears_clue(self, text: pl.Expr) -> pl.Expr:
        """True of every text in which there is something to find, and of few others."""
        found = text.str.contains("[0-9]")
        if cheap := "".join(_BYTE_OF_MARK[mark] for mark in self._marks if mark in _BYTE_OF_MARK):
            found |= text.str.contains(f"[{cheap}]")
        for mark in self._marks:
            if mark not in _BYTE_OF_MARK:
                found |= text.str.contains(mark, literal=True)
        return found

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """Pattern name, start and end (code points) of every finding, by start."""
        begin = -1
        for mark in self._marks:
            place = text.find(mark)
            if place >= 0:  # what bears a mark begins in the word that does
                place = text.rfind(" ", 0, place) + 1
                begin = place if begin < 0 else min(begin, place)
        search = self._search_digits if begin < 0 else self._search_marked
        digit = _first_digit(text)
        if digit is not None:
            place = max(digit.start() - LEAD, 0)
            begin = place if begin < 0 else min(begin, place)
        return self._spans(text, search, begin) if begin >= 0 else []

    def _spans(self, text: str, search: Search, position: int) -> list[tuple[str, int, int]]:
        found = []
        while (match := search(text, position)) is not None:
            start = match.start()
            name, measure = self._by_group[match.lastgroup or ""]
            length = measure(match)
            if not length:
                name, length = self._second_choice(text, start)
            if length:
                found.append((name, start, start + length))
            position = start + (length or 1)
        return found

    def _second_choice(self, text: str, start: int) -> tuple[str, int]:
        """The union proposes one pattern a place; when that was a look-alike, another may still be right."""
        for name, match_at, measure in self._by_first.get(text[start], self._by_first[""]):
            match = match_at(text, start)
            if match is not None and (length := measure(match)):
                return name, length
        return "", 0


def _union(patterns: Mapping[str, Pattern]) -> Search:
    """The search for the first of several patterns, each a named group.

    Most places in a text fail at the boundary that all words share, or at the first character, and at nothing slower.
    """
    anywhere = _by_first({group: pattern for group, pattern in patterns.items() if not pattern.at_word})
    at_word = _by_first({group: pattern for group, pattern in patterns.items() if pattern.at_word})
    union = [*anywhere, *([rf"\b(?:{'|'.join(at_word)})"] if at_word else [])]
    return re.compile("|".join(union) or _NOTHING, re.ASCII).search


_NOTHING = "(?!)"


def _by_first(patterns: Mapping[str, Pattern]) -> list[str]:
    groups: dict[str, list[str]] = {}
    for group, pattern in patterns.items():
        groups.setdefault(pattern.first, []).append(f"(?P<{group}>{pattern.expression})")
    return [f"{f'(?=[{first}])' if first else ''}(?:{'|'.join(members)})" for first, members in groups.items()]


def _first_characters(patterns: Iterable[Pattern]) -> dict[str, list[Single]]:
    """The patterns that may begin with a character; under ``""`` those that may with any other."""
    singles: list[tuple[str, Single]] = [
        (
            p.first,
            (p.name, re.compile(rf"\b(?:{p.expression})" if p.at_word else p.expression, re.ASCII).match, p.measure),
        )
        for p in patterns
    ]
    by_first = {
        char: [single for first, single in singles if not first or re.match(f"[{first}]", char)]
        for char in map(chr, range(128))
    }
    return by_first | {"": [single for first, single in singles if not first]}
