"""Repeated ids are found, wherever they were first seen."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from microflow.sources.record_ids import SeenIds, digest

IDS = st.lists(st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=20), max_size=12)


@given(IDS)
def test_repeats_are_those_of_a_set(batches):
    """Over any batches, the positions are those a plain Python set would give; null is never a repeat."""
    seen, known = SeenIds(), set()
    for batch in batches:
        expected = []
        for position, value in enumerate(batch):
            if value is not None and value in known:
                expected.append(position)
            known.add(value)
        assert seen.repeated(pa.array(batch, pa.int64())).tolist() == expected


def test_text_ids():
    """Ids may be text."""
    seen = SeenIds()
    assert seen.repeated(pa.array(["a", "b", "a"])).tolist() == [2]
    assert seen.repeated(pa.array(["c", "b"])).tolist() == [1]


@given(st.lists(st.tuples(st.integers(-90, 90), st.integers(1, 60), st.booleans()), max_size=10))
def test_ranges_and_hashes_know_of_each_other(blocks):
    """Blocks of consecutive numbers, shuffled or with every other one left out: repeats are still those of a set."""
    seen, known = SeenIds(), set()
    for start, length, is_sparse in blocks:
        batch = list(range(start, start + length, 2 if is_sparse else 1))[::-1]
        expected = [position for position, value in enumerate(batch) if value in known]
        known.update(batch)
        assert seen.repeated(pa.array(batch, pa.int64())).tolist() == expected


def test_the_ends_of_the_integers_are_ids_like_others():
    """No range runs over its end."""
    seen, ends = SeenIds(), pa.array([*range(2**63 - 40, 2**63), *range(-(2**63), -(2**63) + 40)], pa.int64())
    assert seen.repeated(ends).tolist() == []
    assert seen.repeated(ends).tolist() == list(range(80))
    assert seen.repeated(pa.array([0, 2**63 - 41], pa.int64())).tolist() == []


def test_numbers_that_follow_each_other_take_no_memory():
    """A thousand blocks, every tenth of which came late, end as one range and no hash."""
    seen = SeenIds()
    for block in sorted(range(1_000), key=lambda block: (block % 10 == 0, block)):
        seen.repeated(pa.array(range(100 * block, 100 * block + 100), pa.int64()))
    assert seen._lows.tolist() == [0]
    assert not seen._runs


def test_the_last_rows_of_a_split_are_no_hashes():
    """Nine rows behind ten thousand that follow each other do not make later ones hashes."""
    seen = SeenIds()
    for start, length in ((0, 10_000), (10_000, 9), (10_009, 10_000)):
        assert not seen.seen(digest(pa.array(range(start, start + length), pa.int64()))).any()
    assert (seen._lows.tolist(), seen._runs) == ([0], [])


def test_there_are_few_runs():
    """A thousand batches of scattered ids leave a handful of runs, so that a look-up stays cheap."""
    seen = SeenIds()
    for batch in range(1_000):
        seen.repeated(pa.array([f"id {batch} {i}" for i in range(100)]))
    assert len(seen._runs) < 12
    assert sum(len(run) for run in seen._runs) == 100_000
