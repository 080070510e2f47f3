"""The axes of a stream: where a record lies, what it adds to a cluster's loss, how a cluster is written.

They are of the three kinds of `microflow.anonymize.axes`, but nothing is known of values to come:

- `StreamScale`: numbers, dates, ordered categories have positions. One takes four entries of a row: the position, its
  negation, whether the value is missing, and whether it is not. A cluster's row is the highest of its members' entries,
  so that whatever a record adds to a cluster's loss is the positive part of its own row minus the cluster's, weighted;
  NaN (no position) adds nothing by itself, and mixing missing with known values adds 1. What a label covers is decided
  by the values themselves.
- `StreamBag` and `StreamLadder`: a table of what each value adds to each open cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np

from microflow.anonymize.axes import Flags, Floats, Index, path_of
from microflow.anonymize.generalise import number_label, set_label, text_of, text_order, text_range_label, values_label
from microflow.errors import MicroflowError
from microflow.schema import ISO_DATE, Column, Dtype, Hierarchy, Value

__all__ = ["Point", "Space", "Written", "compiled", "note_added"]

#: Entries of a row that one column with positions takes.
_WIDTH = 4
#: Values that a table has room for at first.
_ROOM = 64
compiled = numba.njit(cache=True, nogil=True)


class Point(NamedTuple):
    """A record's quasi-identifiers, its row, and its code in each column without positions."""

    values: Sequence[Value]
    row: Floats
    codes: list[int]


class Covered(NamedTuple):
    """Values that a label covers: lowest and highest of a scale, the node of a ladder, or the codes of a bag."""

    shape: Any
    missing: bool
    label: str | None = None
    loss: float = 0.0


class Written(NamedTuple):
    """Release of a cluster: the values of each label, the labels by column, and the summed loss."""

    covered: list[Covered]
    labels: list[str | None]
    loss: float


class Space:
    """``slots`` open clusters and the latest ``remembered`` released ones over some columns."""

    def __init__(self, columns: Sequence[Column], slots: int, remembered: int) -> None:
        self.columns = len(columns)
        self._scales: list[StreamScale] = []
        self.tables: list[StreamBag | StreamLadder] = []
        for at, column in enumerate(columns):
            if column.is_numeric or column.dtype is Dtype.DATE or (column.ordered and column.categories):
                self._scales.append(StreamScale(at, len(self._scales), column))
            elif column.hierarchy is None:
                self.tables.append(StreamBag(at, len(self.tables), len(column.categories), slots, remembered))
            else:
                self.tables.append(StreamLadder(at, len(self.tables), column.hierarchy, slots, remembered))
        self._axes: list[StreamScale | StreamBag | StreamLadder] = [*self._scales, *self.tables]
        self._growing = [scale for scale in self._scales if scale.grows]
        self.width = _WIDTH * len(self._scales) + 1  # the last entry tells free places by
        self._weights = np.ones(self.width)
        for scale in self._scales:
            self._weights[scale.entry : scale.entry + 2] = scale.weight
        self._written: list[Written] = []
        self._next = 0
        self._rows, self._losses = np.full((remembered, self.width), -np.inf), np.full(remembered, np.inf)

    @property
    def weights(self) -> Floats:
        """Loss of one unit of each entry."""
        for scale in self._growing:
            self._weights[scale.entry : scale.entry + 2] = scale.weight
        return self._weights

    def point(self, values: Sequence[Value]) -> Point:
        """Position of a record with these quasi-identifiers."""
        row: list[float] = []
        for scale in self._scales:
            place = scale.position(values[scale.at])
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
        covered = [axis.write(points) for axis in self._axes]
        labels: list[str | None] = [None] * self.columns
        for axis, found in zip(self._axes, covered, strict=True):
            labels[axis.at] = found.label
        return Written(covered, labels, sum((found.loss for found in covered), 0.0))

    def remember(self, written: Written) -> None:
        """Keep a released cluster, in place of the oldest where there is no room."""
        place = self._next
        self._next = (place + 1) % len(self._losses)
        self._written[place : place + 1] = [written]
        row: list[float] = []
        for scale, covered in zip(self._scales, written.covered, strict=False):
            low, high = map(scale.position, covered.shape or (None, None))
            row += (high, -low, covered.missing, covered.shape is not None)
        self._losses[place], self._rows[place] = written.loss, [*row, 0.0]
        for table, covered in zip(self.tables, written.covered[len(self._scales) :], strict=True):
            table.remember(place, covered)

    def covering(self, point: Point) -> Written | None:
        """The remembered cluster of least loss that covers a point, or ``None``."""
        may = ~(point.row > self._rows).any(axis=1)  # clipped positions do not tell everything
        for table in self.tables:
            may &= table.may_cover(point.codes[table.place])
        losses = np.where(may, self._losses, np.inf)
        for place in map(int, np.argsort(losses, kind="stable")):
            if losses[place] == np.inf:
                return None
            pairs = zip(self._scales, self._written[place].covered, strict=False)
            if all(scale.covers(covered, point.values[scale.at]) for scale, covered in pairs):
                return self._written[place]
        return None


