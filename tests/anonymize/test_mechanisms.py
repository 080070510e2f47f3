"""The two mechanisms: their proof on the very thresholds they draw by, and draws that follow them."""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from microflow.anonymize.mechanisms import (
    EPSILON_RANGE,
    UNIFORM_BITS,
    Mechanism,
    RandomisedResponse,
    Thresholds,
    TruncatedGeometric,
    Uniforms,
)
from microflow.errors import MicroflowError

KINDS = [RandomisedResponse, TruncatedGeometric]
EPSILONS = st.floats(*EPSILON_RANGE)


def table(mechanism: Mechanism) -> list[list[Fraction]]:
    """Row: truth. Column: release. Missing is the last of each."""
    codes = range(mechanism.size + 1)
    return [[mechanism.probability(released, true) for released in codes] for true in codes]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(size=st.integers(2, 40), epsilon=EPSILONS)
def test_no_release_tells_more_than_epsilon(kind: type[Mechanism], size: int, epsilon: float) -> None:
    """Exact rational probabilities: every row sums to one, and no two inputs' ratio exceeds e^epsilon."""
    rows = table(kind(size, epsilon))
    assert all(sum(row) == 1 for row in rows)
    worst = max(max(column) / min(column) for column in zip(*rows, strict=True))
    assert math.log(worst) <= epsilon


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 3, 10, 1025])
def test_the_whole_budget_is_used(kind: type[Mechanism], size: int) -> None:
    """The bound is reached: the mechanism does not add more noise than it must."""
    mechanism = kind(size, 1.0)
    ends = [float(mechanism.probability(0, true)) for true in (0, size - 1)]
    assert math.log(ends[0] / ends[1]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [2, 5, 8])
def test_near_numbers_are_harder_to_tell_apart(size: int) -> None:
    """Codes d apart differ by e^(epsilon d / (size - 1)): what the geometric mechanism adds to plain LDP."""
    mechanism = TruncatedGeometric(size, 2.0)
    for true in range(size - 1):
        ratios = [mechanism.probability(y, true) / mechanism.probability(y, true + 1) for y in range(size)]
        assert math.log(max(ratios)) <= 2.0 / (size - 1) + 1e-12


def test_randomised_response_is_warners_formula() -> None:
    """p = e^ε / (e^ε + m - 1) over the m = size + 1 outcomes; the truth is kept more often as ε grows."""
    kept = []
    for epsilon in (0.1, 0.5, 1.0, 2.0):
        keep = float(RandomisedResponse(4, epsilon).probability(2, 2))
        assert keep == pytest.approx(math.exp(epsilon) / (math.exp(epsilon) + 4), rel=1e-5)
        kept.append(keep)
    assert kept == sorted(kept)


def test_present_numbers_get_scipys_discrete_laplace() -> None:
    """Inside the grid the noise is `scipy.stats.dlaplace`; its tails lie on the ends."""
    size, epsilon = 41, 3.0
    mechanism = TruncatedGeometric(size, epsilon)
    told = 1 - float(mechanism.probability(size, 17))
    noise = stats.dlaplace(epsilon / (size - 1))
    released = [float(mechanism.probability(code, 17)) / told for code in range(size)]
    assert released[1:-1] == pytest.approx([noise.pmf(code - 17) for code in range(1, size - 1)], rel=1e-4)
    assert released[0] == pytest.approx(noise.cdf(-17), rel=1e-4)
    assert released[-1] == pytest.approx(noise.sf(size - 2 - 17), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "epsilon"), [(3, 0.5), (8, 2.0)])
def test_draws_follow_the_probabilities(kind: type[Mechanism], size: int, epsilon: float) -> None:
    """Chi-squared on 200,000 draws for every truth, missing among them."""
    mechanism = kind(size, epsilon)
    uniforms = Uniforms(size + 1, seed=11).many(200_000)
    for true, numbers in enumerate(uniforms):
        drawn = mechanism.perturb(np.full(len(numbers), true), numbers)
        expected = [float(mechanism.probability(code, true)) * len(numbers) for code in range(size + 1)]
        assert stats.chisquare(np.bincount(drawn, minlength=size + 1), expected).pvalue > 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_holds_in_what_is_drawn(kind: type[Mechanism]) -> None:
    """Empirically: of a million draws for each of two inputs, no outcome's frequencies differ by more than e^ε."""
    epsilon, size, draws = 0.7, 6, 1_000_000
    mechanism = kind(size, epsilon)
    uniforms = Uniforms(2, seed=5).many(draws)
    for pair in ((0, size - 1), (0, size), (2, size)):
        counts = [
            np.bincount(mechanism.perturb(np.full(draws, true), numbers), minlength=size + 1)
            for true, numbers in zip(pair, uniforms, strict=True)
        ]
        ratio = np.log(counts[0] / counts[1])
        noise = np.sqrt(1 / counts[0] + 1 / counts[1])
        assert np.all(np.abs(ratio) <= epsilon + 5 * noise)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(
    size=st.integers(2, 30),
    epsilon=EPSILONS,
    data=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2**UNIFORM_BITS - 1)), min_size=1, max_size=30),
)
def test_one_value_is_perturbed_like_a_column(
    kind: type[Mechanism], size: int, epsilon: float, data: list[tuple[int, int]]
) -> None:
    """Also at the ends of the uniform numbers' range."""
    mechanism = kind(size, epsilon)
    codes = [min(code, size) for code, _ in data] * 3
    uniforms = [uniform for _, uniform in data] + [0] * len(data) + [2**UNIFORM_BITS - 1] * len(data)
    column = mechanism.perturb(np.array(codes), np.array(uniforms, np.uint64))
    assert column.tolist() == [mechanism.perturb_one(*one) for one in zip(codes, uniforms, strict=True)]
    assert all(0 <= code <= size for code in column)


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-5, 17.0, math.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_that_cannot_be_kept_is_refused(kind: type[Mechanism], epsilon: float) -> None:
    """An epsilon is refused if rounding would break it, or if it gives no protection."""
    with pytest.raises(MicroflowError, match="epsilon"):
        kind(5, epsilon)


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
