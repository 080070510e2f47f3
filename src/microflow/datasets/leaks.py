"""Violations put into clean rows, each written down in the truth as it is made.

A `FieldLeak` gives fields a value that breaks a rule (and sets others so that no second rule breaks by accident); a
`TextLeak` appends a sentence with an identifier to free text. Two leaks that touch one field never meet in one record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from microflow.datasets.draws import Draws, Integers, Page
from microflow.datasets.identifiers import REFERENCE_DATE, Identifiers

__all__ = [
    "DataType", "FieldLeak", "Leak", "TextLeak", "always", "among", "between", "drawn", "past", "spread",
]  # fmt: skip

#: New values for some rows of a column, from their present ones.
Change = Callable[[Draws, pa.Array], Any]

_SENTENCES = ("Reach them at {} today.", "On file: {} (verified).", "They gave {} at the desk.", "Copied from {} ok.")
_SECOND, _THIRD = 0.25, 0.08


@dataclass(frozen=True)
class FieldLeak:
    """``breaks`` gets values that break the rule, ``also`` values that keep other rules from breaking.

    ``weight`` says how often, beside the data type's other leaks. ``spans``: the rule looks inside the field, so the
    truth names the code points, which are all of them.
    """

    rule: str
    breaks: Mapping[str, Change]
    also: Mapping[str, Change] = field(default_factory=dict)
    weight: float = 1.0
    spans: bool = False

    @property
    def touches(self) -> frozenset[str]:
        """Fields that get a new value."""
        return frozenset(self.breaks) | frozenset(self.also)

    def inject(self, page: Page, rows: Integers, draws: Draws) -> None:
        """Break the rule in these rows (ascending) and note it."""
        for name, change in {**self.breaks, **self.also}.items():
            values = change(draws, page.columns[name].take(pa.array(rows)))
            page.put(name, rows, values)
            if name in self.breaks:
                ends = [len(value) for value in values] if self.spans else -1
                page.note(self.rule, name, rows, 0 if self.spans else -1, ends)


@dataclass(frozen=True)
class TextLeak:
    """A sentence that names an identifier."""

    rule: str
    field: str
    identifiers: Identifiers
    weight: float = 1.0
    touches: frozenset[str] = frozenset()

    def inject(self, page: Page, rows: Integers, draws: Draws) -> None:
        """Break the rule in these rows (ascending) and note it."""
        values = self.identifiers(draws)
        page.append_sentences(self.rule, self.field, rows, draws.words(_SENTENCES), values)


#: One way to break one rule.
Leak = FieldLeak | TextLeak


@dataclass(frozen=True)
class DataType:
    """Description of a data type for `microflow.datasets.generator`.

    ``clean`` draws all columns but the record id, without a violation; ``leaks`` breaks rules of the default policy;
    ``masks`` are values that hide an identifier, by field; ``text`` is the field of free text.
    """

    clean: Callable[[Draws], dict[str, pa.Array]]
    leaks: tuple[Leak, ...]
    masks: Mapping[str, Sequence[str]]
    text: str


def always(value: object) -> Change:
    """Change that puts the same value in each row; ``None`` for null."""
    return lambda _, present: [value] * len(present)


def drawn(identifiers: Identifiers) -> Change:
    """New identifiers, whatever was there."""
    return lambda draws, _: identifiers(draws)


def among(values: Sequence[str]) -> Change:
    """One of the values, all equally likely."""
    return lambda draws, _: draws.words(values)


def between(first: date, last: date) -> Change:
    """A day, both ends included."""
    return lambda draws, _: draws.days(first, last)


def past(since: int) -> Change:
    """A day before the reference date, in the year ``since`` or later."""
    return between(date(since, 1, 1), REFERENCE_DATE - timedelta(days=1))


def spread(page: Page, leaks: Sequence[Leak], rate: float, draws: Draws) -> None:
    """Break rules in a share ``rate`` of the rows: one in most of them, two or three in some."""
    dirty = np.flatnonzero(draws.hits(rate))
    choices = draws.of(len(dirty))
    clash = np.array([[a is b or bool(a.touches & b.touches) for b in leaks] for a in leaks])
    weights = [leak.weight for leak in leaks]
    first, second, third = (choices.weighted(weights) for _ in range(3))
    extra = choices.uniform()
    has_second = (extra < _SECOND) & ~clash[first, second]
    has_third = (extra < _THIRD) & has_second & ~clash[first, third] & ~clash[second, third]
    for index, leak in enumerate(leaks):
        chosen = (first == index) | (has_second & (second == index)) | (has_third & (third == index))
        rows: Integers = dirty[chosen]
        if len(rows):
            leak.inject(page, rows, draws.of(len(rows)))
