"""Geometry of a stream's quasi-identifiers: position of a record, added loss, labels of a cluster.

Unlike the axes of a data set (`microflow.anonymize.axes`), nothing is known of values to come.

- `Line`: numbers, dates, ordered categories have positions. One takes four entries of a row: the position, its
  negation, whether the value is missing, and whether it is not. A cluster's row is the highest of its members' entries,
  so that whatever a record adds to a cluster's loss is the positive part of its own row minus the cluster's, weighted;
  NaN (no position) adds nothing by itself, and mixing missing with known values adds 1. Positions only say which
  records are near each other; what a label covers is decided by the values themselves.
- `Bag` (categories without order) and `Paths` (hierarchies): a table of what each value adds to each open cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from microflow.anonymize.axes import Flags, Floats, Index, prefix_paths, tree_paths
from microflow.anonymize.castle_kernels import common_length, note_gain
from microflow.anonymize.generalise import exact_label, number_label, set_label, text_range_label
from microflow.errors import MicroflowError
from microflow.schema import ISO_DATE, Column, Dtype, Hierarchy, Value

__all__ = ["Point", "Space", "Written"]

#: Entries of a row that one column with positions takes.
_WIDTH = 4
#: Values that a table has room for at first.
_ROOM = 64


class Point(NamedTuple):
    """A record's quasi-identifiers, its row, and its code in each column without positions."""

    values: Sequence[Value]
    row: Floats
    codes: list[int]


@dataclass(frozen=True, slots=True)
class Summary:
    """Range of values that one label covers; ``shape`` depends on the kind of column, ``None`` if all are missing."""

    shape: Any
    missing: bool


@dataclass(frozen=True, slots=True)
class Written:
    """Release of a cluster: the range of each label, the labels by column, and the summed loss."""

    summaries: list[Summary]
    labels: list[str | None]
    loss: float


class Space:
    """``slots`` open clusters and ``remembered`` released ones over some columns."""

    def __init__(self, columns: Sequence[Column], slots: int, remembered: int) -> None:
        self.columns = len(columns)
        self.lines: list[Line] = []
        self.tables: list[Table] = []
        for at, column in enumerate(columns):
            if column.is_numeric or column.dtype is Dtype.DATE or (column.ordered and column.categories):
                self.lines.append(Line(at, len(self.lines), column, remembered))
            else:
                kind = Bag if column.hierarchy is None else Paths
                self.tables.append(kind(at, len(self.tables), column, slots, remembered))
        self._axes: list[Line | Table] = [*self.lines, *self.tables]
        self._growing = [line for line in self.lines if line.grows]
        self.width = _WIDTH * len(self.lines) + 1  # the last entry is for the user to tell free slots by
        self._weights = np.ones(self.width)
        for line in self.lines:
            self._weights[line.entry : line.entry + 2] = line.weight

    @property
    def weights(self) -> Floats:
        """Loss of one unit of each entry."""
        for line in self._growing:
            self._weights[line.entry : line.entry + 2] = line.weight
        return self._weights

    def point(self, values: Sequence[Value]) -> Point:
        """Position of a record with these quasi-identifiers."""
        row: list[float] = []
        for line in self.lines:
            place = line.position(values[line.at])
            known = place == place  # noqa: PLR0124 - only NaN differs from itself
            row += (place, -place, not known, known)
        row.append(0.0)
        codes = []
        for table in self.tables:
            code = table.codes.get(values[table.at])  # nearly always known: this is the busiest line of a stream
            codes.append(table.code(values[table.at]) if code is None else code)
        return Point(values, np.array(row), codes)

    def matrix(self, points: Sequence[Point]) -> tuple[Floats, Floats, Index, Floats]:
        """Some points as rows with what one unit of each entry loses, and as levels with what a difference loses."""
        rows = np.array([point.row for point in points])
        levels = [table.levels[[point.codes[table.place] for point in points]] for table in self.tables]
        traits = np.concatenate([np.empty((len(points), 0), np.int64), *levels], axis=1)
        return rows, self.weights, traits, np.concatenate([np.empty(0), *(table.steps for table in self.tables)])

    def write(self, points: Sequence[Point]) -> Written:
        """The labels that cover all of some points."""
        labels: list[str | None] = [None] * self.columns
        summaries = [axis.summarise(points) for axis in self._axes]
        for axis, summary in zip(self._axes, summaries, strict=True):
            labels[axis.at] = axis.label(summary)
        losses = [axis.loss(summary) for axis, summary in zip(self._axes, summaries, strict=True)]
        return Written(summaries, labels, sum(losses, 0.0))

    def remember(self, place: int, written: Written) -> None:
        """Keep what a released cluster covers."""
        for axis, summary in zip(self._axes, written.summaries, strict=True):
            axis.remember(place, summary)

    def may_cover(self, point: Point) -> Flags:
        """Flags of the remembered clusters that cover a point, as far as their (clipped) positions show."""
        return np.asarray(np.logical_and.reduce([axis.may_cover(point) for axis in self._axes]))

    def covers(self, written: Written, point: Point) -> bool:
        """True if the ranges cover the values of the columns with positions, compared by the values themselves."""
        pairs = zip(self.lines, written.summaries, strict=False)
        return all(line.covers(summary, point.values[line.at]) for line, summary in pairs)


