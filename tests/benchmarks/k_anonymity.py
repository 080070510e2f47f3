"""``make bench SUITE=k_anonymity``: beside anonypy and ARX, speed on three quasi-identifiers and loss on Adult.

ARX's figures are constants, as `microflow.experiments.effort` tells.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.harness import Case, Goal, Line, fixed, measure, skipped
from microflow.anonymize.castle import StreamKAnonymity
from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.generalise import exact_label, number_label, set_label
from microflow.anonymize.k_anonymity import KAnonymity, MicroflowKAnonymity
from microflow.assess.loss import gcp
from microflow.assess.pair import Pair
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.experiments.advice import adult_file
from microflow.experiments.effort import ARX_LOSS, ARX_SECONDS, missing, release, trial
from microflow.records import microflows
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role
from microflow.sources import Quarantine, read_microflows

__all__ = ["adult", "anonypy_labels", "information_loss", "run", "speeds"]

_K = 5
#: What anonypy is given: it needs seconds for some thousands of rows.
_PEER_ROWS, _ADULT_ROWS = 1_000, 5_000
_ROWS = 1_000_000
#: Of ARX's loss at most so much.
_ARX_GOAL = 0.9
_SUPPRESSED = "rows of Adult were suppressed: the losses cannot be compared"

_QI = Role.QUASI_IDENTIFIER
_SCHEMA = DatasetSchema(
    "people",
    (
        Column("record_id", Role.RECORD_ID, Dtype.INTEGER),
        Column("name", Role.IDENTIFIER),
        Column("age", _QI, Dtype.INTEGER, low=0, high=120),
        Column("sex", _QI, categories=("F", "M", "X")),
        Column("zip", _QI, hierarchy=Hierarchy(prefix=(5, 3, 2, 1, 0))),
        Column("illness", Role.SENSITIVE, categories=tuple("abcdefgh")),
    ),
    "hipaa",
)


def _people(rows: int) -> pa.RecordBatch:
    """Ages around 45, two common sexes and a rare one, 300 ZIP3 of which some are crowded, eight illnesses."""
    rng = np.random.default_rng(1)
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
    return pa.RecordBatch.from_arrays(columns, schema=_SCHEMA.arrow)


def run(rows: int | None = None) -> list[Line]:
    """Speed of every scope, then the loss on Adult beside anonypy's and ARX's, where the files are at hand."""
    return [*speeds(rows or _ROWS), *_beside_anonypy(), *_beside_arx()]


def speeds(rows: int) -> list[Line]:
    """Every scope beside anonypy; ``rows`` is what the whole data set has."""
    flows = [flow.rows for flow in microflows([_people(rows)])]
    few = flows[: max(1, len(flows) // 20)]
    records = [record for flow in flows[:20] for record in flow.to_pylist()]
    peer = f"anonypy Mondrian, {_PEER_ROWS:,} rows"
    settings = MethodSettings(Method.K_ANONYMITY, k=_K)
    diverse = MethodSettings(Method.K_ANONYMITY, k=_K, l_diversity=2)
    return measure(
        [
            Case(peer, lambda: float(sum(map(len, _anonypy_partitions(_people(_PEER_ROWS), _SCHEMA, _K))))),
            Case(
                f"k=5, whole data set, {rows:,} rows",
                lambda: _dataset(settings, flows),
                reference=peer,
                goal=Goal(2e6, of_ratio=False),
            ),
            Case("k=5, inside each microflow", lambda: _microflow(settings, few), reference=peer),
            Case("k=5 and distinct 2-diversity, whole data set", lambda: _dataset(diverse, few), reference=peer),
            Case(
                "k=5, stream (CASTLE, δ=1,000)",
                lambda: _stream(settings, records),
                reference=peer,
                goal=Goal(3e4, of_ratio=False),
            ),
        ],
        rounds=5,
    )


def _dataset(settings: MethodSettings, flows: list[pa.RecordBatch]) -> float:
    anonymizer = KAnonymity(settings, _SCHEMA)
    for flow in flows:
        anonymizer.observe(flow)
    anonymizer.freeze()
    return float(sum(len(anonymizer.anonymize(flow).kept) for flow in flows))


def _microflow(settings: MethodSettings, flows: list[pa.RecordBatch]) -> float:
    anonymizer = MicroflowKAnonymity(settings, _SCHEMA)
    return float(sum(len(anonymizer.anonymize(flow).kept) for flow in flows))


def _stream(settings: MethodSettings, records: list[dict[str, Any]]) -> float:
    anonymizer = StreamKAnonymity(settings, _SCHEMA)
    left = sum(len(anonymizer.push(ordinal, record)) for ordinal, record in enumerate(records))
    return float(left + len(anonymizer.flush()))


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
            if column.is_numeric:
                labels[column.name][part] = number_label(float(values.min()), float(values.max()))
            elif names := sorted(values.dropna().unique()):
                labels[column.name][part] = set_label(map(exact_label, names), missing=bool(values.isna().any()))
    return pa.RecordBatch.from_pydict({name: pa.array(column, pa.string()) for name, column in labels.items()})


def adult() -> tuple[DatasetSchema, pa.RecordBatch] | None:
    """UCI Adult with its schema; ``None`` where it is not at hand."""
    path, schema = adult_file(), load_schema("adult")
    if path is None:
        return None
    return schema, pa.concat_batches([flow.rows for flow in read_microflows(path, schema, quarantine=Quarantine())])


def information_loss(original: pa.RecordBatch, released: pa.RecordBatch, schema: DatasetSchema) -> float:
    """The GCP of a release of all rows, by either program."""
    names = [column.name for column in schema.quasi_identifiers]
    only = DatasetSchema(schema.name, schema.quasi_identifiers, schema.policy)
    before, after = (pa.Table.from_batches([rows.select(names)]) for rows in (original, released))
    return gcp(Pair.of(only, before, after, np.arange(original.num_rows)))


def _beside_anonypy() -> Iterator[Line]:
    found = adult()
    if found is None:
        yield skipped("loss on UCI Adult beside anonypy's", "MICROFLOW_ADULT names its file")
        return
    schema, rows = found[0], found[1].slice(0, _ADULT_ROWS)
    for k in (3, 5, 10, 15):
        released = release(MethodSettings(Method.K_ANONYMITY, k=k), schema, rows)
        if len(released.kept) < rows.num_rows:
            raise MicroflowError(_SUPPRESSED)
        ours = information_loss(rows, released.rows, schema)
        theirs = information_loss(rows, anonypy_labels(rows, schema, k), schema)
        name, ratio = f"information loss, {_ADULT_ROWS:,} rows of UCI Adult, k={k}", ours / theirs
        yield Line(name, ours, "NCP", "anonypy Mondrian", ratio, goal="≤ 1 ×", holds=ratio <= 1)


def _beside_arx() -> Iterator[Line]:
    """ARX's table: one line for each number of quasi-identifiers and k, as the experiment about effort measures it."""
    if missing():
        yield skipped("loss on ARX's Adult", "MICROFLOW_ARX_ADULT names its folder")
        return
    for (columns, k), theirs in ARX_LOSS.items():
        found = trial({"columns": columns, "k": k, "effort": 1})
        if found["suppressed"]:
            raise MicroflowError(_SUPPRESSED)
        name, ratio = f"information loss, Adult of ARX, {columns} columns, k={k}", found["loss"] / theirs
        goal, holds = f"≤ {_ARX_GOAL} ×", ratio <= _ARX_GOAL
        yield Line(name, found["loss"], "GCP", "ARX's local recoding", ratio, goal=goal, holds=holds)
        yield fixed(f"{name}: time", found["samples"][0], "s of CPU", at_most=ARX_SECONDS[columns])
