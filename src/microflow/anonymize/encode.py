"""Quasi-identifiers as small integers: one coder per column, which learns the values it meets.

Code 0 is the missing value, codes 1 … size-1 are values or cells, and ``size`` itself stands for a value that was never
learned. A numeric column with public bounds is a grid: one cell per integer where at most `CELLS` fit, else cells of a
round width, and one cell each for everything below and above. Every other column is a dictionary that grows.

`Cube` counts distinct tuples of codes: in a dense table while the domain is small, as sorted keys when it is huge. A
tuple becomes one key: its codes side by side, each in as many bits as its column needs, in a 64-bit integer, or in
bytes when they need more. Memory grows with the tuples that occur (dense: with the domain, at most `DENSE_BITS`), never
with the rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.anonymize.axes import Axis, Bag, Codes, Floats, Index, Ladder, Scale, prefix_paths, tree_paths
from microflow.anonymize.generalise import number_label, text_range_label
from microflow.schema import Column, Dtype, Hierarchy, Value

__all__ = [
    "CELLS",
    "CellIndex",
    "Cells",
    "Coder",
    "Codes",
    "Cube",
    "DictionaryCoder",
    "GridCoder",
    "Packing",
    "coder_for",
]


#: The most cells a numeric column is cut into between its public bounds.
CELLS = 1_000
#: Up to here Arrow's hash of the whole dictionary is rebuilt faster than Python looks up a microflow's values.
_SMALL = 4_096


def coder_for(column: Column) -> Coder:
    """The coder that fits a described column."""
    is_grid = column.bounds is not None and column.hierarchy is None
    return GridCoder(column) if is_grid else DictionaryCoder(column)


class GridCoder:
    """Coder of numbers with public bounds: 1 for below, then the cells upward, then one code for above."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._whole = column.dtype is Dtype.INTEGER
        self._step, self._edges = _grid(column)
        self.size = len(self._edges) + 2

    def learn(self, values: pa.Array) -> Codes:
        return self.find(values)

    def find(self, values: pa.Array) -> Codes:
        missing = values.is_null().to_numpy(zero_copy_only=False) if values.null_count else None
        numbers = (values.fill_null(0) if values.null_count else values).to_numpy()
        if not self._whole:
            absent = np.isnan(numbers)
            missing = absent if missing is None else missing | absent
        codes = self._cells(numbers)
        if missing is not None:
            codes[missing] = 0
        return codes

    def _cells(self, numbers: Index | Floats) -> Codes:
        if not self._whole:
            return (np.searchsorted(self._edges, numbers, side="right") + 1).astype(np.int32)
        first, last, step = int(self._edges[0]), int(self._edges[-1]), int(self._step)
        # Clipped before the subtraction, so that no 64-bit value can overflow it.
        inside = np.minimum(np.maximum(numbers, first - step), last)
        return np.asarray((inside - (first - 2 * step)) // step, np.int32)

    def examples(self, codes: Codes) -> pa.Array:
        ends = np.concatenate([[0, self._edges[0] - self._step], self._edges])
        return pa.array(ends[codes], mask=codes == 0).cast(self._column.dtype.arrow)

    def axis(self, weights: Index) -> tuple[Axis, Codes]:
        present = np.flatnonzero(weights[1:]) + 1
        top = self._edges - 1 if self._whole else self._edges
        lower = np.concatenate([[np.nan, -np.inf], self._edges])[present]
        upper = np.concatenate([[np.nan], top, [np.inf]])[present]
        first, last = self._edges[0], self._edges[-1]
        scale = Scale(np.maximum(lower, first), np.minimum(upper, last), _NumberWriter(lower.tolist(), upper.tolist()))
        return scale, _ranks([0, *present.tolist()], self.size)


def _grid(column: Column) -> tuple[float, Floats]:
    """Width and edges of the cells; the last edge lies above the upper bound."""
    assert column.bounds is not None
    low, high = column.bounds
    if column.dtype is Dtype.INTEGER:
        low, high = math.ceil(low), math.floor(high)
        step = 1.0 if high - low < CELLS else max(1.0, _round_up((high - low) / CELLS))
    else:
        step = _round_up((high - low) / CELLS) if high > low else 1.0
    count = math.floor((high - low) / step) + 2
    edges: Floats = low + step * np.arange(count, dtype=np.float64)
    if column.dtype is Dtype.INTEGER:
        return step, edges  # whole numbers are exact; rounding would multiply them beyond 2**53
    return step, np.round(edges, max(0, 1 - math.floor(math.log10(step))))


def _round_up(width: float) -> float:
    """The next 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(float(f"{factor * power:.12g}") for factor in (1, 2, 5, 10) if factor * power >= width * (1 - 1e-9))


class DictionaryCoder:
    """Coder of any other column: values are numbered in the order of their arrival, declared categories first."""

    def __init__(self, column: Column) -> None:
        self._column = column
        self._type = pa.string() if column.dtype is Dtype.BOOLEAN else column.dtype.arrow
        self._codes: dict[str | float | None, int] = {None: 0}
        self._paths: dict[int, tuple[str, ...]] = {}
        self._extend(column.categories if not column.is_numeric else ())

    @property
    def size(self) -> int:
        """Codes given so far, the missing value's included."""
        return len(self._codes)

    def _extend(self, values: tuple[str, ...] | list[str | float]) -> None:
        for value in values:
            self._codes.setdefault(value, len(self._codes))
        self._known = pa.array(self._codes, self._type)

    def learn(self, values: pa.Array) -> Codes:
        """The codes of some values; new ones are given the next codes."""
        codes = self.find(values)
        unknown = codes == self.size
        if not unknown.any():
            return codes
        self._extend(self._plain(values).filter(pa.array(unknown)).unique().to_pylist())
        return self.find(values)

    def find(self, values: pa.Array) -> Codes:
        """The codes of some values; ``size`` where a value is unknown."""
        plain = self._plain(values)
        if self.size <= _SMALL:
            found = pc.index_in(plain, value_set=self._known)
            return _filled(found, self.size)
        encoded = plain.dictionary_encode()
        unknown = self.size
        codes = [self._codes.get(value, unknown) for value in encoded.dictionary.to_pylist()]
        return np.asarray([*codes, 0], np.int32)[_filled(encoded.indices, -1)]

    def _plain(self, values: pa.Array) -> pa.Array:
        """Text for booleans, and a missing value for what is not a number."""
        if self._column.dtype is Dtype.BOOLEAN:
            return values.cast(pa.string())
        if self._column.dtype is Dtype.NUMBER:
            return pc.if_else(pc.is_nan(values), pa.scalar(None, pa.float64()), values)
        return values

    def examples(self, codes: Codes) -> pa.Array:
        """Example value of each code, as the coder of another worker would meet it."""
        return self._known.take(pa.array(codes)).cast(self._column.dtype.arrow)

    def axis(self, weights: Index) -> tuple[Axis, Codes]:
        """The axis of all codes with a weight (rows by code), and the rank of each code (-1 for one without)."""
        known = list(self._codes)
        present = [int(code) for code in np.flatnonzero(weights[1:]) + 1]
        if self._column.hierarchy is None and self._column.is_numeric:
            present.sort(key=known.__getitem__)  # type: ignore[arg-type]  # only numbers are known
            numbers: list[int | float] = [known[code] for code in present]  # type: ignore[misc]
            # Subtracted before they become floats, which tell no integers above 2^53 apart.
            places = np.asarray([number - numbers[0] for number in numbers], np.float64)
            return Scale(places, places, _NumberWriter(numbers, numbers)), _ranks([0, *present], self.size)
        texts = {code: _text(known[code]) for code in present}
        axis, order = self._text_axis(texts, weights)
        return axis, _ranks(order, self.size)

    def _text_axis(self, texts: dict[int, str], weights: Index) -> tuple[Axis, list[int]]:
        column = self._column
        if column.hierarchy is not None:
            ordered = sorted((self._path(code, text, column.hierarchy), code) for code, text in texts.items())
            order = [code for _, code in ordered]
            known = list(self._codes)
            numbers = [float(known[code]) for code in order] if column.is_numeric else []  # type: ignore[arg-type]
            return Ladder([path for path, _ in ordered], numbers), [0, *order]
        if column.dtype in {Dtype.DATE, Dtype.TIME, Dtype.TIMESTAMP} or column.ordered:
            place = {name: i for i, name in enumerate(column.categories)}
            order = sorted(texts, key=lambda code: (place.get(texts[code], len(place)), texts[code]))
            steps = np.arange(len(order), dtype=np.float64)
            return Scale(steps, steps, _TextWriter([texts[code] for code in order])), [0, *order]
        # Frequent first: a cut between neighbours then tends to part the common from the rare.
        bag: dict[int, str | None] = {**texts, **({0: None} if weights[0] else {})}
        order = sorted(bag, key=lambda code: (-int(weights[code]), bag[code] or ""))
        return Bag([bag[code] for code in order]), order

    def _path(self, code: int, text: str, hierarchy: Hierarchy) -> tuple[str, ...]:
        """The value's path, kept: a coder that serves one microflow after the other meets the same values again."""
        if code not in self._paths:
            lengths = hierarchy.prefix
            self._paths[code] = (prefix_paths([text], lengths) if lengths else tree_paths([text], hierarchy))[0]
        return self._paths[code]


#: One column's codes.
Coder = GridCoder | DictionaryCoder


class _NumberWriter:
    """Writes a run of ranks as numbers; a class and not a closure, so that frozen anonymizers can be pickled."""

    def __init__(self, lower: Sequence[int | float], upper: Sequence[int | float]) -> None:
        self._lower, self._upper = lower, upper

    def __call__(self, low: int, high: int) -> str:
        return number_label(self._lower[low - 1], self._upper[high - 1])


class _TextWriter:
    """Writes a run of ranks as ordered text."""

    def __init__(self, values: list[str]) -> None:
        self._values = values

    def __call__(self, low: int, high: int) -> str:
        return text_range_label(self._values[low - 1], self._values[high - 1])


def _text(value: Value) -> str:
    """A value as a hierarchy names it: whole numbers without a point."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _ranks(order: list[int], size: int) -> Codes:
    """The rank of each code: its place in the order, -1 for one that is not there."""
    ranks = np.full(size + 1, -1, np.int32)
    ranks[order] = np.arange(len(order))
    return ranks


def _filled(indices: pa.Array, filler: int) -> Codes:
    filled = indices.fill_null(filler) if indices.null_count else indices
    return np.asarray(filled.to_numpy(), np.int32)


#: Up to 4 M cells (32 MB) are counted in a table; a larger domain as sorted keys.
DENSE_BITS = 22
#: Keys that wait before they are sorted into the others.
_WAITING = 1 << 20

#: 64-bit integers, or fixed-width bytes.
Keys = npt.NDArray[Any]
#: Distinct tuples, one array a column, and the rows that have each.
Cells = tuple[list[Codes], Index]


class Packing:
    """Layout of a tuple in one key: column ``i`` has codes 0 … ``sizes[i]`` (the last stands for unknown)."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.bits = [size.bit_length() for size in sizes]
        self.total = sum(self.bits)
        self._wide = self.total > np.iinfo(np.int64).bits - 1

    def pack(self, codes: Sequence[Codes]) -> Keys:
        """Key of each tuple; equal keys for equal tuples, ordered as the tuples are."""
        if self._wide:
            columns = np.stack(codes, axis=1).astype(">u4")
            return np.ascontiguousarray(columns).view(f"S{4 * len(codes)}").ravel()
        keys = codes[0].astype(np.int64)
        for bits, column in zip(self.bits[1:], codes[1:], strict=True):
            keys <<= bits
            keys |= column
        return keys

    def unpack(self, keys: Keys) -> list[Codes]:
        """The tuples of some keys, one array a column."""
        if self._wide:
            return list(keys.view(">u4").reshape(len(keys), len(self.bits)).astype(np.int32).T.copy())
        rest = keys.astype(np.int64)
        codes: list[Codes] = []
        for bits in reversed(self.bits):
            codes.append((rest & ((1 << bits) - 1)).astype(np.int32))
            rest >>= bits
        return codes[::-1]

    def holds(self, sizes: Sequence[int]) -> bool:
        """True if columns that have grown to these sizes still fit their bits."""
        return all(size.bit_length() <= bits for size, bits in zip(sizes, self.bits, strict=True))


class Cube:
    """Counter of tuples. Columns may grow between calls: counts are packed again each time a bit is added."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self._start(sizes)

    def _start(self, sizes: Sequence[int]) -> None:
        self._packing = Packing(sizes)
        dense = self._packing.total <= DENSE_BITS
        self._table: Index | None = np.zeros(1 << self._packing.total, np.int64) if dense else None
        self._keys: Keys = self._packing.pack([np.empty(0, np.int32)] * len(sizes))
        self._counts: Index = np.empty(0, np.int64)
        self._waiting: list[tuple[Keys, Index]] = []

    def add(self, codes: Sequence[Codes], sizes: Sequence[int], counts: Index | None = None) -> None:
        """Count one tuple a row, or ``counts`` of each; ``sizes`` are the columns' sizes by now."""
        if not self._packing.holds(sizes):
            cells = self.cells()
            self._start(sizes)
            self._add(*cells)
        self._add(codes, np.ones(len(codes[0]), np.int64) if counts is None else counts)

    def _add(self, codes: Sequence[Codes], counts: Index) -> None:
        keys = self._packing.pack(codes)
        if self._table is not None:
            np.add.at(self._table, keys, counts)
            return
        self._waiting.append((keys, counts))
        if sum(len(keys) for keys, _ in self._waiting) >= max(_WAITING, len(self._keys)):
            self._settle()

    def _settle(self) -> None:
        """Sort the waiting keys into the others."""
        waiting = [(self._keys, self._counts), *self._waiting]
        keys = np.concatenate([keys for keys, _ in waiting])
        counts = np.concatenate([counts for _, counts in waiting])
        self._keys, place = np.unique(keys, return_inverse=True)
        self._counts = np.bincount(place, counts, len(self._keys)).astype(np.int64)
        self._waiting = []

    def cells(self) -> Cells:
        """The tuples that occur, in ascending order, and their counts."""
        if self._table is not None:
            keys = np.flatnonzero(self._table)
            return self._packing.unpack(keys), self._table[keys]
        self._settle()
        return self._packing.unpack(self._keys), self._counts


class CellIndex:
    """Index from a tuple to its class once classes are decided; -1 for a tuple that has none."""

    def __init__(self, sizes: Sequence[int], codes: Sequence[Codes], classes: Codes) -> None:
        self._packing = Packing(sizes)
        keys = self._packing.pack(codes)
        self._table: Codes | None = None
        if self._packing.total <= DENSE_BITS:
            self._table = np.full(1 << self._packing.total, -1, np.int32)
            self._table[keys] = classes
        else:
            order = np.argsort(keys)
            self._keys, self._classes = keys[order], classes[order]

    def find(self, codes: Sequence[Codes]) -> Codes:
        """The class of each row."""
        keys = self._packing.pack(codes)
        if self._table is not None:
            return self._table.take(keys)
        if not len(self._keys):
            return np.full(len(keys), -1, np.int32)
        place = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[place] == keys, self._classes[place], np.int32(-1))
