"""k-anonymity beside anonypy and ARX: speed on three quasi-identifiers, and information loss on Adult."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from microflow.anonymize.castle import StreamKAnonymity
from microflow.anonymize.contract import Method, MethodSettings, Released
from microflow.anonymize.generalise import exact_label, number_label, set_label
from microflow.anonymize.k_anonymity import KAnonymity, MicroflowKAnonymity
from microflow.assess.loss import gcp
from microflow.assess.pair import Pair
from microflow.bench import arx
from microflow.bench.harness import Case, Line, measure
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role
from microflow.settings import MICROFLOW_ROWS

__all__ = ["adult", "anonypy_labels", "cases", "information_loss", "people"]

K = 5
#: What anonypy is given: it needs seconds for some thousands of rows.
PEER_ROWS = 1_000
ADULT_ROWS = 5_000

QI = Role.QUASI_IDENTIFIER
SCHEMA = DatasetSchema(
    "people",
    (
        Column("record_id", Role.RECORD_ID, Dtype.INTEGER),
        Column("name", Role.IDENTIFIER),
        Column("age", QI, Dtype.INTEGER, low=0, high=120),
        Column("sex", QI, categories=("F", "M", "X")),
        Column("zip", QI, hierarchy=Hierarchy(prefix=(5, 3, 2, 1, 0))),
        Column("illness", Role.SENSITIVE, categories=tuple("abcdefgh")),
    ),
    "hipaa",
)


def people(rows: int, seed: int = 1) -> pa.RecordBatch:
    """Ages around 45, two common sexes and a rare one, 300 ZIP3 of which some are crowded, eight illnesses."""
    rng = np.random.default_rng(seed)
    zips = pa.array([f"{code:03d}" for code in rng.choice(1_000, 300, replace=False)])
    places = np.minimum(rng.exponential(80, rows).astype(np.int64), len(zips) - 1)
    columns = [
        pa.array(np.arange(rows)),
        pa.nulls(rows, pa.string()),
        pa.array(np.clip(rng.normal(45, 20, rows), 0, 90).astype(np.int64)),
        pa.array(["F", "M", "X"]).take(pa.array(rng.choice(3, rows, p=[0.49, 0.49, 0.02]))),
        zips.take(pa.array(places)),
        pa.array(list("abcdefgh")).take(pa.array(rng.integers(0, 8, rows))),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA.arrow)


def cases(rows: int) -> list[Line]:
    """Speed of every scope, then the loss on UCI Adult where its file is at hand."""
    flows = _microflows(people(rows))
    few = flows[: max(1, len(flows) // 20)]
    records = [record for flow in flows[:20] for record in flow.to_pylist()]
    peer = f"anonypy Mondrian, {PEER_ROWS:,} rows"
    settings = MethodSettings(Method.K_ANONYMITY, k=K)
    diverse = MethodSettings(Method.K_ANONYMITY, k=K, l_diversity=2)
    return [
        *measure(
            [
                Case(peer, lambda: _anonypy(people(PEER_ROWS))),
                Case(
                    f"k=5, whole data set, {rows:,} rows",
                    lambda: _dataset(settings, flows),
                    reference=peer,
                    goal=2e6,
                    absolute=True,
                ),
                Case("k=5, inside each microflow", lambda: _microflow(settings, few), reference=peer),
                Case("k=5 and distinct 2-diversity, whole data set", lambda: _dataset(diverse, few), reference=peer),
                Case(
                    "k=5, stream (CASTLE, δ=1,000)",
                    lambda: _stream(settings, records),
                    reference=peer,
                    goal=3e4,
                    absolute=True,
                ),
            ],
            rounds=5,
        ),
        *_losses(),
        *arx.losses(),
    ]


def _microflows(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    return [batch.slice(start, MICROFLOW_ROWS) for start in range(0, batch.num_rows, MICROFLOW_ROWS)]


def _dataset(settings: MethodSettings, flows: list[pa.RecordBatch]) -> float:
    anonymizer = KAnonymity(settings, SCHEMA)
    for flow in flows:
        anonymizer.observe(flow)
    anonymizer.freeze()
    return float(sum(len(anonymizer.anonymize(flow).kept) for flow in flows))


def _microflow(settings: MethodSettings, flows: list[pa.RecordBatch]) -> float:
    anonymizer = MicroflowKAnonymity(settings, SCHEMA)
    return float(sum(len(anonymizer.anonymize(flow).kept) for flow in flows))


def _stream(settings: MethodSettings, records: list[dict[str, Any]]) -> float:
    anonymizer = StreamKAnonymity(settings, SCHEMA)
    left = sum(len(anonymizer.push(ordinal, record)) for ordinal, record in enumerate(records))
    return float(left + len(anonymizer.flush()))


def _anonypy(rows: pa.RecordBatch) -> float:
    _anonypy_partitions(rows, SCHEMA, K)
    return float(rows.num_rows)


def _anonypy_partitions(rows: pa.RecordBatch, schema: DatasetSchema, k: int) -> list[npt.NDArray[np.int64]]:
    """Row numbers of anonypy's classes. Its Mondrian knows no missing values: they are a category of their own."""
    from anonypy.mondrian import Mondrian

    columns = schema.quasi_identifiers
    frame = rows.select([column.name for column in columns]).to_pandas()
    for column in columns:
        if not column.is_numeric:
            frame[column.name] = frame[column.name].fillna("").astype("category")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [np.asarray(part) for part in Mondrian(frame, [column.name for column in columns]).partition(k)]


