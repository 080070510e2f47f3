"""Every engine does the same to every row: the ground that all comparisons stand on."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method
from microflow.compliance import detailed_compliance_check
from microflow.engine import (
    HybridProcessor,
    LocalBatchProcessor,
    Processed,
    ProcessingSpec,
    StormStreamProcessor,
)
from microflow.engine.router import Objectives
from microflow.records import microflows
from microflow.sources import Quarantine, read_microflows
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

DATA_TYPES = ("healthcare", "financial", "ecommerce", "iot")
RECORD_WISE = ((Method.TOKENIZATION, {}), (Method.DIFFERENTIAL_PRIVACY, {"seed": 7}), (Method.IDENTITY, {}))
ROWS = 1_250

Make = Callable[..., ProcessingSpec]


def hurried(spec: ProcessingSpec) -> HybridProcessor:
    """A hybrid whose urgent records never wait for their microflow, so that both of its ways are taken."""
    return HybridProcessor(spec, objectives=Objectives(urgent_ns=0))


LOCAL = {"stream": StormStreamProcessor, "hybrid": HybridProcessor, "hybrid, urgent first": hurried}


def run(processor: object, batches: Sequence[pa.RecordBatch], size: int = 1_000) -> list[Processed]:
    """All results, with the purity guard on."""
    return list(processor.process(microflows(batches, size), PhaseClock(guard=PurityGuard())))  # type: ignore[attr-defined]


def assert_equal(one: list[Processed], other: list[Processed]) -> None:
    """Rows, their names, what was suppressed and what was found: microflow by microflow."""
    assert [done.number for done in one] == [done.number for done in other]
    for left, right in zip(one, other, strict=True):
        assert left.released.schema == right.released.schema
        assert left.released.to_pylist() == right.released.to_pylist()
        for name in ("ordinals", "suppressed"):
            assert getattr(left, name).tolist() == getattr(right, name).tolist(), name
        for name in ("checked", "rows", "targets", "starts", "ends"):
            assert np.array_equal(getattr(left.findings, name), getattr(right.findings, name)), name


@pytest.mark.parametrize(("method", "settings"), RECORD_WISE, ids=lambda value: str(value) if value else "")
@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_local_engines_release_equal_rows(
    data_type: str, method: Method, settings: dict[str, int], make_rows: Callable[..., pa.RecordBatch], make_spec: Make
) -> None:
    """Batch, stream and hybrid, on good and bad rows, with the purity guard watching all of them."""
    spec = make_spec(data_type, method, **settings)
    rows = make_rows(spec.schema, ROWS)
    reference = run(LocalBatchProcessor(spec), [rows])
    assert sum(len(done.findings) for done in reference) > 50
    assert sum(len(done.suppressed) for done in reference) > 5
    for engine in LOCAL.values():
        assert_equal(reference, run(engine(spec), [rows]))


@pytest.mark.parametrize("data_type", DATA_TYPES)
@pytest.mark.parametrize("engine", [LocalBatchProcessor, *LOCAL.values()], ids=["batch", *LOCAL])
def test_counts_add_up_by_every_method(
    engine: Callable[[ProcessingSpec], object],
    data_type: str,
    make_rows: Callable[..., pa.RecordBatch],
    make_spec: Make,
) -> None:
    """Released and suppressed ordinals are all rows, each once, whatever is held back meanwhile."""
    for method in Method:
        spec = make_spec(data_type, method, k=5)
        done = run(engine(spec), [make_rows(spec.schema, ROWS)])
        ordinals = np.concatenate([part for one in done for part in (one.ordinals, one.suppressed)])
        assert sorted(ordinals.tolist()) == list(range(ROWS)), method
        assert sum(one.rows_in for one in done) == ROWS
        assert all(len(one.ordinals) == one.released.num_rows for one in done)


def test_what_is_found_is_what_one_record_shows(make_rows: Callable[..., pa.RecordBatch], make_spec: Make) -> None:
    """The engines' findings against the record-by-record public check, an independent way to the same policy."""
    spec = make_spec("healthcare")
    rows = make_rows(spec.schema, 200)
    (done,) = run(LocalBatchProcessor(spec), [rows])
    flagged = {
        i for i, row in enumerate(rows.to_pylist()) if not detailed_compliance_check(row, "healthcare")["compliant"]
    }
    assert set(done.findings.flagged.tolist()) == flagged


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_bad_rows_of_a_file_never_reach_an_engine(
    suffix: str, tmp_path: Path, make_rows: Callable[..., pa.RecordBatch], make_spec: Make
) -> None:
    """Ragged and mistyped rows are quarantined before; the ordinals of all engines count the rows that remain."""
    spec = make_spec("iot")
    records = make_rows(spec.schema, 300).to_pylist()
    file = tmp_path / f"in{suffix}"
    if suffix == ".csv":
        with file.open("w", newline="") as sink:
            writer = csv.writer(sink)
            writer.writerow(spec.schema.names)
            for number, record in enumerate(records):
                values = ["" if value is None else value for value in record.values()]
                writer.writerow(values[:-2] if number % 50 == 7 else values)
    else:
        lines = pa.table(make_rows(spec.schema, 300)).to_pandas().to_json(orient="records", lines=True).splitlines()
        file.write_text("\n".join("{broken" if n % 50 == 7 else line for n, line in enumerate(lines)))

    def results(engine: Callable[[ProcessingSpec], object]) -> list[Processed]:
        quarantine = Quarantine()
        flows = read_microflows(file, spec.schema, quarantine=quarantine, size=90)
        done = list(engine(spec).process(flows, PhaseClock()))  # type: ignore[attr-defined]
        assert quarantine.total == 6
        assert sum(one.rows_in for one in done) == 294
        return done

    reference = results(LocalBatchProcessor)
    for engine in LOCAL.values():
        assert_equal(reference, results(engine))
