"""Microflows worked on together give what each gives by itself; persons are counted as the schema says."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, MethodSettings, Scope
from microflow.compliance import load_policy
from microflow.engine import ProcessingSpec, build_processor
from microflow.engine.contract import Processed
from microflow.engine.kernel import BatchKernel, BatchRemedy, Morsel, morsels, results_of
from microflow.records import Microflow, microflows
from microflow.schema import Column, DatasetSchema, Dtype, Role
from microflow.timing.clock import PhaseClock

MakeRows = Callable[..., pa.RecordBatch]
MakeSpec = Callable[..., ProcessingSpec]


def flows_of(rows: pa.RecordBatch, sizes: list[int]) -> list[Microflow]:
    """Microflows of these sizes, from the middle of a job."""
    starts = np.cumsum([0, *sizes])
    return [
        Microflow(4 + turn, 100 + int(start), rows.slice(start, size))
        for turn, (start, size) in enumerate(zip(starts, sizes, strict=False))
    ]


def results(spec: ProcessingSpec, flows: list[Microflow], together: int) -> list[Processed]:
    kernel = BatchKernel(spec)
    return [
        result
        for turn, morsel in enumerate(morsels(flows, together))
        for result in results_of(morsel, *kernel.run_morsel(morsel), pure_ns=1_001 * (turn + 1))
    ]


@pytest.mark.parametrize("method", Method)
@settings(max_examples=12)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=9), together=st.integers(2, 9))
def test_together_is_as_one_by_one(
    method: Method, sizes: list[int], together: int, make_rows: MakeRows, make_spec: MakeSpec
) -> None:
    """Rows, ordinals, suppressed rows and findings, with bad rows and empty microflows among them."""
    spec = make_spec("healthcare", method, k=3, scope=Scope.MICROFLOW, seed=3)
    flows = flows_of(make_rows(spec.schema, max(sum(sizes), 1), bad=0.3), sizes)
    for one, alone in zip(results(spec, flows, together), results(spec, flows, 1), strict=True):
        assert (one.number, one.first_row, one.rows_in) == (alone.number, alone.first_row, alone.rows_in)
        assert one.released.equals(alone.released)
        assert np.array_equal(one.ordinals, alone.ordinals)
        assert np.array_equal(one.suppressed, alone.suppressed)
        assert len(one.ordinals) + len(one.suppressed) == one.rows_in
        for name in ("checked", "rows", "targets", "starts", "ends"):
            assert np.array_equal(getattr(one.findings, name), getattr(alone.findings, name))


def test_the_time_of_a_morsel_is_shared_out_whole(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """By rows, and no nanosecond is lost."""
    spec = make_spec("iot")
    done = results(spec, flows_of(make_rows(spec.schema, 35), [10, 20, 0, 5]), together=4)
    assert [one.pure_ns for one in done] == [286, 572, 0, 143]


def test_one_microflow_is_not_copied(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """Joining is paid for only where there is something to join."""
    (flow,) = flows_of(make_rows(make_spec("iot").schema, 5), [5])
    assert Morsel.of([flow]).rows is flow.rows


@pytest.mark.parametrize("cuts", [(40,), (1,) * 40, (3, 30, 7), (39, 1)])
def test_long_text_ends_a_microflow_early_wherever_batches_end(
    monkeypatch: pytest.MonkeyPatch, cuts: tuple[int, ...]
) -> None:
    """No more text than allowed, but for a row that is longer by itself; the rows alone decide."""
    monkeypatch.setattr("microflow.records.MICROFLOW_BYTES", 100)
    texts = [None if n % 7 == 0 else "x" * (n * n % 60 + (150 if n == 20 else 0)) for n in range(40)]
    rows = pa.record_batch({"n": list(range(40)), "text": texts})
    ends = np.cumsum(cuts).tolist()
    flows = list(microflows([rows.slice(end - cut, cut) for end, cut in zip(ends, cuts, strict=True)], 10))
    assert pa.Table.from_batches([flow.rows for flow in flows]).combine_chunks() == pa.table(rows)
    assert [flow.number for flow in flows] == list(range(len(flows)))
    assert [flow.first_row for flow in flows] == [flow.rows["n"][0].as_py() for flow in flows]
    reference = [len(flow) for flow in microflows([rows], 10)]
    assert [len(flow) for flow in flows] == reference
    assert max(reference) <= 10
    held = [sum(len(text or "") for text in flow.rows["text"].to_pylist()) for flow in flows]
    assert all(size <= 100 or len(flow) == 1 for size, flow in zip(held, flows, strict=True))
    assert len(flows) > 8


def test_long_text_fills_a_morsel_early() -> None:
    """Microflows of 40 MB are worked on alone; light ones together."""
    rows = pa.record_batch({"text": ["x"]})
    flows = [Microflow(n, n, rows, 40 * 2**20) for n in range(2)] + [Microflow(n, n, rows) for n in (2, 3)]
    assert [len(morsel.ends) for morsel in morsels(flows, 24)] == [1, 1, 2]


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
    """A remedy spares no column where persons are not counted, also after it was pickled."""
    assert released(Method.TOKENIZATION, "batch")[0]["patient"].null_count == ROWS.num_rows
    spared = pickle.loads(pickle.dumps(BatchRemedy(load_policy("hipaa"), SCHEMA, frozenset({"patient"}))))
    assert spared._spared == {"patient"}
