"""The quasi-identifiers of a stream together: where a record lies, and how a finished cluster is written.

A column with positions takes four entries of a row: the position, its negation, whether the value is missing, and
whether it is not. A cluster's row is the highest of its members' entries, so that whatever a record adds to a cluster's
loss is the positive part of its own row minus the cluster's, weighted; NaN (no position) adds nothing by itself, and
mixing missing with known values adds 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from microflow.anonymize.stream_lines import Line, Summary, is_line
from microflow.anonymize.stream_tables import Bag, Paths
from microflow.schema import Column, Value

__all__ = ["Floats", "Index", "Point", "Space", "Written"]

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