class Line:
    """Axis of column ``at``, whose values have positions: the ``nth`` such.

    ``weight`` is one over the length of the domain: declared, or what was met so far.
    """

    def __init__(self, at: int, nth: int, column: Column, remembered: int) -> None:
        self.at, self.entry = at, _WIDTH * nth
        self._low_of, self._high_of = np.full((2, remembered), np.nan)
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
        """Position of a value; NaN if it is missing, the nearest bound if it is outside the declared ones."""
        if value is None or value != value:  # noqa: PLR0124 - only NaN differs from itself
            return math.nan
        if self._numeric:
            place = float(value)
        else:
            place = _date_position(str(value), self._name) if self._dated else float(self._key(value)[0])
        if self.grows:
            self._low, self._high = min(self._low, place), max(self._high, place)
            self.weight = 1.0 / (self._high - self._low or 1.0)
        return self._low if place < self._low else min(place, self._high)

    def _key(self, value: Value) -> Any:
        """What values are ordered by exactly; a position may be clipped."""
        if self._numeric or self._dated:
            return value
        return self._places.get(str(value), len(self._places)), value

    def summarise(self, points: Sequence[Point]) -> Summary:
        """Lowest and highest value of a cluster."""
        known: list[Any] = [value for point in points if not _is_missing(value := point.values[self.at])]
        key = None if self._numeric or self._dated else self._key
        shape = (min(known, key=key), max(known, key=key)) if known else None
        return Summary(shape, len(known) < len(points))

    def loss(self, summary: Summary) -> float:
        """Loss of a range: its share of the domain's length; 1 if missing and known values are mixed."""
        if summary.shape is None:
            return 0.0
        low, high = summary.shape
        return 1.0 if summary.missing else (self.position(high) - self.position(low)) * self.weight

    def label(self, summary: Summary) -> str | None:
        """Label of a range."""
        if summary.shape is None:
            return None
        return set_label(
            [(number_label if self._numeric else text_range_label)(*summary.shape)], missing=summary.missing
        )

    def remember(self, place: int, summary: Summary) -> None:
        """Keep what a released label covers."""
        self._low_of[place], self._high_of[place] = map(self.position, summary.shape or (None, None))
        self._missing_in[place] = summary.missing

    def may_cover(self, point: Point) -> Flags:
        """Flags of the remembered labels that cover a point, as far as positions show."""
        position = point.row[self.entry]
        if math.isnan(position):
            return self._missing_in
        return np.asarray((self._low_of <= position) & (position <= self._high_of))

    def covers(self, summary: Summary, value: Value) -> bool:
        """True if the value may be released under this summary's label."""
        if _is_missing(value):
            return summary.missing
        if summary.shape is None:
            return False
        low, high = summary.shape
        return bool(self._key(low) <= self._key(value) <= self._key(high))


