"""Microflows come back from parcels and from a spool as they went."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from microflow.microflows import Microflow, microflows
from microflow.processors import LocalBatchProcessor, ProcessingSpec
from microflow.processors.contract import Processed
from microflow.processors.kernel import Screening
from microflow.processors.morsels import morsels
from microflow.processors.parcels import (
    Laid,
    batches_of,
    lay,
    pick_up,
    put,
    read,
    results,
    stage,
    staged,
    written,
)
from microflow.settings import MORSEL
from microflow.timing.clock import PhaseClock


def test_parcels_hold_whole_microflows_in_order(
    tmp_path: Path, make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Every type a schema has; every parcel is a multiple of the microflow size, except where the data end."""
    for data_type in ("healthcare", "iot"):
        rows = make_rows(make_spec(data_type).schema, 7 * MORSEL + 3, bad=0.3)
        parcels = stage(microflows([rows], 5), tmp_path / data_type)
        flows = [flow for number in range(parcels) for flow in staged(tmp_path / data_type, number)]
        assert [flow.number for flow in flows] == list(range(len(flows)))
        assert [flow.first_row for flow in flows] == [5 * flow.number for flow in flows]
        assert pa.concat_batches([flow.rows for flow in flows]).equals(rows)
        assert [len(flow) for flow in flows[:-1]] == [5] * (len(flows) - 1)


def test_slices_and_empty_microflows_keep_their_rows_only(tmp_path: Path) -> None:
    """What lies in memory beside a slice does not travel with it."""
    rows = pa.record_batch({"text": [f"secret {i}" for i in range(100)]})
    flows = [Microflow(0, 0, rows.slice(7, 11)), Microflow(1, 11, rows.slice(0, 0))]
    assert stage(flows, tmp_path) == 1
    assert [flow.rows for flow in staged(tmp_path, 0)] == [flow.rows for flow in flows]
    assert b"secret 50" not in (tmp_path / "000000.arrow").read_bytes()


def test_nothing_staged_is_nothing_to_do(tmp_path: Path) -> None:
    """An empty source leaves no parcel."""
    assert stage(iter(()), tmp_path) == 0
    assert list(results(tmp_path, 0)) == []


def test_a_parcel_appears_when_it_is_complete(tmp_path: Path) -> None:
    """A worker that dies leaves none behind; one that does it again takes the first one's place."""
    rows = pa.record_batch({"n": [1]})
    wrong = pa.record_batch({"other": ["x"]})
    with pytest.raises(pa.ArrowInvalid), written(tmp_path, 3, rows.schema) as writer:
        writer.write_batch(wrong)
    assert not list(tmp_path.glob("*.arrow"))
    for value in (1, 2):
        with written(tmp_path, 3, rows.schema) as writer:
            writer.write_batch(pa.record_batch({"n": [value]}))
    assert [batch.to_pydict() for batch, _ in read(tmp_path, 3)] == [{"n": [2]}]


def test_results_come_back_whole_and_in_order(
    tmp_path: Path, make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Rows, ordinals, suppressed, findings, times, and who measured them, over two parcels written last first."""
    spec = make_spec("healthcare")
    flows = microflows([make_rows(spec.schema, 90, bad=0.3)], 30)
    done = list(LocalBatchProcessor(spec).process(flows, PhaseClock()))
    for number, part in ((1, done[2:]), (0, done[:2])):
        with written(tmp_path, number, done[0].released.schema) as writer:
            for one in part:
                put(writer, one, f"worker {number}")
    again = list(results(tmp_path, 2))
    assert [worker for _, worker in again] == ["worker 0", "worker 0", "worker 1"]
    for one, (other, _) in zip(done, again, strict=True):
        assert_alike(one, other)
    assert sum(len(one.suppressed) for one in done) > 0


def assert_alike(one: Processed, other: Processed) -> None:
    """Equal in every field."""
    for name in ("number", "first_row", "rows_in", "released", "pure_ns"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("ordinals", "suppressed"):
        assert np.array_equal(getattr(one, name), getattr(other, name))
    for name in ("checked", "rows", "targets", "starts", "ends"):
        assert np.array_equal(getattr(one.findings, name), getattr(other.findings, name))


def test_a_spool_gives_back_what_was_laid(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Rows, positions, findings and times, morsel by morsel."""
    spec = make_spec("healthcare")
    screening, spool, laid = Screening(spec), io.BytesIO(), []
    with pa.ipc.new_stream(spool, spec.schema.arrow) as writer:
        for turn, morsel in enumerate(morsels(microflows([make_rows(spec.schema, 530)], 100), most=2)):
            laid.append(Laid(morsel.places, screening.screen(morsel.rows), 7 * turn))
            lay(writer, laid[-1])
    spool.seek(0)
    picked = [one for one, _, _ in pick_up(batches_of(spool))]
    assert [(one.places, one.pure_ns) for one in picked] == [(one.places, one.pure_ns) for one in laid]
    for one, other in zip(picked, laid, strict=True):
        assert one.screened.rows.equals(other.screened.rows)
        assert np.array_equal(one.screened.kept, other.screened.kept)
        for name in ("checked", "rows", "targets", "starts", "ends"):
            assert np.array_equal(getattr(one.screened.findings, name), getattr(other.screened.findings, name))
