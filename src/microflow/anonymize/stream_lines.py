"""Quasi-identifiers of a stream whose values have positions: numbers, dates, ordered categories.

Unlike the axes of a data set, nothing is known of values to come. Positions only say which records are near each other;
what a label covers is decided by the values themselves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.anonymize.generalise import number_label, set_label, text_range_label
from microflow.errors import MicroflowError
from microflow.schema import ISO_DATE, Column, Dtype, Value

__all__ = ["Flags", "Line", "Summary", "is_line"]

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Summary:
    """What one label covers: ``shape`` depends on the kind of column and is ``None`` when every value is missing."""

    shape: Any
    missing: bool


def is_line(column: Column) -> bool:
    """Whether a column's values have positions."""
    return column.is_numeric or column.dtype is Dtype.DATE or (column.ordered and bool(column.categories))


class Line:
    """Values with a position. ``weight`` is one over the length of the domain: declared, or what was met so far."""

    def __init__(self, column: Column, remembered: int) -> None:
        self._low_of = np.full(remembered, np.nan)
        self._high_of = np.full(remembered, np.nan)
        self._missing_in = np.zeros(remembered, np.bool_)
        self._name = column.name
        self._numeric = column.is_numeric
        self._dated = column.dtype is Dtype.DATE
        self._places = {name: place for place, name in enumerate(column.categories)}
        self._low, self._high = math.inf, -math.inf
        if column.bounds is not None:
            self._low, self._high = column.bounds
        elif column.categories:
            self._low, self._high = 0.0, float(len(column.categories))
        self.grows = self._low > self._high
        self.weight = 1.0 if self.grows else 1.0 / (self._high - self._low or 1.0)

    def position(self, value: Value) -> float:
        """Where a value lies; NaN where it is missing, the nearest bound where it is outside the declared ones."""
        if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
            return math.nan
        place = float(value) if self._numeric else self._place(value)
        if self.grows:
            self._low, self._high = min(self._low, place), max(self._high, place)
            self.weight = 1.0 / (self._high - self._low or 1.0)
            return place
        if place < self._low:
            return self._low
        return min(place, self._high)

    def _place(self, value: Value) -> float:
        if self._dated:
            return _date_position(str(value), self._name)
        return float(self._places.get(str(value), len(self._places)))

    def _key(self, value: Value) -> Any:
        """What values are ordered by exactly; a position may be clipped."""
        if self._numeric or self._dated:
            return value
        return self._places.get(str(value), len(self._places)), value

    def summarise(self, values: Sequence[Value]) -> Summary:
        """The lowest and highest value."""
        known = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - NaN
        key = None if self._numeric or self._dated else self._key
        shape = (min(known, key=key), max(known, key=key)) if known else None
        return Summary(shape, len(known) < len(values))

    def remember(self, place: int, summary: Summary) -> None:
        """Keep what a released label covers."""
        low, high = summary.shape or (None, None)
        self._low_of[place], self._high_of[place] = self.position(low), self.position(high)
        self._missing_in[place] = summary.missing

    def may_cover(self, position: float) -> Flags:
        """For each remembered label whether it covers values at a position, as far as positions tell."""
        if math.isnan(position):
            return self._missing_in
        return (self._low_of <= position) & (position <= self._high_of)

    def covers(self, summary: Summary, value: Value) -> bool:
        """Whether the value may be released under this summary's label."""
        if _is_missing(value):
            return summary.missing
        if summary.shape is None:
            return False
        low, high = summary.shape
        return bool(self._key(low) <= self._key(value) <= self._key(high))

    def loss(self, summary: Summary) -> float:
        """The share of the domain's length; 1 where missing and known values are mixed."""
        if summary.shape is None:
            return 0.0
        low, high = summary.shape
        return 1.0 if summary.missing else (self.position(high) - self.position(low)) * self.weight

    def label(self, summary: Summary) -> str | None:
        """A range."""
        if summary.shape is None:
            return None
        low, high = summary.shape
        text = number_label(low, high) if self._numeric else text_range_label(low, high)
        return set_label([text], missing=summary.missing)


def _is_missing(value: Value) -> bool:
    return value is None or value != value  # noqa: PLR0124 - only NaN differs from itself


def _date_position(text: str, name: str) -> float:
    if not ISO_DATE.fullmatch(text):
        raise MicroflowError(f"column {name!r} holds a date that is not written YYYY, YYYY-MM or YYYY-MM-DD")
    # 13 months and 32 days, so that a shorter date lies before all longer ones that begin with it, as in text order.
    year, month, day = (int(part or 0) for part in (text[:4], text[5:7], text[8:10]))
    return year + month / 13 + day / 416