def anonypy_labels(rows: pa.RecordBatch, schema: DatasetSchema, k: int) -> pa.RecordBatch:
    """The classes anonypy finds, in the rows' order, in our labels: ranges of numbers and sets of categories."""
    frame = rows.to_pandas()
    labels = {column.name: np.empty(rows.num_rows, object) for column in schema.quasi_identifiers}
    for part in _anonypy_partitions(rows, schema, k):
        for column in schema.quasi_identifiers:
            values = frame[column.name].iloc[part]
            labels[column.name][part] = _range(values) if column.is_numeric else _set(values)
    return pa.RecordBatch.from_pydict({name: pa.array(column, pa.string()) for name, column in labels.items()})


def _range(values: pd.Series[Any]) -> str:
    return number_label(float(values.min()), float(values.max()))


def _set(values: pd.Series[Any]) -> str | None:
    names = sorted(values.dropna().unique())
    return set_label(map(exact_label, names), missing=bool(values.isna().any())) if names else None


def adult() -> tuple[DatasetSchema, pa.RecordBatch] | None:
    """UCI Adult from ``MICROFLOW_ADULT`` or a ``shared/data`` folder beside the project; ``None`` without it."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "data" / "adult.csv"
    path = Path(os.environ.get("MICROFLOW_ADULT", beside))
    if not path.is_file():
        return None
    schema = load_schema("adult")
    columns = []
    for field, column in zip(schema.arrow, pacsv.read_csv(path).combine_chunks().columns, strict=True):
        text = pc.utf8_trim_whitespace(column.combine_chunks().cast(pa.string()))
        columns.append(pc.if_else(pc.equal(text, "?"), None, text).cast(field.type))
    return schema, pa.RecordBatch.from_arrays(columns, schema=schema.arrow)


def information_loss(original: pa.RecordBatch, released: pa.RecordBatch, schema: DatasetSchema) -> float:
    """The GCP of a release of all rows, whoever made it."""
    names = [column.name for column in schema.quasi_identifiers]
    only = DatasetSchema(schema.name, schema.quasi_identifiers, schema.policy)
    before, after = (pa.Table.from_batches([rows.select(names)]) for rows in (original, released))
    return gcp(Pair.of(only, before, after, np.arange(original.num_rows)))


def _losses() -> list[Line]:
    found = adult()
    if found is None:
        return []
    schema, rows = found[0], found[1].slice(0, ADULT_ROWS)
    lines = []
    for k in (3, 5, 10, 15):
        released = _released(rows, schema, k)
        if len(released.kept) < rows.num_rows:
            raise MicroflowError("rows of UCI Adult were suppressed: the losses cannot be compared")
        ours = information_loss(rows, released.rows, schema)
        theirs = information_loss(rows, anonypy_labels(rows, schema, k), schema)
        name, ratio = f"information loss, {ADULT_ROWS:,} rows of UCI Adult, k={k}", ours / theirs
        lines.append(Line(name, ours, "NCP", "anonypy Mondrian", ratio, goal="≤ 1 ×", holds=ratio <= 1))
    return lines


def _released(rows: pa.RecordBatch, schema: DatasetSchema, k: int) -> Released:
    anonymizer = KAnonymity(MethodSettings(Method.K_ANONYMITY, k=k), schema)
    anonymizer.observe(rows)
    anonymizer.freeze()
    return anonymizer.anonymize(rows)
