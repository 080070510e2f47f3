"""One quasi-identifier of a stream: how near values are, and what a finished cluster is written as.

Unlike the axes of a data set, nothing is known of values to come. `Line` columns (numbers, dates, ordered categories)
have a position; the others keep a table of what each value would add to the loss of each open cluster: `Bag` for
categories without order, `Paths` for hierarchies. A cluster is summarised from its members' values when it leaves.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.anonymize.axes import prefix_paths, tree_paths
from microflow.anonymize.generalise import exact_label, number_label, set_label, text_range_label
from microflow.errors import MicroflowError
from microflow.schema import ISO_DATE, Column, Dtype, Hierarchy, Value

__all__ = ["Bag", "Line", "Paths", "Summary", "Table", "is_line"]

Floats = npt.NDArray[np.float64]


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

    def __init__(self, column: Column) -> None:
        self._column = column
        self._places = {name: place for place, name in enumerate(column.categories)}
        self._low, self._high = math.inf, -math.inf
        if column.is_numeric and column.low is not None and column.high is not None:
            self._low, self._high = column.low, column.high
        elif column.categories:
            self._low, self._high = 0.0, float(len(column.categories))
        self._open = self._low > self._high
        self.weight = 1.0 if self._open else 1.0 / max(self._high - self._low, 1.0)

    def position(self, value: Value) -> float:
        """Where a value lies; NaN where it is missing."""
        if value is None or value != value:  # noqa: PLR0124 - NaN
            return math.nan
        if self._column.is_numeric:
            place = float(value)
        elif self._column.dtype is Dtype.DATE:
            place = _date_position(str(value), self._column.name)
        else:
            place = float(self._places.get(str(value), len(self._places)))
        if self._open:
            self._widen(place)
            return place
        return min(max(place, self._low), self._high)

    def _widen(self, place: float) -> None:
        self._low, self._high = min(self._low, place), max(self._high, place)
        self.weight = 1.0 / (self._high - self._low or 1.0)

    def _key(self, value: Value) -> Any:
        """What values are ordered by exactly; a position may be clipped."""
        if self._column.is_numeric or self._column.dtype is Dtype.DATE:
            return value
        return self._places.get(str(value), len(self._places)), value

    def summarise(self, values: Sequence[Value]) -> Summary:
        """The lowest and highest value."""
        known = [value for value in values if value is not None and value == value]  # noqa: PLR0124 - NaN
        shape = (min(known, key=self._key), max(known, key=self._key)) if known else None
        return Summary(shape, len(known) < len(values))

    def covers(self, summary: Summary, value: Value) -> bool:
        """Whether the value may be released under this summary's label."""
        if value is None or value != value:  # noqa: PLR0124 - NaN
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
        text = number_label(low, high) if self._column.is_numeric else text_range_label(low, high)
        return set_label([text], missing=summary.missing)


def _date_position(text: str, name: str) -> float:
    if not ISO_DATE.fullmatch(text):
        raise MicroflowError(f"column {name!r} holds a date that is not written YYYY, YYYY-MM or YYYY-MM-DD")
    # 13 months and 32 days, so that a shorter date lies before all longer ones that begin with it, as in text order.
    year, month, day = (int(part or 0) for part in (text[:4], text[5:7], text[8:10]))
    return year + month / 13 + day / 416


class Table:
    """Base of the columns without positions: ``gain[code, slot]`` is what a value would add to a cluster's loss."""

    def __init__(self, slots: int) -> None:
        self.gain = np.zeros((64, slots))
        self._codes: dict[str | None, int] = {}

    def code(self, value: Value) -> int:
        """The value's number; a new value is given the next."""
        text = value if value is None or isinstance(value, str) else str(value).lower()
        found = self._codes.get(text)
        if found is None:
            found = self._codes[text] = len(self._codes)
            if found == len(self.gain):
                self.gain = np.concatenate([self.gain, np.zeros_like(self.gain)])
            self._learn(found, text)
        return found

    def _learn(self, code: int, text: str | None) -> None:
        raise NotImplementedError


class Bag(Table):
    """Categories without order: a cluster is the set of its values."""

    def __init__(self, column: Column, slots: int) -> None:
        super().__init__(slots)
        self._declared = len(column.categories)

    @property
    def _unit(self) -> float:
        return 1.0 / max(1, max(self._declared, len(self._codes)) - 1)

    def _learn(self, code: int, text: str | None) -> None:  # noqa: ARG002 - the base's signature
        self.gain[code] = self._unit

    def start(self, slot: int, code: int) -> None:
        """A cluster of one value."""
        self.gain[:, slot] = self._unit
        self.gain[code, slot] = 0.0

    def extend(self, slot: int, code: int) -> None:
        """The value has joined the cluster."""
        self.gain[code, slot] = 0.0

    def added_by(self, codes: list[int]) -> Floats:
        """What several values would add to the loss of each cluster."""
        return np.asarray(self.gain[codes].sum(axis=0))

    def distance(self, code: int, others: npt.NDArray[np.int64]) -> Floats:
        """The loss of two values together."""
        return np.where(others == code, 0.0, self._unit)

    def summarise(self, values: Sequence[Value]) -> Summary:
        """The set of values."""
        known = frozenset(_text(value) for value in values if value is not None)
        return Summary(known or None, None in values)

    def covers(self, summary: Summary, value: Value) -> bool:
        """Whether the value may be released under this summary's label."""
        return summary.missing if value is None else bool(summary.shape) and _text(value) in summary.shape

    def loss(self, summary: Summary) -> float:
        """The share of the known values that are named."""
        return (len(summary.shape or ()) + summary.missing - 1) * self._unit

    def label(self, summary: Summary) -> str | None:
        """The sorted set."""
        if summary.shape is None:
            return None
        return set_label(map(exact_label, sorted(summary.shape)), missing=summary.missing)