def _is_missing(value: Value) -> bool:
    return value is None or value != value  # noqa: PLR0124 - only NaN differs from itself


def _date_position(text: str, name: str) -> float:
    if not ISO_DATE.fullmatch(text):
        raise MicroflowError(f"column {name!r} holds a date that is not written YYYY, YYYY-MM or YYYY-MM-DD")
    # 13 months and 32 days, so that a shorter date lies before all longer ones that begin with it, as in text order.
    year, month, day = (int(part or 0) for part in (text[:4], text[5:7], text[8:10]))
    return year + month / 13 + day / 416


class _Coded:
    """Column ``at``, whose values have no positions: the ``place``-th such. Values are numbered, 0 is the missing one.

    ``gain[code, slot]`` is what a value would add to the loss of a slot's cluster. ``levels[code]`` describes a value
    so that two values together lose the ``steps`` of the levels in which they differ.

    Both kinds `start` a slot's cluster with one value and `extend` it by another, tell the loss `added_by` several
    values to each, and `summarise` points as a `Line` does.
    """

    def __init__(self, at: int, place: int, slots: int, steps: Floats) -> None:
        self.at, self.place = at, place
        self.codes: dict[Value, int] = {None: 0}
        self._texts = [""]
        self.steps = steps
        self.gain = np.zeros((_ROOM, slots))
        self.levels = np.zeros((_ROOM, len(steps)), np.int64)

    def code(self, value: Value) -> int:
        """The value's number; a new value is given the next."""
        text = value if value is None or isinstance(value, str) else str(value).lower()
        code = self.codes.get(text)
        if code is None:
            code = self.codes[text] = len(self.codes)
            self._texts.append(str(text))
            if code == len(self.gain):
                self.gain, self.levels = _doubled(self.gain), _doubled(self.levels)
            self._learn(code)
        return code

    def _members(self, points: Sequence[Point]) -> set[int]:
        return {point.codes[self.place] for point in points}

    def _learn(self, code: int) -> None:
        """Fill the arrays for a new value."""
        raise NotImplementedError


class Bag(_Coded):
    """Categories without order: a cluster is the set of its values and loses the share of the domain that it names."""

    def __init__(self, at: int, place: int, column: Column, slots: int, remembered: int) -> None:
        super().__init__(at, place, slots, np.ones(1))
        self._declared = len(column.categories)
        self._covered = np.zeros((_ROOM, remembered), np.bool_)
        self._learn(0)

    def _learn(self, code: int) -> None:
        self.steps[0] = 1.0 / max(1, self._declared - 1, len(self.codes) - 2)
        self.gain[code] = self.steps[0]
        self.levels[code] = code
        if code == len(self._covered):
            self._covered = _doubled(self._covered)

    def start(self, slot: int, code: int) -> None:
        self.gain[:, slot] = self.steps[0]
        self.gain[code, slot] = 0.0

    def extend(self, slot: int, code: int) -> None:
        self.gain[code, slot] = 0.0

    def added_by(self, codes: list[int]) -> Floats:
        return np.asarray(self.gain[codes].sum(axis=0))

    def summarise(self, points: Sequence[Point]) -> Summary:
        codes = self._members(points)
        return Summary(codes - {0} or None, 0 in codes)

    def loss(self, summary: Summary) -> float:
        return float((len(summary.shape or ()) + summary.missing - 1) * self.steps[0])

    def label(self, summary: Summary) -> str | None:
        names = sorted(self._texts[code] for code in summary.shape or ())
        return set_label(map(exact_label, names), missing=summary.missing) if names else None

    def remember(self, place: int, summary: Summary) -> None:
        self._covered[:, place] = False
        self._covered[[*(summary.shape or ()), *([0] * summary.missing)], place] = True

    def may_cover(self, point: Point) -> Flags:
        return np.asarray(self._covered[point.codes[self.place]])


