"""The vectorised partitioner does what a plain recursive one does, cut by cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.axes import Axis, Bag, Ladder, Scale
from microflow.anonymize.mondrian import NEAR, Segments, Tuples, partition, price_cuts

PATHS = sorted(("*", f"group {i // 3}", f"leaf {i}") for i in range(9))


def write(low: int, high: int) -> str:
    return f"{low}-{high}"


def axes() -> list[Axis]:
    """One of each kind, with losses in eighths and quarters: sums are exact, so that equal prices are equal."""
    steps = np.arange(9, dtype=np.float64)
    return [Scale(steps, steps, write), Bag([f"value {i}" for i in range(5)]), Ladder(PATHS)]


@st.composite
def tables(draw: st.DrawFn, most: int = 120) -> Tuples:
    """Distinct tuples of the three kinds of axis with weights; rank 0 is a missing value."""
    seed = draw(st.integers(0, 100_000))
    rng = np.random.default_rng(seed)
    count = draw(st.integers(1, most))
    drawn = np.unique(np.stack([rng.integers(0, axis.size, count) for axis in axes()], axis=1), axis=0)
    ranks = [column.astype(np.int32) for column in drawn.T]
    return Tuples(ranks, rng.geometric(0.4, len(drawn)))


def loss(members: npt.NDArray[np.int64], tuples: Tuples) -> float:
    """The summed loss of a group, measured the slow way."""
    total = 0.0
    for axis, ranks in zip(axes(), tuples.ranks, strict=True):
        own = ranks[members]
        low, high, count = np.asarray([own.min()]), np.asarray([own.max()]), np.asarray([len(np.unique(own))])
        total += float(axis.loss(low, high, count)[0])
    return total


@settings(max_examples=60)
@given(tables(), st.integers(1, 5), st.integers(0, 2))
def test_every_cut_is_priced_as_if_measured(tuples: Tuples, parts: int, column: int) -> None:
    """Running extremes and first and last occurrences give the loss of both sides of every cut of every segment."""
    segments = Segments.whole(tuples)
    for _ in range(parts):
        middle = (segments.starts[:-1] + segments.starts[1:]) // 2
        wide = np.diff(segments.starts) > 1
        segments = segments.select(wide).cut(np.full(wide.sum(), column), _shifted(segments, wide, middle))
        if not len(segments):
            return
    last_left = np.flatnonzero(segments.owner[:-1] == segments.owner[1:])
    left, right = price_cuts(segments, axes(), column, last_left)
    for place, on_left, on_right in zip(last_left, left, right, strict=True):
        start, end = segments.starts[segments.owner[place]], segments.starts[segments.owner[place] + 1]
        order = segments.orders[column]
        assert on_left == pytest.approx(loss(order[start : place + 1], tuples))
        assert on_right == pytest.approx(loss(order[place + 1 : end], tuples))


def _shifted(segments: Segments, wide: npt.NDArray[np.bool_], middle: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return middle[wide] - segments.starts[:-1][wide] + segments.select(wide).starts[:-1]


def recursive(tuples: Tuples, members: npt.NDArray[np.int64], k: int, strict: bool, near: bool) -> list[frozenset[int]]:
    """The published algorithm, one partition at a time, with the same two phases and the same ties."""
    weights = tuples.weights
    total = int(weights[members].sum())
    if total < 2 * k:
        return [frozenset(members.tolist())]
    far = not near and total > NEAR * k
    best: tuple[float, npt.NDArray[np.int64], int] | None = None
    for column, (axis, ranks) in enumerate(zip(axes(), tuples.ranks, strict=True)):
        shift = [(column + i) % 3 for i in range(3)]
        order = members[np.lexsort([tuples.ranks[c][members] for c in reversed(shift)])]
        left = np.cumsum(weights[order])[:-1]
        own = ranks[order]
        legal = (left >= k) & (total - left >= k)
        if strict or far:
            legal &= own[:-1] != own[1:]
        cuts = np.flatnonzero(legal)
        if not len(cuts):
            continue
        if far:
            cut = int(cuts[np.argmin(np.abs(2 * left[cuts] - total))])
            price = -float(axis.loss(own[:1], own[-1:], np.asarray([len(np.unique(own))]))[0])
        else:
            prices = [
                left[i] * loss(order[: i + 1], tuples) + (total - left[i]) * loss(order[i + 1 :], tuples) for i in cuts
            ]
            cut, price = int(cuts[np.argmin(prices)]), min(prices)
        if best is None or price < best[0]:
            best = price, order, cut
    if best is None:
        return recursive(tuples, members, k, strict, near=True) if far else [frozenset(members.tolist())]
    _, order, cut = best
    halves = order[: cut + 1], order[cut + 1 :]
    # Once near the leaves always near: the first phase ends for good where no boundary is left.
    return [part for half in halves for part in recursive(tuples, np.sort(half), k, strict, near=not far)]


@settings(max_examples=40)
@given(tables(), st.integers(1, 6), st.booleans())
def test_classes_lose_what_a_recursive_partitioner_loses(tuples: Tuples, k: int, strict: bool) -> None:
    """Level by level and one by one come to the same total loss and the same number of classes."""
    classes = partition(tuples, axes(), k, strict=strict)
    if tuples.weights.sum() < k:
        assert set(classes.tolist()) == {-1}
        return
    everyone = np.arange(len(tuples))
    found = [frozenset(np.flatnonzero(classes == c).tolist()) for c in range(classes.max() + 1)]
    assert sorted(member for part in found for member in part) == everyone.tolist()
    expected = recursive(tuples, everyone, k, strict, near=False)

    def total(parts: list[frozenset[int]]) -> float:
        members = [np.asarray(sorted(part)) for part in parts]
        return sum(float(tuples.weights[part].sum()) * loss(part, tuples) for part in members)

    assert all(tuples.weights[list(part)].sum() >= k for part in found)
    assert total(found) == pytest.approx(total(expected))


def test_cutting_moves_tuples_and_loses_none() -> None:
    """After any cut every order holds the same tuples per segment, still sorted by its own column."""
    rng = np.random.default_rng(3)
    drawn = np.unique(rng.integers(0, 7, (60, 3)), axis=0)
    tuples = Tuples([column.astype(np.int32) for column in drawn.T], np.ones(len(drawn), np.int64))
    segments = (
        Segments.whole(tuples).cut(np.asarray([1]), np.asarray([20])).cut(np.asarray([2, 0]), np.asarray([5, 30]))
    )
    assert segments.starts.tolist() == [0, 5, 20, 30, len(drawn)]
    for start, end in zip(segments.starts[:-1], segments.starts[1:], strict=True):
        groups = [sorted(order[start:end].tolist()) for order in segments.orders]
        assert groups[0] == groups[1] == groups[2]
        for column, order in enumerate(segments.orders):
            assert (np.diff(tuples.ranks[column][order[start:end]]) >= 0).all()
