"""Released values as regions of a column's domain: what they may hide, how wide they are, how far a value lies away.

A released value is exact (``37``), a range, a prefix, a set or missing (see `microflow.anonymize.generalise`). Every
distinct label is read once, and every measure of this room is taken on the distinct labels of a column, which are few,
and spread to rows by their codes.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.generalise import Label, name_of, parse, text_of, text_order
from microflow.schema import Column, Dtype, Hierarchy, Value

__all__ = ["Domain", "Floats", "Index", "Labels", "NumberLabels", "TextLabels", "distinct", "read_labels"]

Index = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_BINS = 20
#: A column with more distinct texts is compared on the most frequent ones and "any other".
_MOST_TEXTS = 256
_LAST_CHARACTER = chr(0x10FFFF)
#: Types of which a policy may leave the year: a range that ends with one holds all of its days.
_SHORTENED = frozenset({Dtype.DATE, Dtype.TIMESTAMP})


def distinct(array: pa.ChunkedArray) -> tuple[Index, list[Value]]:
    """The code of each row, and the value of each code; a missing value is a value."""
    encoded = array.combine_chunks().dictionary_encode(null_encoding="encode")
    codes: Index = encoded.indices.to_numpy().astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


class Domain:
    """The values of an original column: the code of each row, and the distinct value of each code."""

    def __init__(self, column: Column, original: pa.ChunkedArray) -> None:
        self.column = column
        self._rank = text_order(column)
        self.codes, self.values = distinct(original)
        absent = (value is None or value != value for value in self.values)  # noqa: PLR0124 - only NaN differs
        self.missing = np.fromiter(absent, np.bool_, len(self.values))

    @cached_property
    def numbers(self) -> Floats:
        """The value of each code of a numeric column, NaN where it is missing."""
        return np.array([np.nan if value is None else value for value in self.values], np.float64)

    @cached_property
    def texts(self) -> list[str]:
        """Declared categories, then what else the original holds by frequency. Their indices are *places*."""
        order = np.argsort(-np.bincount(self.codes, minlength=len(self.values)), kind="stable")
        held = (text_of(value) for code in order if (value := self.values[code]) is not None)
        return list(dict.fromkeys([*self.column.categories, *held]))

    @cached_property
    def place_of(self) -> Index:
        """The place of each code's text; -1 for the missing value."""
        return np.array([-1 if value is None else self._places[text_of(value)] for value in self.values], np.int64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {text: place for place, text in enumerate(self.texts)}

    @cached_property
    def _by_text(self) -> tuple[list[str], Index]:
        """The texts in their own order, and the place of each."""
        return sorted(self.texts), np.array(sorted(range(len(self.texts)), key=self.texts.__getitem__), np.int64)

    @cached_property
    def _by_rank(self) -> tuple[list[tuple[int, str]], Index]:
        """The texts as the column orders them (categories as declared, then all else), and the place of each."""
        ranks = [self._rank(text) for text in self.texts]
        return sorted(ranks), np.array(sorted(range(len(ranks)), key=ranks.__getitem__), np.int64)

    @cached_property
    def _below(self) -> dict[str, Index]:
        """The places below each node of a named hierarchy."""
        below: dict[str, list[int]] = {}
        for place, text in enumerate(self.texts):
            for node in (self.column.hierarchy or Hierarchy()).path(text):
                below.setdefault(node, []).append(place)
        return {node: np.array(places, np.int64) for node, places in below.items()}

    def covered(self, label: Label) -> Index:
        """The places of the texts that a label may hide, without a certain order."""
        if label.parts:
            return np.unique(np.concatenate([self.covered(part) for part in label.parts]))
        if label.missing:
            return np.empty(0, np.int64)
        if label.prefix is not None:
            return self._beginning_with(label.prefix)
        if label.exact is not None:
            return self._named(label.exact)
        keys, places = self._by_rank
        high = str(label.high) if self.column.dtype not in _SHORTENED else f"{label.high}{_LAST_CHARACTER}"
        return places[bisect_left(keys, self._rank(str(label.low))) : bisect_right(keys, self._rank(high))]

    def _named(self, text: str) -> Index:
        """A text itself, what is below the node of this name, or what the text is a shortened form of."""
        hierarchy = self.column.hierarchy
        if hierarchy is not None and hierarchy.prefix and text:
            return self._beginning_with(text)
        if hierarchy is not None and not hierarchy.prefix:
            return self._below.get(text, np.empty(0, np.int64))
        own = self.itself(text)
        return own if len(own) or not text else self._beginning_with(text)

    def itself(self, text: str) -> Index:
        """The place of one text; empty where the domain does not know it."""
        place = self._places.get(text)
        return np.array([] if place is None else [place], np.int64)

    def _beginning_with(self, prefix: str) -> Index:
        texts, places = self._by_text
        return places[bisect_left(texts, prefix) : bisect_right(texts, prefix + _LAST_CHARACTER)]

    @cached_property
    def hulls(self) -> dict[str, tuple[float, float]]:
        """The least and greatest number below each node of a numeric column's hierarchy, by name or by prefix."""
        hulls: dict[str, tuple[float, float]] = {}
        hierarchy = self.column.hierarchy
        for number in self.values if hierarchy is not None else ():
            if hierarchy is None or not isinstance(number, int | float):
                continue
            text = name_of(number)
            prefixes = [text[:length] for length in range(1, len(text) + 1)]
            for node in prefixes if hierarchy.prefix else hierarchy.path(text):
                low, high = hulls.get(node, (number, number))
                hulls[node] = min(low, number), max(high, number)
        return hulls


class NumberLabels:
    """Labels of a numeric column as closed intervals; a set of ranges counts as the range around them.

    Attributes:
        codes: Shape (rows,): which label each row has.
        width: Shape (labels,): the part of the domain a label leaves open, 0 for one value to 1 for nothing (NCP).
        centre: Shape (labels,): the middle of a label, from 0 to 1 between the bounds; NaN where there is none.
        covers_missing: Shape (labels,): whether a missing value may hide behind a label.
        blank: Shape (labels,): whether nothing else may.
    """

    def __init__(self, domain: Domain, released: pa.ChunkedArray) -> None:
        self.codes, values = distinct(released)
        self._domain = domain
        self._low, self._range = _bounds(domain)
        parsed = [
            ((float(value), float(value)), value != value)  # noqa: PLR0124 - only NaN differs from itself
            if isinstance(value, int | float)
            else _hull(_parsed(value, domain.column), domain)
            for value in values
        ]
        ends = np.array([ends for ends, _ in parsed], np.float64).reshape(-1, 2)
        self.covers_missing = np.array([missing for _, missing in parsed], np.bool_)
        self._lows, self._highs = ((ends[:, i] - self._low) / self._range for i in (0, 1))
        inside = np.clip(self._highs, 0, 1) - np.clip(self._lows, 0, 1)
        self.blank = np.isnan(inside) & self.covers_missing
        # What may be a number or missing says nearly nothing.
        self.width = np.where(np.isnan(inside) | self.covers_missing, 1.0, inside)
        self.centre = (np.clip(self._highs, 0, 1) + np.clip(self._lows, 0, 1)) / 2

    def distance(self, truths: Index, codes: Index | None = None) -> Floats:
        """The gap between values of the domain and intervals, as a part of the column's range and at most 1.

        Shape (truths, codes), for codes of the domain's values and of labels; by default of all labels.
        """
        which = slice(None) if codes is None else codes
        unit = ((self._domain.numbers[truths] - self._low) / self._range)[:, None]
        gap = np.maximum(np.maximum(self._lows[which] - unit, unit - self._highs[which]), 0.0)
        known = np.where(np.isnan(gap), 1.0, np.minimum(gap, 1.0))
        return np.where(np.isnan(unit), np.where(self.covers_missing[which], 0.0, 1.0), known)

    def distribution(self) -> Floats:
        """Distribution of all rows over the bins of the range, even within a label; the last bin is "missing"."""
        rows = np.bincount(self.codes, minlength=len(self.width)).astype(np.float64)
        known = ~np.isnan(self._lows)
        low, high = (np.clip(end[known], 0, 1) for end in (self._lows, self._highs))
        weights = rows[known]
        wide = high > low
        at = np.minimum((low[~wide] * _BINS).astype(np.int64), _BINS - 1)
        bins = np.bincount(at, weights[~wide], _BINS).astype(np.float64)
        edges = np.linspace(0, 1, _BINS + 1)
        # What lies left of each edge; one edge after the other, because labels may be many.
        share = weights[wide] / (high[wide] - low[wide])
        left = np.array([float((share * np.clip(edge - low[wide], 0, high[wide] - low[wide])).sum()) for edge in edges])
        return np.append(bins + np.diff(left), rows[~known].sum()) / len(self.codes)


def _bounds(domain: Domain) -> tuple[float, float]:
    """Lower end and range: declared, or those of the original values."""
    numbers = [value for value in (domain.column.low, domain.column.high) if value is not None]
    if len(numbers) <= 1:
        present = domain.numbers[~np.isnan(domain.numbers)]
        numbers = [float(present.min()), float(present.max())] if len(present) else [0.0, 1.0]
    low, high = min(numbers), max(numbers)
    return low, (high - low) or 1.0


_Hull = tuple[tuple[float, float], bool]
_NOTHING = (np.nan, np.nan)


def _hull(label: Label, domain: Domain) -> _Hull:
    """Both ends (NaN where there is no number), and whether a missing value is covered."""
    if label.parts:
        hulls = [_hull(part, domain) for part in label.parts]
        ends_of = [ends for ends, _ in hulls if not math.isnan(ends[0])]
        around = (min(low for low, _ in ends_of), max(high for _, high in ends_of)) if ends_of else _NOTHING
        return around, any(missing for _, missing in hulls)
    if label.missing:
        return _NOTHING, True
    if isinstance(label.low, int | float) and isinstance(label.high, int | float):
        return (float(label.low), float(label.high)), False
    if label.prefix == "":
        return (-np.inf, np.inf), False
    with suppress(ValueError):
        return (float(label.exact or ""),) * 2, False
    return domain.hulls.get(label.prefix or label.exact or "", _NOTHING), False


class TextLabels:
    """Labels of a text column as sets of the domain's texts; attributes as in `NumberLabels`, without a centre."""

    def __init__(
        self, domain: Domain, released: pa.ChunkedArray, ordinals: Index | None = None, *, generalised: bool = True
    ) -> None:
        """Read the labels of a released column.

        Args:
            domain: What the original column holds.
            released: The released column.
            ordinals: The original row of each released one. It tells a text that is a value of the original as well as
                a label apart, such as the grade ``A*``: it is that value where every row held it, or where the label
                would not cover what the rows held.
            generalised: Whether texts may be labels; otherwise each is a value.
        """
        self._domain = domain
        self.codes, values = distinct(released)
        texts = [None if value is None else text_of(value) for value in values]
        labels = [_parsed(text, domain.column) if generalised else None for text in texts]
        members = [
            np.empty(0, np.int64) if text is None else domain.itself(text) if label is None else domain.covered(label)
            for text, label in zip(texts, labels, strict=True)
        ]
        missing = (
            text is None or (label is not None and label.covers(None))
            for text, label in zip(texts, labels, strict=True)
        )
        self.covers_missing = np.fromiter(missing, np.bool_, len(texts))
        for code in self._values_among(texts, members, ordinals) if generalised else ():
            members[code], self.covers_missing[code] = domain.itself(texts[code] or ""), False
        self._sizes = np.fromiter(map(len, members), np.int64, len(members))
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._members = np.fromiter(chain.from_iterable(members), np.int64, int(self._sizes.sum()))
        self.blank = (self._sizes == 0) & self.covers_missing
        # A missing value is a value, and a text that the domain does not know is still one.
        covered, known = self._sizes + self.covers_missing, len(domain.texts) + int(domain.missing.any())
        self.width = np.where(self.blank, 1.0, np.maximum(covered - 1, 0) / max(1, known - 1))

    def _values_among(self, texts: Sequence[str | None], members: Sequence[Index], ordinals: Index | None) -> list[int]:
        """The codes of texts that could be read as a label, and are values of the original."""
        domain = self._domain
        doubtful: dict[int, int] = {}
        for code, text in enumerate(texts):
            own = domain.itself(text) if text is not None else members[code][:0]
            if len(own) and not np.array_equal(own, members[code]):
                doubtful[code] = int(own[0])
        if not doubtful or ordinals is None:
            return list(doubtful)
        rows = np.flatnonzero(np.isin(self.codes, list(doubtful)))
        truths = domain.place_of[domain.codes[ordinals[rows]]]
        pairs = np.unique(np.stack([self.codes[rows], truths], axis=1), axis=0)
        values = []
        for code, place in doubtful.items():
            held = pairs[pairs[:, 0] == code, 1]
            known = held[held >= 0]
            hidden = np.isin(known, members[code]).all() and (self.covers_missing[code] or len(known) == len(held))
            if not hidden or (held == place).all():
                values.append(code)
        return values

    def distance(self, truths: Index, codes: Index | None = None) -> Floats:
        """0 where a label covers a value of the domain, else 1.

        Shape (truths, codes), for *different* codes of the domain's values, and codes of labels, by default of all.
        """
        chosen = np.arange(len(self._sizes)) if codes is None else codes
        places = self._domain.place_of[truths]
        far = np.ones((len(truths), len(chosen)))
        far[np.ix_(places < 0, self.covers_missing[chosen])] = 0
        row_of = np.full(len(self._domain.texts) + 1, -1, np.int64)
        row_of[places] = np.arange(len(truths))  # the missing value's row is written behind the texts
        row_of[-1] = -1
        owner, members = self._flat(chosen)
        rows = row_of[members]
        far[rows[rows >= 0], owner[rows >= 0]] = 0
        return far

    def _flat(self, chosen: Index) -> tuple[Index, Index]:
        """The members of some labels one after the other, and the label (counted from 0) that each belongs to."""
        sizes = self._sizes[chosen]
        owner = np.repeat(np.arange(len(chosen)), sizes)
        within = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return owner, self._members[self._starts[chosen][owner] + within]

    def spread(self, most: int = _MOST_TEXTS) -> Floats:
        """Shape (labels, cells): the probability of each of the ``most`` first texts, any other, and "missing"."""
        cells = min(len(self._domain.texts), most)
        spread = np.zeros((len(self._sizes), cells + 2))
        owner, members = self._flat(np.arange(len(self._sizes)))
        first = members < cells
        spread[owner[first], members[first]] = 1 / self._sizes[owner[first]]
        spread[self.blank, -1] = 1
        spread[:, -2] = 1 - spread.sum(axis=1)
        return spread

    def distribution(self) -> Floats:
        """Distribution of all rows over the most frequent texts, any other text, and "missing"."""
        cells = min(len(self._domain.texts), _MOST_TEXTS)
        rows = np.bincount(self.codes, minlength=len(self._sizes)) / len(self.codes)
        owner, members = self._flat(np.arange(len(self._sizes)))
        found = np.bincount(np.minimum(members, cells), (rows / np.maximum(self._sizes, 1))[owner], cells + 2)
        found[-1] = rows[self.blank].sum()
        found[-2] += rows[(self._sizes == 0) & ~self.blank].sum()
        return found.astype(np.float64)


Labels = NumberLabels | TextLabels


def read_labels(domain: Domain, released: pa.ChunkedArray, ordinals: Index | None, *, generalised: bool) -> Labels:
    """The labels of a released column against the domain of the original one."""
    if domain.column.is_numeric:
        return NumberLabels(domain, released)
    return TextLabels(domain, released, ordinals, generalised=generalised)


def _parsed(text: Value, column: Column) -> Label:
    """The label that a released text is; a text that only looks like one is a value."""
    try:
        return parse(None if text is None else str(text), column)
    except ValueError:
        # A method that does not generalise released a text that only looks like a label.
        return Label(column, exact=str(text))