class StreamScale:
    """Column ``at``, the ``nth`` with positions; ``weight`` is one over the length of the domain, as far as known."""

    def __init__(self, at: int, nth: int, column: Column) -> None:
        self.at, self.entry = at, _WIDTH * nth
        self._name, self._is_date = column.name, column.dtype is Dtype.DATE
        #: What values are ordered by exactly, where not by themselves; a position may be clipped.
        self._order: Any = None if column.is_numeric or self._is_date else text_order(column)
        self._write: Any = number_label if column.is_numeric else text_range_label
        self._low, self._high = column.bounds or (math.inf, -math.inf)
        if column.categories and column.bounds is None:
            self._low, self._high = 0.0, float(len(column.categories))
        self.grows = self._low > self._high
        self.weight = 1.0 if self.grows else 1.0 / (self._high - self._low or 1.0)

    def position(self, value: Any) -> float:
        """Position of a value; NaN if it is missing, the nearest bound if it is outside the declared ones."""
        if _is_missing(value):
            return math.nan
        if self._order is not None:
            place = float(self._order(value)[0])
        else:
            place = _date_position(str(value), self._name) if self._is_date else float(value)
        if self.grows:
            self._low, self._high = min(self._low, place), max(self._high, place)
            self.weight = 1.0 / (self._high - self._low or 1.0)
        return self._low if place < self._low else min(place, self._high)

    def write(self, points: Sequence[Point]) -> Covered:
        """A range; where missing and known values are mixed it loses everything."""
        known: list[Any] = [value for point in points if not _is_missing(value := point.values[self.at])]
        if not known:
            return Covered(None, missing=True)
        low, high, missing = min(known, key=self._order), max(known, key=self._order), len(known) < len(points)
        loss = 1.0 if missing else (self.position(high) - self.position(low)) * self.weight
        return Covered((low, high), missing, set_label([self._write(low, high)], missing=missing), loss)

    def covers(self, covered: Covered, value: Any) -> bool:
        """True if the value may be released under a label."""
        if _is_missing(value) or covered.shape is None:
            return _is_missing(value) and covered.missing
        low, high = covered.shape
        if self._order is not None:
            low, value, high = map(self._order, (low, value, high))
        return bool(low <= value <= high)


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
    values to each, `write` a label, and `remember` which values it covers.
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
        text = None if value is None else text_of(value)
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


class StreamBag(_Coded):
    """Categories without order: a cluster is the set of its values and loses the share of the domain that it names."""

    def __init__(self, at: int, place: int, declared: int, slots: int, remembered: int) -> None:
        super().__init__(at, place, slots, np.ones(1))
        self._declared = declared
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

    def write(self, points: Sequence[Point]) -> Covered:
        codes = self._members(points)
        label = values_label((self._texts[code] for code in codes if code), missing=0 in codes)
        return Covered(list(codes), 0 in codes, label, float((len(codes) - 1) * self.steps[0]))

    def remember(self, place: int, covered: Covered) -> None:
        self._covered[:, place] = False
        self._covered[covered.shape, place] = True

    def may_cover(self, code: int) -> Flags:
        return np.asarray(self._covered[code])


