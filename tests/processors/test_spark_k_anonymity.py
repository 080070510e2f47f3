"""k-anonymity on Spark without counting on the driver: regions by top cuts, verified as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycanon import anonymity as canon

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.generalise import parse
from microflow.errors import MicroflowError
from microflow.processors.spark_k_anonymity import Cut, anonymize_distributed, regions_of, top_cuts
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

QI = Role.QUASI_IDENTIFIER
SCHEMA = DatasetSchema(
    "people",
    (
        Column("id", Role.RECORD_ID, Dtype.INTEGER),
        Column("name", Role.IDENTIFIER),
        Column("age", QI, Dtype.INTEGER, low=0, high=120),
        Column("zip", QI, hierarchy=Hierarchy(prefix=(5, 3, 0))),
        Column("sex", QI, categories=("F", "M")),
    ),
    "hipaa",
)
QUASI = [column.name for column in SCHEMA.quasi_identifiers]


def people(count: int) -> pa.RecordBatch:
    rng = np.random.default_rng(1)
    records = [
        {
            "id": i,
            "name": "Ann",
            "age": None if rng.random() < 0.02 else int(rng.integers(0, 100)),
            "zip": f"{rng.integers(94000, 94400):05d}",
            "sex": "FM"[rng.integers(0, 2)],
        }
        for i in range(count)
    ]
    return pa.RecordBatch.from_pylist(records, schema=SCHEMA.arrow)


@pytest.mark.spark
def test_the_whole_result_is_k_anonymous(spark: SparkSession) -> None:
    """Across all regions pycanon finds the k that was verified, every row is accounted for, and labels cover."""
    rows = people(4_000)
    frame = spark.createDataFrame(pa.Table.from_batches([rows]))
    done = anonymize_distributed(frame, MethodSettings(Method.K_ANONYMITY, k=5), SCHEMA, regions=4)
    released = done.frame.toPandas().sort_values("id").reset_index(drop=True)
    assert done.regions == 4
    assert (done.released, done.suppressed) == (4_000, 0)
    assert released["name"].isna().all()
    table = released[QUASI].fillna("(missing)")
    assert canon.k_anonymity(table, QUASI) == done.achieved_k >= 5
    for column in SCHEMA.quasi_identifiers:
        labels = released[column.name].where(released[column.name].notna(), None)
        pairs = zip(labels, rows[column.name].to_pylist(), strict=True)
        assert all(parse(label, column).covers(value) for label, value in pairs)


@pytest.mark.spark
def test_regions_too_small_are_suppressed_and_counted(spark: SparkSession) -> None:
    """Nine rows in up to eight regions: what has no company does not leave, and the count says so."""
    frame = spark.createDataFrame(pa.Table.from_batches([people(9)]))
    done = anonymize_distributed(frame, MethodSettings(Method.K_ANONYMITY, k=5), SCHEMA, regions=8)
    assert done.released + done.suppressed == 9
    assert done.released == 0
    with pytest.raises(MicroflowError, match="everybody's distribution"):
        anonymize_distributed(frame, MethodSettings(Method.K_ANONYMITY, t_closeness=0.2), SCHEMA)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.none() | st.integers(0, 9), st.none() | st.sampled_from("abc")), max_size=40))
def test_cuts_send_equal_rows_to_one_region(rows: list[tuple[int | None, str | None]]) -> None:
    """Regions depend on values only, every cut of the sample has rows on both sides, and null has its place."""
    batch = pa.record_batch({"n": pa.array([n for n, _ in rows], pa.int64()), "t": pa.array([t for _, t in rows])})
    batch = batch.cast(pa.schema({"n": pa.int64(), "t": pa.string()}))
    sample = pd.DataFrame({"n": pd.array([n for n, _ in rows], "Int64"), "t": [t for _, t in rows]})
    tree = top_cuts(sample, 4)
    regions = regions_of(tree, batch).tolist()
    by_row: dict[tuple[int | None, str | None], set[int]] = {}
    for row, region in zip(rows, regions, strict=True):
        by_row.setdefault(row, set()).add(region)
    assert all(len(found) == 1 for found in by_row.values())
    assert set(regions) == (set(_leaves(tree)) if rows else set())


def _leaves(tree: Cut | int) -> list[int]:
    return [tree] if isinstance(tree, int) else [*_leaves(tree.low), *_leaves(tree.high)]
