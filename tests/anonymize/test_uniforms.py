"""Randomness: uniform, independent, fresh by default and repeatable with a seed."""

from __future__ import annotations

import os
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from microflow.anonymize.mechanisms import UNIFORM_BITS, Thresholds, Uniforms


def test_numbers_are_uniform_and_independent() -> None:
    """Kolmogorov-Smirnov on each field; no two fields, and no two neighbours, are correlated."""
    numbers = Uniforms(5, seed=None).many(50_000) / 2.0**UNIFORM_BITS
    for field in numbers:
        assert stats.kstest(field, "uniform").pvalue > 1e-5
        assert abs(np.corrcoef(field[1:], field[:-1])[0, 1]) < 0.025
    assert np.abs(np.corrcoef(numbers) - np.eye(5)).max() < 0.025


def test_without_a_seed_nothing_repeats() -> None:
    """Neither between two sources nor within one."""
    one, other = Uniforms(2, None), Uniforms(2, None)
    numbers = np.concatenate([one.many(1_000), one.many(1_000), other.many(1_000)], axis=1)
    assert len(np.unique(numbers)) == numbers.size


def test_without_a_seed_record_ids_are_not_used() -> None:
    """Noise that were a function of the record id would cancel out between two releases."""
    source = Uniforms(1, None)
    ids = np.arange(100)
    assert not np.array_equal(source.many(100, ids), source.many(100, ids))
    assert source.one(7) != source.one(7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_draws_its_own() -> None:
    """Two processes that added the same noise would give away the difference of their records."""
    source = Uniforms(1, None)
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        os.write(writer, source.many(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    of_child = np.frombuffer(os.read(reader, 64), np.uint64)
    os.close(reader)
    os.close(writer)
    assert len(of_child) == 4
    assert not np.intersect1d(of_child, source.many(4)).size


@pytest.mark.parametrize("fields", [1, 2, 5])
def test_a_seed_ties_noise_to_the_record(fields: int) -> None:
    """Any order, any cut into microflows, one by one or all at once: a record id has its numbers."""
    ids = np.array([5, -3, 2**62, 0, 9])
    whole = Uniforms(fields, 1).many(5, ids)
    assert np.array_equal(Uniforms(fields, 1).many(3, ids[::-2]), whole[:, ::-2])
    assert [Uniforms(fields, 1).one(int(key)) for key in ids] == whole.T.tolist()
    assert not np.array_equal(Uniforms(fields, 2).many(5, ids), whole)


def test_a_seed_without_record_ids_counts() -> None:
    """Position in the stream takes the place of the record id."""
    whole = Uniforms(3, 1).many(10)
    source = Uniforms(3, 1)
    parts = [source.many(4), np.array([source.one()]).T, source.many(5)]
    assert np.array_equal(np.concatenate(parts, axis=1), whole)


TOP = (1 << UNIFORM_BITS) - 1
#: Anywhere, close together, and at the places where the guide's cells begin.
THRESHOLD = st.integers(0, TOP) | st.integers(0, 40) | st.integers(0, (1 << 14) - 1).map(lambda cell: cell << 49)


@settings(max_examples=60)
@given(st.lists(THRESHOLD, max_size=40).map(sorted), st.lists(st.integers(0, TOP), max_size=5))
def test_the_guide_counts_as_a_search_does(thresholds: list[int], others: list[int]) -> None:
    """At every threshold, beside it, at both ends and anywhere else."""
    asked = [n for t in (0, TOP, *thresholds, *others) for n in (t - 1, t, t + 1) if 0 <= n <= TOP]
    expected = [bisect_right(thresholds, n) for n in asked]
    made = Thresholds(thresholds)
    assert made.reached(np.array(asked, np.uint64)).tolist() == expected
    assert [made.reached_by(n) for n in asked] == expected
