"""The space in which CASTLE measures: lines of columns, and boxes of clusters.

Unlike the axes of a data set, nothing is known of values to come. Positions only say which records are near each other;
what a label covers is decided by the values themselves.

A column with positions takes four entries of a row: the position, its negation, whether the value is missing, and
whether it is not. A cluster's row is the highest of its members' entries, so that whatever a record adds to a cluster's
loss is the positive part of its own row minus the cluster's, weighted; NaN (no position) adds nothing by itself, and
mixing missing with known values adds 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from microflow.anonymize.generalise import number_label, set_label, text_range_label
from microflow.anonymize.stream_tables import Bag, Paths
from microflow.errors import MicroflowError
from microflow.schema import ISO_DATE, Column, Dtype, Value

__all__ = ["Flags", "Floats", "Index", "Line", "Point", "Space", "Summary", "Written", "is_line"]


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


Floats = npt.NDArray[np.float64]

Index = npt.NDArray[np.int64]

#: Entries of a row that one column with positions takes.
_WIDTH = 4


class Point(NamedTuple):
    """A record's quasi-identifiers, its row, and its code in each column without positions."""

    values: Sequence[Value]
    row: Floats
    codes: list[int]


@dataclass(frozen=True, slots=True)
class Written:
    """How a cluster leaves: for lines and tables what each label covers, the labels by column, and the summed loss."""

    lines: list[Summary]
    tables: list[Summary]
    labels: list[str | None]
    loss: float


class Space:
    """``slots`` open clusters and ``remembered`` released ones over some columns."""

    def __init__(self, columns: Sequence[Column], slots: int, remembered: int) -> None:
        self.columns = len(columns)
        self._line_at = [i for i, column in enumerate(columns) if is_line(column)]
        self._table_at = [i for i, column in enumerate(columns) if not is_line(column)]
        self.lines = [Line(columns[i], remembered) for i in self._line_at]
        self.tables = [_table(columns[i], slots, remembered) for i in self._table_at]
        self._positions = [(i, line.position) for i, line in zip(self._line_at, self.lines, strict=True)]
        self._coded = list(zip(self._table_at, self.tables, strict=True))
        self._growing = [(n, line) for n, line in enumerate(self.lines) if line.grows]
        self.width = _WIDTH * len(self.lines) + 1  # the last entry is for the user to tell free slots by
        self._weights = np.ones(self.width)
        for n, line in enumerate(self.lines):
            self._weights[_WIDTH * n : _WIDTH * n + 2] = line.weight

    @property
    def weights(self) -> Floats:
        """What one unit of each entry loses."""
        for n, line in self._growing:
            self._weights[_WIDTH * n : _WIDTH * n + 2] = line.weight
        return self._weights

    def point(self, values: Sequence[Value]) -> Point:
        """Where a record with these quasi-identifiers lies."""
        row: list[float] = []
        for i, position in self._positions:
            place = position(values[i])
            known = place == place  # noqa: PLR0124 - only NaN differs from itself
            row += (place, -place, not known, known)
        row.append(0.0)
        codes = []
        for i, table in self._coded:
            code = table.codes.get(values[i])  # nearly always known: this is the busiest line of a stream
            codes.append(table.code(values[i]) if code is None else code)
        return Point(values, np.array(row), codes)

    def matrix(self, points: Sequence[Point]) -> tuple[Floats, Floats, Index, Floats]:
        """Some points as rows with what one unit of each entry loses, and as levels with what a difference loses."""
        rows = np.array([point.row for point in points])
        levels = [t.levels[[point.codes[n] for point in points]] for n, t in enumerate(self.tables)]
        traits = np.concatenate([np.empty((len(points), 0), np.int64), *levels], axis=1)
        steps = np.concatenate([np.empty(0), *(table.steps for table in self.tables)])
        return rows, self.weights, traits, steps

    def write(self, points: Sequence[Point]) -> Written:
        """The labels that cover all of some points."""
        labels: list[str | None] = [None] * (len(self._line_at) + len(self._table_at))
        lines = [
            line.summarise([p.values[i] for p in points]) for i, line in zip(self._line_at, self.lines, strict=True)
        ]
        tables = [table.summarise([p.codes[n] for p in points]) for n, table in enumerate(self.tables)]
        loss = 0.0
        for i, line, summary in zip(self._line_at, self.lines, lines, strict=True):
            labels[i] = line.label(summary)
            loss += line.loss(summary)
        for i, table, summary in zip(self._table_at, self.tables, tables, strict=True):
            labels[i] = table.label(summary)
            loss += table.loss(summary)
        return Written(lines, tables, labels, loss)

    def remember(self, place: int, written: Written) -> None:
        """Keep what a released cluster covers."""
        for line, summary in zip(self.lines, written.lines, strict=True):
            line.remember(place, summary)
        for table, summary in zip(self.tables, written.tables, strict=True):
            table.remember(place, summary)

    def may_cover(self, point: Point) -> npt.NDArray[np.bool_]:
        """Which remembered clusters cover a point, as far as positions tell (clipped ones do not tell everything)."""
        flags = [line.may_cover(float(point.row[_WIDTH * n])) for n, line in enumerate(self.lines)]
        flags += [table.covered(code) for table, code in zip(self.tables, point.codes, strict=True)]
        return np.asarray(np.logical_and.reduce(flags))

    def covers(self, written: Written, point: Point) -> bool:
        """Whether the values of the columns with positions are covered, by the values themselves."""
        lines = zip(self._line_at, self.lines, written.lines, strict=True)
        return all(line.covers(summary, point.values[i]) for i, line, summary in lines)


def _table(column: Column, slots: int, remembered: int) -> Bag | Paths:
    return Bag(column, slots, remembered) if column.hierarchy is None else Paths(column, slots, remembered)