class Paths(Table):
    """A hierarchy: a cluster is the lowest common ancestor of its values.

    A node of a declared tree loses its share of the leaves. Prefixes have no declared leaves: a node loses its share of
    the height.
    """

    _MISSING = ("\0missing",)

    def __init__(self, column: Column, slots: int) -> None:
        super().__init__(slots)
        assert column.hierarchy is not None
        self._hierarchy = column.hierarchy
        self._tree = _tree_losses(column.hierarchy)
        self._height = len({0, *column.hierarchy.prefix})
        self._numbers: dict[tuple[str, ...], int] = {(): 0}
        self._losses: list[float] = [1.0]  # by node number
        self._paths: list[tuple[str, ...]] = []  # by code
        self._levels = np.zeros((len(self.gain), 1), np.int64)  # number of each ancestor, by code
        self._nodes: list[tuple[str, ...]] = [()] * slots

    def _path(self, text: str | None) -> tuple[str, ...]:
        if text is None:
            return self._MISSING
        lengths = self._hierarchy.prefix
        return prefix_paths([text], lengths)[0] if lengths else tree_paths([text], self._hierarchy)[0]

    def _learn(self, code: int, text: str | None) -> None:
        path = self._path(text)
        self._paths.append(path)
        numbers = [self._number(path[:depth], len(path)) for depth in range(1, len(path) + 1)]
        rows, width = max(len(self.gain), len(self._levels)), max(len(path), self._levels.shape[1])
        if (rows, width) != self._levels.shape:
            grown = np.full((rows, width), -1, np.int64)
            grown[: len(self._levels), : self._levels.shape[1]] = self._levels
            self._levels = grown
        self._levels[code] = -1
        self._levels[code, : len(path)] = numbers
        for slot, node in enumerate(self._nodes):
            self.gain[code, slot] = self._loss_of(_common(node, path)) - self._loss_of(node)

    def _number(self, node: tuple[str, ...], full: int) -> int:
        number = self._numbers.setdefault(node, len(self._numbers))
        if number == len(self._losses):
            inner = self._tree.get(node[-1], 1.0) if self._tree else 1 - (len(node) - 1) / self._height
            self._losses.append(0.0 if len(node) == full else inner)
        return number

    def _loss_of(self, node: tuple[str, ...]) -> float:
        return self._losses[self._numbers[node]]

    def start(self, slot: int, code: int) -> None:
        """A cluster of one value."""
        self._place(slot, self._paths[code])

    def extend(self, slot: int, code: int) -> None:
        """The value has joined the cluster."""
        common = _common(self._nodes[slot], self._paths[code])
        if common != self._nodes[slot]:
            self._place(slot, common)

    def _place(self, slot: int, node: tuple[str, ...]) -> None:
        self._nodes[slot] = node
        self.gain[: len(self._paths), slot] = self._together(node, self._levels[: len(self._paths)])

    def _together(self, node: tuple[str, ...], levels: npt.NDArray[np.int64]) -> Floats:
        """What the lowest common ancestor of a node and each of some values loses more than the node."""
        ancestors = [self._numbers[node[:depth]] for depth in range(len(node) + 1)]
        losses = np.asarray([self._losses[number] for number in ancestors])
        shared = (levels[:, : len(node)] == ancestors[1:]).sum(axis=1)
        return np.asarray(losses[shared] - losses[-1])

    def added_by(self, codes: list[int]) -> Floats:
        """What several values would add to the loss of each cluster."""
        return np.asarray(self.gain[codes].max(axis=0))

    def distance(self, code: int, others: npt.NDArray[np.int64]) -> Floats:
        """The loss of two values together."""
        return self._together(self._paths[code], self._levels[others])

    def summarise(self, values: Sequence[Value]) -> Summary:
        """The lowest common ancestor."""
        paths = {self._path(_text(value)) for value in values if value is not None}
        shape = None
        for path in paths:
            shape = path if shape is None else _common(shape, path)
        return Summary(shape, None in values)

    def covers(self, summary: Summary, value: Value) -> bool:
        """Whether the value may be released under this summary's label."""
        if value is None or summary.shape is None:
            return summary.missing and value is None
        return bool(_common(summary.shape, self._path(_text(value))) == summary.shape)

    def loss(self, summary: Summary) -> float:
        """The ancestor's loss; 1 where missing and known values are mixed."""
        if summary.shape is None:
            return 0.0
        return 1.0 if summary.missing else self._loss_of(summary.shape)

    def label(self, summary: Summary) -> str | None:
        """The ancestor."""
        return set_label([summary.shape[-1]], missing=summary.missing) if summary.shape else None


def _text(value: Value) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    length = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        length += 1
    return one[:length]


def _tree_losses(hierarchy: Hierarchy) -> dict[str, float]:
    """Every inner node's share of the leaves, by label."""
    inner = set(hierarchy.parents.values())
    below: dict[str, int] = {}
    leaves = [node for node in hierarchy.parents if node not in inner]
    for leaf in leaves:
        for node in tree_paths([leaf], hierarchy)[0][1:-1]:
            below[node] = below.get(node, 0) + 1
    return {node: (count - 1) / max(1, len(leaves) - 1) for node, count in below.items()}
