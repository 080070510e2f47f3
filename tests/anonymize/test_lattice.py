"""Local recoding in the lattice: k holds, nothing is suppressed, less is lost than by Mondrian, counts are merged."""

from __future__ import annotations

from collections import Counter
from typing import cast

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Method, MethodSettings, Scope
from microflow.anonymize.generalise import parse
from microflow.assess.loss import gcp
from microflow.assess.pair import Pair
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

TREE = Hierarchy(parents={"a": "vowel", "e": "vowel", "b": "other", "c": "other", "vowel": "*", "other": "*"})
DECADES = {str(n): f"{n // 10}x" for n in range(20, 60)} | {f"{n}x": "*" for n in range(2, 6)}
SCHEMA = DatasetSchema(
    "letters",
    (
        Column("zip", Role.QUASI_IDENTIFIER, hierarchy=Hierarchy(prefix=(5, 3, 1, 0))),
        Column("letter", Role.QUASI_IDENTIFIER, hierarchy=TREE),
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, hierarchy=Hierarchy(parents=DECADES)),
    ),
    "gdpr",
)  # fmt: skip


def rows(count: int, seed: int) -> pa.RecordBatch:
    draw = np.random.default_rng(seed)
    return pa.record_batch(
        {
            "zip": [f"{draw.integers(1, 4)}{draw.integers(0, 30):04}" for _ in range(count)],
            "letter": pa.array(
                [str(draw.choice(["a", "e", "b", "c"])) if draw.random() > 0.1 else None for _ in range(count)]
            ),
            "age": pa.array(draw.integers(20, 60, count), pa.int64()),
        },
        schema=SCHEMA.arrow,
    )


def release(parts: list[pa.RecordBatch], k: int) -> pa.RecordBatch:
    settings = MethodSettings(Method.K_ANONYMITY, k=k, scope=Scope.DATASET)
    whole = cast("DatasetAnonymizer", build_anonymizer(settings, SCHEMA))
    for part in parts:
        one = cast("DatasetAnonymizer", build_anonymizer(settings, SCHEMA))
        one.observe(part)
        whole.merge(one.counts)
    whole.freeze()
    return whole.anonymize(pa.concat_batches(parts)).rows


def loss(released: pa.RecordBatch, original: pa.RecordBatch) -> float:
    """Mean part of each column's values that a label covers besides one."""
    total = 0.0
    for column in SCHEMA.columns:
        values = sorted({value for value in original[column.name].to_pylist() if value is not None})
        cost = {
            label: (sum(parse(label, column).covers(value) for value in values) - 1) / (len(values) - 1)
            for label in set(released[column.name].to_pylist())
            if label is not None
        }
        total += float(np.mean([max(cost.get(label, 0.0), 0.0) for label in released[column.name].to_pylist()]))
    return total / len(SCHEMA.columns)


@pytest.mark.parametrize(("count", "k"), [(60, 2), (300, 5), (900, 25)])
def test_k_holds_and_labels_cover_the_truth(count: int, k: int) -> None:
    """Every class has k rows, no row is suppressed, and every label covers its value."""
    original = rows(count, seed=count)
    released = release([original], k)
    assert released.num_rows == count
    classes = Counter(zip(*(released[name].to_pylist() for name in SCHEMA.names), strict=True))
    assert min(classes.values()) >= k
    for column in SCHEMA.columns:
        pairs = set(zip(original[column.name].to_pylist(), released[column.name].to_pylist(), strict=True))
        assert all(
            label in {None, "*"} or value is None or parse(label, column).covers(value) for value, label in pairs
        )


def test_merged_counts_give_the_same_classes() -> None:
    """The release of a row depends neither on the worker that counted it nor on the order of the counts."""
    original = rows(400, seed=4)
    parts = [original.slice(0, 150), original.slice(150, 50), original.slice(200)]
    assert release(parts, 4).to_pylist() == release([original], 4).to_pylist()


def test_less_is_lost_than_by_mondrian(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same rows, hierarchies and k."""
    original = rows(800, seed=8)
    lattice = loss(release([original], 5), original)
    monkeypatch.setattr("microflow.anonymize.recode.MOST_ELEMENTS", 0)
    assert lattice < 0.9 * loss(release([original], 5), original)


@pytest.mark.parametrize("asked", [{"t_closeness": 0.2}, {"l_diversity": 2}, {"l_diversity": 2, "l_recursive": 5.0}])
def test_diversity_costs_less_than_by_mondrian(asked: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """What must not be a class joins one with which it may be, and not just the nearest; all rows are released."""
    many = rows(2_000, 3)
    own = np.random.default_rng(3).random(len(many)) < np.where(
        many["letter"].is_null().to_numpy(zero_copy_only=False), 0.9, 0.2
    )
    many = many.append_column("ill", pa.array(np.where(own, "yes", "no")))
    schema = DatasetSchema("letters", (*SCHEMA.columns, Column("ill", Role.SENSITIVE)), "gdpr")
    losses = []
    for most in (20_000, 0):
        monkeypatch.setattr("microflow.anonymize.recode.MOST_ELEMENTS", most)
        settings = MethodSettings(Method.K_ANONYMITY, k=5, **asked)  # type: ignore[arg-type]
        anonymizer = cast("DatasetAnonymizer", build_anonymizer(settings, schema))
        anonymizer.observe(many)
        anonymizer.freeze()
        released = anonymizer.anonymize(many)
        assert len(released.kept) == len(many)
        before, after = (pa.Table.from_batches([batch]) for batch in (many, released.rows))
        losses.append(gcp(Pair.of(schema, before, after, released.kept)))
    assert losses[0] < 0.5 * losses[1]  # merged with the nearest it is 0.7
