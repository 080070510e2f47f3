"""A schema with every kind of column, random records of it, and a release of rows in any scope but that of a stream."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import strategies as st

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import BatchAnonymizer, DatasetAnonymizer, Method, MethodSettings, Released
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

QI = Role.QUASI_IDENTIFIER
TREE = Hierarchy(parents={"FR": "West", "DE": "West", "IT": "South", "West": "EU", "South": "EU"})
SCHEMA = DatasetSchema(
    "people",
    (
        Column("id", Role.RECORD_ID, Dtype.INTEGER),
        Column("name", Role.IDENTIFIER),
        Column("age", QI, Dtype.INTEGER, low=0, high=120),
        Column("height", QI, Dtype.NUMBER, low=0.5, high=2.5),
        Column("income", QI, Dtype.NUMBER),
        Column("zip", QI, hierarchy=Hierarchy(prefix=(5, 3, 0))),
        Column("country", QI, categories=("FR", "DE", "IT"), hierarchy=TREE),
        Column("school", QI, categories=("low", "middle", "high"), ordered=True),
        Column("born", QI, Dtype.DATE),
        Column("sex", QI, categories=("F", "M")),
        Column("smoker", QI, Dtype.BOOLEAN),
        Column("illness", Role.SENSITIVE, categories=("a", "b", "c", "d")),
        Column("cost", Role.SENSITIVE, Dtype.NUMBER),
    ),
    "hipaa",
)
QUASI = [column.name for column in SCHEMA.quasi_identifiers]
VALUES = {
    "id": st.nothing(),
    "name": st.sampled_from(["Ann", "Bob"]),
    "age": st.integers(-3, 130),
    "height": st.floats(0.4, 2.6, allow_nan=False) | st.just(float("nan")),
    "income": st.sampled_from([-1.5, 0.0, -0.0, 20.25, 1e9, float("nan")]),
    "zip": st.sampled_from(["94110", "94107", "941", "10001", "1", "a,b*"]),
    "country": st.sampled_from(["FR", "DE", "IT", "Mars"]),
    "school": st.sampled_from(["low", "middle", "high", "none"]),
    "born": st.sampled_from(["1980", "1980-05", "1980-05-17", "2001-01-01"]),
    "sex": st.sampled_from(["F", "M", "null"]),
    "smoker": st.booleans(),
    "illness": st.sampled_from(["a", "b", "c", "d"]),
    "cost": st.floats(0, 10),
}
RECORD = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})


def batch(records: list[dict[str, object]]) -> pa.RecordBatch:
    """Records with ids from 0 on."""
    return pa.RecordBatch.from_pylist([record | {"id": i} for i, record in enumerate(records)], schema=SCHEMA.arrow)


def release(rows: pa.RecordBatch, schema: DatasetSchema = SCHEMA, **settings: object) -> Released:
    """The rows under k-anonymity."""
    anonymizer = build_anonymizer(MethodSettings(Method.K_ANONYMITY, **settings), schema)  # type: ignore[arg-type]
    if isinstance(anonymizer, DatasetAnonymizer):
        anonymizer.observe(rows)
        anonymizer.freeze()
    assert isinstance(anonymizer, BatchAnonymizer)
    return anonymizer.anonymize(rows)
