"""A policy that removes the numbers of patients does not keep k-anonymity from counting patients."""

from __future__ import annotations

import pickle

import pandas as pd
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.engine import ProcessingSpec, build_processor
from microflow.engine.kernel import BatchRemedy
from microflow.records import microflows
from microflow.schema import Column, DatasetSchema, Dtype, Role
from microflow.timing.clock import PhaseClock

SCHEMA = DatasetSchema(
    "visits",
    (
        Column("id", Role.RECORD_ID, Dtype.INTEGER),
        Column("patient", Role.PERSON, kind="mrn"),
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100),
    ),
    "hipaa",
)
ROWS = pa.record_batch(
    {"id": list(range(60)), "patient": [f"MRN-{n // 3}" for n in range(60)], "age": [20 + n // 3 for n in range(60)]},
    schema=SCHEMA.arrow,
)


def released(method: Method, pipeline: str) -> tuple[pa.Table, dict[str, object]]:
    spec = ProcessingSpec(SCHEMA, load_policy("hipaa"), MethodSettings(method, k=4, delta=20), key=bytes(32))
    processor = build_processor(spec, pipeline)
    done = list(processor.process(microflows([ROWS]), PhaseClock()))
    assert sum(len(one.findings) for one in done) >= 60
    return pa.Table.from_batches([one.released for one in done]), processor.describe()


@pytest.mark.parametrize("pipeline", ["batch", "stream", "hybrid"])
def test_patients_are_counted_and_removed(pipeline: str) -> None:
    """Three visits each: every class has four patients, and no number of a patient is released."""
    rows, claim = released(Method.K_ANONYMITY, pipeline)
    assert rows.num_rows >= 48
    assert rows["patient"].null_count == rows.num_rows
    frame = pd.DataFrame({"age": rows["age"].to_pylist(), "patient": [n // 3 for n in rows["id"].to_pylist()]})
    persons = frame.groupby("age")["patient"].nunique()
    assert persons.min() >= claim["achieved_k"] >= 4
    if pipeline == "batch":
        assert (claim["scope"], claim["achieved_k"], claim["classes"]) == ("dataset", persons.min(), len(persons))


def test_other_methods_get_what_the_policy_leaves() -> None:
    """Nothing is spared where nobody counts, also by a remedy that has travelled."""
    assert released(Method.TOKENIZATION, "batch")[0]["patient"].null_count == ROWS.num_rows
    spared = pickle.loads(pickle.dumps(BatchRemedy(load_policy("hipaa"), SCHEMA, frozenset({"patient"}))))
    assert spared._spared == {"patient"}
