"""Released values as regions of a column's domain: what they may hide, how wide they are, how far a value lies away.

A released value is exact (``37``), a range, a prefix, a set or missing (see `microflow.anonymize.generalise`). Every
measure of this room is taken on the distinct labels of a column, which are few, and spread to rows by their codes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.generalise import Label, parse
from microflow.schema import Column, Value

__all__ = ["Floats", "Index", "Labels", "NumberLabels", "TextLabels", "distinct", "labels_of"]

Index = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_BINS = 20
#: A column with more distinct texts is compared on the most frequent ones and "any other".
_MOST_TEXTS = 256


class Labels(Protocol):
    """The distinct labels of a column, and the label of each row."""

    codes: Index
    """Shape (rows,): which label each row has."""
    width: Floats
    """Shape (labels,): the part of the domain a label leaves open, 0 for one value to 1 for nothing told (NCP)."""
    spread: Floats
    """Shape (labels, cells): how a label's probability spreads over the cells of the domain; the last is "missing"."""
    centre: Floats
    """Shape (labels,): the middle of a numeric label, from 0 to 1 between the bounds; NaN where there is none."""

    def distance(self, values: Sequence[Value], codes: Index | None = None) -> Floats:
        """Shape (values, labels): 0 where the label covers the value, up to 1 where it says something else.

        ``codes`` asks for these labels only.
        """
        ...


def labels_of(column: Column, released: pa.ChunkedArray, original: pa.ChunkedArray, *, generalised: bool) -> Labels:
    """The labels of a released column, against the domain of the original one.

    ``generalised`` says that text is to be read as labels rather than as values.
    """
    if column.is_numeric:
        return NumberLabels(column, released, original)
    return TextLabels(column, released, original, generalised=generalised)


def distinct(array: pa.ChunkedArray) -> tuple[Index, list[Value]]:
    """The code of each row, and the value of each code; a missing value is a value."""
    encoded = array.combine_chunks().dictionary_encode(null_encoding="encode")
    codes: Index = encoded.indices.to_numpy().astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


class NumberLabels:
    """Labels of a numeric column as closed intervals; a set of ranges counts as the range around them."""

    def __init__(self, column: Column, released: pa.ChunkedArray, original: pa.ChunkedArray) -> None:
        self.codes, values = distinct(released)
        self._low, self._range = _bounds(column, original)
        parsed = [_interval(value, column) for value in values]
        ends = np.array([ends for ends, _ in parsed], np.float64).reshape(-1, 2)
        self._covers_missing = np.array([missing for _, missing in parsed], np.bool_)
        self._lows, self._highs = ((ends[:, i] - self._low) / self._range for i in (0, 1))
        inside = np.clip(self._highs, 0, 1) - np.clip(self._lows, 0, 1)
        self.width = np.where(np.isnan(inside), 1.0, inside)
        self.centre = (np.clip(self._highs, 0, 1) + np.clip(self._lows, 0, 1)) / 2
        self.spread = self._spread()

    def distance(self, values: Sequence[Value], codes: Index | None = None) -> Floats:
        """The gap between the value and the interval, as a part of the column's range and at most 1."""
        which = slice(None) if codes is None else codes
        numbers = np.array([np.nan if value is None else value for value in values], np.float64)
        unit = ((numbers - self._low) / self._range)[:, None]
        gap = np.maximum(np.maximum(self._lows[which] - unit, unit - self._highs[which]), 0.0)
        told = np.where(np.isnan(gap), 1.0, np.minimum(gap, 1.0))
        return np.where(np.isnan(numbers)[:, None], np.where(self._covers_missing[which], 0.0, 1.0), told)

    def _spread(self) -> Floats:
        """Evenly over the bins an interval touches."""
        edges = np.linspace(0, 1, _BINS + 1)
        low, high = (np.clip(end, 0, 1)[:, None] for end in (self._lows, self._highs))
        overlap = np.clip(np.minimum(high, edges[1:]) - np.maximum(low, edges[:-1]), 0, None)
        cells = np.zeros((len(low), _BINS + 1))
        wide = np.flatnonzero(overlap.sum(axis=1) > 0)
        cells[wide, :_BINS] = overlap[wide] / overlap[wide].sum(axis=1, keepdims=True)
        point = np.flatnonzero((overlap.sum(axis=1) == 0) & ~np.isnan(self._lows))
        cells[point, np.minimum((low[point, 0] * _BINS).astype(np.int64), _BINS - 1)] = 1
        cells[np.isnan(self._lows), _BINS] = 1
        return cells


def _bounds(column: Column, original: pa.ChunkedArray) -> tuple[float, float]:
    """Lower end and range: declared, or those of the original values."""
    numbers = [value for value in (column.low, column.high) if value is not None]
    if len(numbers) == 1 or not numbers:
        present = original.drop_null().to_numpy()
        numbers = [float(present.min()), float(present.max())] if len(present) else [0.0, 1.0]
    low, high = min(numbers), max(numbers)
    return low, (high - low) or 1.0


def _interval(value: Value, column: Column) -> tuple[tuple[float, float], bool]:
    """Both ends (NaN where nothing numeric is told), and whether a missing value is covered."""
    if isinstance(value, int | float):
        return (float(value), float(value)), False
    return _hull(_parsed(value, column))


def _hull(label: Label) -> tuple[tuple[float, float], bool]:
    if label.parts:
        hulls = [_hull(part) for part in label.parts]
        ends = np.array([ends for ends, _ in hulls])
        told = ends[~np.isnan(ends[:, 0])]
        around = (float(told[:, 0].min()), float(told[:, 1].max())) if len(told) else (np.nan, np.nan)
        return around, any(missing for _, missing in hulls)
    if isinstance(label.low, float) and isinstance(label.high, float):
        return (label.low, label.high), False
    if label.prefix == "":
        return (-np.inf, np.inf), False
    if label.exact is None:
        return (np.nan, np.nan), label.missing
    try:
        return (float(label.exact), float(label.exact)), False
    except ValueError:
        return (np.nan, np.nan), False


class TextLabels:
    """Labels of a text column as sets of the domain's values.

    The cells of ``spread`` are the most frequent values, any other value, and missing.
    """

    def __init__(
        self, column: Column, released: pa.ChunkedArray, original: pa.ChunkedArray, *, generalised: bool
    ) -> None:
        self._column = column
        self.codes, values = distinct(released)
        texts = [None if value is None else _text(value) for value in values]
        self._labels = [_parsed(text, column) if generalised else _as_it_is(text, column) for text in texts]
        self.centre = np.full(len(values), np.nan)
        domain = _domain(column, original)
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
        texts = [None if value is None else _text(value) for value in values]
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
        nodes = [text]
        while (parent := hierarchy.parents.get(nodes[-1])) is not None and parent not in nodes:
            nodes.append(parent)
        return nodes


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
    texts = [_text(value) for code in order if (value := values[code]) is not None]
    return list(dict.fromkeys([*column.categories, *texts]))


def _parsed(text: Value, column: Column) -> Label:
    try:
        return parse(None if text is None else str(text), column)
    except ValueError:
        # A method that does not generalise released a text that only looks like a label.
        return _as_it_is(str(text), column)


def _as_it_is(text: str | None, column: Column) -> Label:
    return Label(column, missing=True) if text is None else Label(column, exact=text)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
