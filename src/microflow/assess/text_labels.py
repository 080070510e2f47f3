"""Labels of texts: which values of the column's domain each of them covers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from microflow.anonymize.generalise import Label, text_of
from microflow.assess.labels import Floats, Index, distinct, exactly, label_of
from microflow.schema import Column, Value

__all__ = ["TextLabels"]

#: A column with more distinct texts is compared on the most frequent ones and "any other".
_MOST_TEXTS = 256


class TextLabels:
    """Labels of a text column as sets of the domain's values.

    The cells of ``spread`` are the most frequent values, any other value, and missing.
    """

    def __init__(
        self, column: Column, released: pa.ChunkedArray, original: pa.ChunkedArray, *, generalised: bool
    ) -> None:
        self._column = column
        self.codes, values = distinct(released)
        texts = [None if value is None else text_of(value) for value in values]
        domain = _domain(column, original)
        # A value of the original, such as the grade "A*", is that value and no label.
        plain = frozenset(domain)
        self._labels = [
            label_of(text, column) if generalised and text not in plain else exactly(text, column) for text in texts
        ]
        self.centre = np.full(len(values), np.nan)
        blank = np.array([label.missing for label in self._labels], np.bool_)
        sizes = self._sizes(domain)
        # A value that the domain does not know is still one value.
        self.width = np.where(blank, 1.0, np.maximum(sizes - 1, 0) / max(1, len(domain) - 1))
        self.spread = np.zeros((len(values), min(len(domain), _MOST_TEXTS) + 2))
        self.spread[:, :-2] = (self.distance(domain[:_MOST_TEXTS]) == 0).T / np.maximum(sizes, 1)[:, None]
        self.spread[blank, -1] = 1
        self.spread[:, -2] = 1 - self.spread.sum(axis=1)

    def distance(self, values: Sequence[Value], codes: Index | None = None) -> Floats:
        """0 or 1."""
        chosen = list(enumerate(self._labels if codes is None else [self._labels[code] for code in codes]))
        places = _by_exact(chosen)
        texts = [None if value is None else text_of(value) for value in values]
        far = np.ones((len(texts), len(chosen)))
        for row, text in enumerate(texts):
            for node in self._nodes(text):
                far[row, places.get(node, [])] = 0
        members = _Members(texts)
        for place, label in chosen:
            if label.exact is None:
                far[members.of(label), place] = 0
        return far

    def _sizes(self, domain: Sequence[str]) -> Index:
        """How many values of the domain each label covers."""
        chosen = list(enumerate(self._labels))
        places = _by_exact(chosen)
        sizes = np.zeros(len(chosen), np.int64)
        for text in domain:
            for node in self._nodes(text):
                sizes[places.get(node, [])] += 1
        members = _Members(domain)
        for place, label in chosen:
            if label.exact is None:
                sizes[place] = len(members.of(label))
        return sizes

    def _nodes(self, text: str | None) -> list[str]:
        """What an exact label may be called that covers ``text``: itself, a node above it, a shortened code."""
        if text is None:
            return []
        hierarchy = self._column.hierarchy
        if hierarchy is None:
            return [text]
        if hierarchy.prefix:
            return [text[:length] for length in range(1, len(text) + 1)]
        return hierarchy.path(text)


def _by_exact(labels: Sequence[tuple[int, Label]]) -> dict[str, list[int]]:
    """Where each exact text stands."""
    places: dict[str, list[int]] = {}
    for place, label in labels:
        if label.exact is not None:
            places.setdefault(label.exact, []).append(place)
    return places


class _Members:
    """Which of some texts a label that is not exact covers."""

    def __init__(self, texts: Sequence[str | None]) -> None:
        self._texts = texts
        self._order = sorted((text, row) for row, text in enumerate(texts) if text is not None)

    def of(self, label: Label) -> list[int]:
        if label.parts:
            return sorted({row for part in label.parts for row in self.of(part)})
        if label.prefix is not None:
            first = bisect_left(self._order, (label.prefix, -1))
            last = bisect_left(self._order, (label.prefix + chr(0x10FFFF), -1))
            return [row for _, row in self._order[first:last]]
        return [row for row, text in enumerate(self._texts) if label.covers(text)]


def _domain(column: Column, original: pa.ChunkedArray) -> list[str]:
    """Declared categories, and what else the original holds, the most frequent first."""
    codes, values = distinct(original)
    order = np.argsort(-np.bincount(codes, minlength=len(values)), kind="stable")
    texts = [text_of(value) for code in order if (value := values[code]) is not None]
    return list(dict.fromkeys([*column.categories, *texts]))
