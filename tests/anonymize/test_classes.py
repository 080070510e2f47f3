"""Counting tuples is exact, however large the domain and however it grows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.classes import CellIndex, Cube, Packing

#: Dense tables, 64-bit keys, and keys of bytes.
DOMAINS = [[3, 5, 2], [900, 4_000, 70_000], [2**30, 2**30, 2**30]]


@pytest.mark.parametrize("sizes", DOMAINS)
@given(seed=st.integers(0, 10_000), rows=st.integers(0, 200))
def test_counts_are_those_of_a_dictionary(sizes: list[int], seed: int, rows: int) -> None:
    """Every representation counts what a Counter of tuples counts, in ascending order of tuples."""
    rng = np.random.default_rng(seed)
    codes = [rng.integers(max(0, size - 3), size, rows).astype(np.int32) for size in sizes]
    cube = Cube(sizes)
    for part in np.array_split(np.arange(rows), 3):
        cube.add([column[part] for column in codes], sizes)
    found, counts = cube.cells()
    tuples = list(zip(*(column.tolist() for column in found), strict=True))
    assert dict(zip(tuples, counts.tolist(), strict=True)) == Counter(zip(*(c.tolist() for c in codes), strict=True))
    assert tuples == sorted(tuples)


def test_columns_may_grow_while_counting() -> None:
    """From a table to 64-bit keys to bytes: what was counted before stays counted."""
    cube = Cube(DOMAINS[0])
    expected: Counter[tuple[int, ...]] = Counter()
    for sizes in DOMAINS:
        values = [tuple(size - 1 for size in sizes), (0, 1, 0)]
        expected.update(values)
        cube.add([np.asarray(column, np.int32) for column in zip(*values, strict=True)], sizes)
    found, counts = cube.cells()
    tuples = zip(*(column.tolist() for column in found), strict=True)
    assert dict(zip(tuples, counts.tolist(), strict=True)) == expected


@pytest.mark.parametrize("sizes", DOMAINS)
def test_an_index_knows_its_tuples_and_no_others(sizes: list[int]) -> None:
    """Known tuples are found, unknown ones (the code ``size`` among them) are not."""
    known = [np.asarray([0, size - 1, 1], np.int32) for size in sizes]
    index = CellIndex(sizes, known, np.asarray([7, 8, 9], np.int32))
    asked = [np.asarray([1, 0, size - 1, 0, size], np.int32) for size in sizes]
    asked[1][3] = 1
    assert index.find(asked).tolist() == [9, 7, 8, -1, -1]


@pytest.mark.parametrize("sizes", DOMAINS)
def test_keys_are_unpacked_as_they_were_packed(sizes: list[int]) -> None:
    """Packing loses nothing at either end of a column's codes."""
    packing = Packing(sizes)
    codes = [np.asarray([0, 1, size - 1, size], np.int32) for size in sizes]
    for column, again in zip(codes, packing.unpack(packing.pack(codes)), strict=True):
        assert column.tolist() == again.tolist()