class Paths(_Coded):
    """A hierarchy: a cluster is the lowest common ancestor of its values and loses its share of the height."""

    def __init__(self, at: int, place: int, column: Column, slots: int, remembered: int) -> None:
        assert column.hierarchy is not None
        self._hierarchy = column.hierarchy
        free, height = _levels(column.hierarchy)
        super().__init__(at, place, slots, np.where(np.arange(height) < free, 0.0, 1.0 / max(1, height - free)))
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        #: The path to each slot's node, and how long it is.
        self._nodes = np.zeros((slots, height), np.int64)
        self._lengths = np.zeros(slots, np.int64)
        self._top_of = np.full(remembered, -1, np.int64)
        self._missing_in = np.zeros(remembered, np.bool_)
        self._learn(0)
        self.extend(0, 0)  # of no level: compiled now, and not while a record waits

    def _learn(self, code: int) -> None:
        names: tuple[str, ...] = ("\0missing",)
        if code:
            text, lengths = self._texts[code], self._hierarchy.prefix
            names = prefix_paths([text], lengths)[0] if lengths else tree_paths([text], self._hierarchy)[0]
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in names]
        self._names.extend(list(self._numbers)[len(self._names) :])
        # A short path is its own continuation: below its end it shares nothing with others.
        self.levels[code] = numbers + [numbers[-1]] * (self.levels.shape[1] - len(numbers))
        for slot, (node, length) in enumerate(zip(self._nodes, self._lengths, strict=True)):
            note_gain(node, length, self.levels, code, code + 1, self.steps, self.gain, slot)

    def start(self, slot: int, code: int) -> None:
        self._nodes[slot] = self.levels[code]
        self._move(slot, self.levels.shape[1])

    def extend(self, slot: int, code: int) -> None:
        common = common_length(self._nodes[slot], self._lengths[slot], self.levels[code])
        if common < self._lengths[slot]:
            self._move(slot, common)

    def _move(self, slot: int, length: int) -> None:
        self._lengths[slot] = length
        note_gain(self._nodes[slot], length, self.levels, 0, len(self.codes), self.steps, self.gain, slot)

    def added_by(self, codes: list[int]) -> Floats:
        return np.asarray(self.gain[codes].max(axis=0))  # the one that adds most: all else lies below

    def summarise(self, points: Sequence[Point]) -> Summary:
        codes = self._members(points)
        known = list(codes - {0})
        if not known:
            return Summary(None, missing=True)
        together = self.levels[known]
        parted = np.append((together != together[0]).any(axis=0), True)
        return Summary(tuple(together[0, : int(parted.argmax())].tolist()), 0 in codes)

    def loss(self, summary: Summary) -> float:
        if summary.shape is None:
            return 0.0
        return 1.0 if summary.missing else float(self.steps[len(summary.shape) :].sum())

    def label(self, summary: Summary) -> str | None:
        return set_label([self._names[summary.shape[-1]]], missing=summary.missing) if summary.shape else None

    def remember(self, place: int, summary: Summary) -> None:
        self._top_of[place] = summary.shape[-1] if summary.shape else -1
        self._missing_in[place] = summary.missing

    def may_cover(self, point: Point) -> Flags:
        code = point.codes[self.place]
        return self._missing_in if code == 0 else np.asarray((self.levels[code] == self._top_of[:, None]).any(axis=1))


Table = Bag | Paths


def _levels(hierarchy: Hierarchy) -> tuple[int, int]:
    """How many levels lose nothing (the star, and in a tree the root that all values share), and how many there are."""
    if hierarchy.prefix:
        return 1, len({0, *hierarchy.prefix} - {max(hierarchy.prefix)}) + 1
    return 2, max((len(path) for path in tree_paths(list(hierarchy.parents), hierarchy)), default=2)


def _doubled(array: Any) -> Any:
    """The array with as much room again."""
    return np.concatenate([array, np.zeros_like(array)])
