"""Finding identifiers in one text: the same function decides for both compiled checks."""

from __future__ import annotations

import re
from collections.abc import Iterable

from microflow.compliance.patterns import PATTERNS, Pattern

__all__ = ["TextScanner"]

_has_digit = re.compile("[0-9]").search


class TextScanner:
    """Finds the spans of several patterns in one text, from left to right, none overlapping another.

    A text is searched once, with the union of the patterns whose marks it bears: of prose without a digit, an ``@`` or
    a ``://`` nothing is asked at all.
    """

    def __init__(self, names: Iterable[str]) -> None:
        wanted = set(names)
        self.patterns = tuple(pattern for pattern in PATTERNS if pattern.name in wanted)
        #: True (in Polars) of every text in which there is something to find, and of few others.
        self.sketch = "|".join(f"(?:{pattern.rust})" for pattern in self.patterns)
        self._marks = tuple(
            (1 << bit, marks) for bit, marks in enumerate(dict.fromkeys(pattern.marks for pattern in self.patterns))
        )
        self._unions: dict[int, _Union] = {}

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """Pattern name, start and end (code points) of every finding, by start."""
        borne = 0
        for bit, marks in self._marks:
            if any(mark in text for mark in marks) if marks else _has_digit(text):
                borne |= bit
        if not borne:
            return []
        union = self._unions.get(borne) or self._compile(borne)
        return union.spans(text)

    def _compile(self, borne: int) -> _Union:
        marks = {marks for bit, marks in self._marks if borne & bit}
        union = self._unions[borne] = _Union([pattern for pattern in self.patterns if pattern.marks in marks])
        return union


class _Union:
    """Several patterns compiled into one expression."""

    def __init__(self, patterns: list[Pattern]) -> None:
        named = [(f"p{i}", pattern) for i, pattern in enumerate(patterns)]
        union = "|".join(f"(?P<{group}>{pattern.expression})" for group, pattern in named)
        self._search = re.compile(union, re.ASCII).search
        self._by_group = {group: (pattern.name, pattern.measure) for group, pattern in named}
        self._single = [(p.name, re.compile(p.expression, re.ASCII).match, p.measure) for p in patterns]

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        found = []
        position = 0
        while (match := self._search(text, position)) is not None:
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
        for name, match_at, measure in self._single:
            match = match_at(text, start)
            if match is not None and (length := measure(match)):
                return name, length
        return "", 0
