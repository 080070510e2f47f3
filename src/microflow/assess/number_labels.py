"""Labels of numbers: intervals on the column's range, as a part of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from microflow.anonymize.generalise import Label
from microflow.assess.labels import Floats, Index, distinct, label_of
from microflow.schema import Column, Value

__all__ = ["NumberLabels"]

_BINS = 20


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
    return _hull(label_of(value, column))


def _hull(label: Label) -> tuple[tuple[float, float], bool]:
    if label.parts:
        hulls = [_hull(part) for part in label.parts]
        ends = np.array([ends for ends, _ in hulls])
        told = ends[~np.isnan(ends[:, 0])]
        around = (float(told[:, 0].min()), float(told[:, 1].max())) if len(told) else (np.nan, np.nan)
        return around, any(missing for _, missing in hulls)
    if isinstance(label.low, int | float) and isinstance(label.high, int | float):
        return (float(label.low), float(label.high)), False
    if label.prefix == "":
        return (-np.inf, np.inf), False
    if label.exact is None:
        return (np.nan, np.nan), label.missing
    try:
        return (float(label.exact), float(label.exact)), False
    except ValueError:
        return (np.nan, np.nan), False
