"""Repeated ids are found, wherever they were first seen."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from microflow.ingest.identity import SeenIds

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


def test_there_are_few_runs():
    """A thousand batches leave a handful of runs, so that a look-up stays cheap."""
    seen = SeenIds()
    for batch in range(1_000):
        seen.repeated(pa.array(range(100 * batch, 100 * batch + 100), pa.int64()))
    assert len(seen._runs) < 12
    assert sum(len(run) for run in seen._runs) == 100_000