class StreamLadder(_Coded):
    """A hierarchy: a cluster is the lowest common ancestor of its values and loses its share of the height."""

    def __init__(self, at: int, place: int, hierarchy: Hierarchy, slots: int, remembered: int) -> None:
        self._hierarchy = hierarchy
        longest = ["x" * max(hierarchy.prefix)] if hierarchy.prefix else hierarchy.parents
        height = max((len(path_of(name, hierarchy)) for name in longest), default=2)
        free = 1 if hierarchy.prefix else 2  # nothing is lost by the star, nor by the root that a tree's values share
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
        names = path_of(self._texts[code], self._hierarchy) if code else ("\0missing",)
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in names]
        self._names.extend(list(self._numbers)[len(self._names) :])
        # A short path is its own continuation: below its end it shares nothing with others.
        self.levels[code] = numbers + [numbers[-1]] * (self.levels.shape[1] - len(numbers))
        for slot, (node, length) in enumerate(zip(self._nodes, self._lengths, strict=True)):
            _note_gain(node, int(length), self.levels, code, code + 1, self.steps, self.gain, slot)

    def start(self, slot: int, code: int) -> None:
        self._nodes[slot] = self.levels[code]
        self._move(slot, self.levels.shape[1])

    def extend(self, slot: int, code: int) -> None:
        common = _common_length(self._nodes[slot], self._lengths[slot], self.levels[code])
        if common < self._lengths[slot]:
            self._move(slot, common)

    def _move(self, slot: int, length: int) -> None:
        self._lengths[slot] = length
        _note_gain(self._nodes[slot], length, self.levels, 0, len(self.codes), self.steps, self.gain, slot)

    def added_by(self, codes: list[int]) -> Floats:
        return np.asarray(self.gain[codes].max(axis=0))  # the one that adds most: all else lies below

    def write(self, points: Sequence[Point]) -> Covered:
        codes = self._members(points)
        known = list(codes - {0})
        if not known:
            return Covered(None, missing=True)
        together = self.levels[known]
        length = int(np.append((together != together[0]).any(axis=0), True).argmax())  # of the path they share
        node, missing = int(together[0, length - 1]), 0 in codes
        loss = 1.0 if missing else float(self.steps[length:].sum())
        return Covered(node, missing, set_label([self._names[node]], missing=missing), loss)

    def remember(self, place: int, covered: Covered) -> None:
        self._top_of[place] = -1 if covered.shape is None else covered.shape
        self._missing_in[place] = covered.missing

    def may_cover(self, code: int) -> Flags:
        return self._missing_in if code == 0 else np.asarray((self.levels[code] == self._top_of[:, None]).any(axis=1))


def _doubled(array: Any) -> Any:
    """The array with as much room again."""
    return np.concatenate([array, np.zeros_like(array)])


@compiled
def note_added(
    row: Floats, rows: Floats, weights: Floats, gains: tuple[Floats, ...], codes: tuple[int, ...], equal: float,
    added: Floats, near: Index,
) -> tuple[int, float]:  # fmt: skip
    """Note in ``near`` the slots to which a point adds least; return their number and the least addition."""
    slots, width = rows.shape
    least = np.inf
    for s in range(slots):
        total = 0.0
        for j in range(width):
            beyond = row[j] - rows[s, j]
            if beyond > 0.0:  # never where one of them is not a number
                total += beyond * weights[j]
        for t in range(len(gains)):
            total += gains[t][codes[t], s]
        added[s] = total
        least = min(least, total)
    count = 0
    for s in range(slots):
        if added[s] <= least + equal:
            near[count] = s
            count += 1
    return count, least


@compiled
def _common_length(node: Index, length: int, path: Index) -> int:
    """Number of levels, from the root down, that two paths share."""
    for level in range(length):
        if node[level] != path[level]:
            return level
    return length


@compiled
def _note_gain(
    node: Index, length: int, levels: Index, first: int, last: int, steps: Floats, gain: Floats, slot: int
) -> None:
    """Note the loss that some values would add to a slot's node: the steps of its levels in which they differ."""
    for code in range(first, last):
        total = 0.0
        for level in range(length):
            if levels[code, level] != node[level]:
                total += steps[level]
        gain[code, slot] = total
