"""Effort never loses more, and a budget of suppression is kept and spent only where it pays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from anonymize.people import QI
from anonymize.people import release as release_by
from microflow.anonymize.contract import Released, Scope
from microflow.assess.loss import measure_loss
from microflow.assess.pair import Pair
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

LINES = DatasetSchema(
    "lines",
    (
        Column("age", QI, Dtype.INTEGER),
        Column("income", QI, Dtype.INTEGER),
        Column("job", QI),
        Column("illness", Role.SENSITIVE),
    ),
    "hipaa",
)
TREES = DatasetSchema(
    "trees",
    (
        Column("age", QI, Dtype.INTEGER, hierarchy=Hierarchy(prefix=(2, 1, 0))),
        Column("income", QI, Dtype.INTEGER, hierarchy=Hierarchy(prefix=(6, 3, 2, 1, 0))),
        Column("job", QI),
        Column("illness", Role.SENSITIVE),
    ),
    "hipaa",
)


def people(rows: int = 2_000, odd: int = 0) -> pa.RecordBatch:
    """Ages and incomes that follow each other, and some people far away from everybody and from each other."""
    rng = np.random.default_rng(1)
    age = rng.integers(20, 40, rows)
    income = age * 10 + rng.integers(0, 10, rows)
    age[:odd] = 80 + np.arange(odd)
    income[:odd] = 10_000 * (1 + np.arange(odd))
    columns = {
        "age": age,
        "income": income,
        "job": rng.choice(list("abc"), rows),
        "illness": rng.choice(list("xyz"), rows, p=[0.8, 0.15, 0.05]),
    }
    return pa.RecordBatch.from_pydict(columns, schema=LINES.arrow)


def release(rows: pa.RecordBatch, schema: DatasetSchema = LINES, **settings: object) -> Released:
    return release_by(rows, schema, **settings)


def gcp(rows: pa.RecordBatch, released: Released, schema: DatasetSchema = LINES) -> float:
    """Suppressed rows count as lost."""
    tables = (pa.Table.from_batches([batch]) for batch in (rows, released.rows))
    return measure_loss(Pair.of(schema, *tables, released.kept), np.random.default_rng(1)).gcp


@pytest.mark.parametrize("k", [5, 15])
def test_more_effort_never_loses_more(k: int) -> None:
    """Where Mondrian decides, a little effort is worth something, and all rows still leave in classes of k."""
    rows = people()
    losses = []
    for effort in (0, 1, 3, 9):
        released = release(rows, k=k, effort=effort)
        assert len(released.kept) == rows.num_rows
        losses.append(gcp(rows, released))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[1]


@pytest.mark.parametrize("schema", [LINES, TREES], ids=["mondrian", "hierarchies"])
@pytest.mark.parametrize("scope", [Scope.DATASET, Scope.MICROFLOW])
def test_who_is_far_from_everybody_is_given_up(schema: DatasetSchema, scope: Scope) -> None:
    """Four of 2,000 rows would widen the labels of forty others; the budget is not exceeded."""
    rows = people(odd=4)
    whole, less = release(rows, schema, k=40, scope=scope), release(rows, schema, k=40, scope=scope, suppress=0.01)
    assert len(whole.kept) == rows.num_rows
    assert 0 < rows.num_rows - len(less.kept) <= 20
    assert gcp(rows, less, schema) < gcp(rows, whole, schema)
    frame = less.rows.to_pandas()
    assert frame.groupby(["age", "income", "job"], dropna=False).size().min() >= 40


def test_nothing_is_given_up_where_that_does_not_pay() -> None:
    """A budget is no duty; and one row is no budget of a hundredth of fifty."""
    even = people(odd=0)
    assert gcp(even, release(even, k=2, suppress=0.05)) <= gcp(even, release(even, k=2))
    assert len(release(even.slice(0, 50), k=5, suppress=0.01).kept) == 50


def test_l_and_t_hold_with_a_budget() -> None:
    """The constraints are those of what is left."""
    rows = people(odd=4)
    released = release(rows, k=5, l_diversity=2, t_closeness=0.5, suppress=0.02)
    assert released.rows.to_pandas().groupby(["age", "income", "job"])["illness"].nunique().min() >= 2


def test_a_stream_and_impossible_shares_are_refused() -> None:
    """In plain words."""
    with pytest.raises(MicroflowError, match="stream cannot know"):
        release(people(10), scope=Scope.STREAM, suppress=0.1)
    with pytest.raises(MicroflowError, match="share of rows"):
        release(people(10), suppress=1.0)
