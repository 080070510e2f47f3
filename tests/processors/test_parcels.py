"""Microflows as rows of Spark's and as batches of a spool come back as they went."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from microflow.microflows import microflows
from microflow.processors import ProcessingSpec
from microflow.processors.kernel import Place, Screening
from microflow.processors.parcels import PER_PART, Laid, lay, pack, parcels, pick_up, stage, unpack


def test_a_batch_survives_packing(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Also a slice of one, an empty one, and every type a schema has."""
    for data_type in ("healthcare", "iot"):
        rows = make_rows(make_spec(data_type).schema, 40, bad=0.3)
        for batch in (rows, rows.slice(7, 11), rows.slice(0, 0)):
            assert unpack(pack(batch)).equals(batch)


def test_staged_files_hold_whole_microflows_in_order(
    tmp_path: Path, make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Every partition is a multiple of the microflow size, except where the data end."""
    rows = make_rows(make_spec("iot").schema, 7 * PER_PART + 3)
    stage(microflows([rows], 5), tmp_path / "staged")
    staged = list(parcels(tmp_path / "staged"))
    assert [row["number"] for row in staged] == list(range(len(staged)))
    assert pa.concat_batches([unpack(row["rows"]) for row in staged]).equals(rows)
    sizes = [unpack(row["rows"]).num_rows for row in staged]
    assert sizes[:-1] == [5] * (len(sizes) - 1)


def test_nothing_staged_is_nothing_to_do(tmp_path: Path) -> None:
    """An empty source leaves an empty folder."""
    stage(iter(()), tmp_path / "staged")
    assert list(parcels(tmp_path / "staged")) == []


def test_a_spool_gives_back_what_was_laid(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Rows, positions, findings and times, microflow by microflow."""
    spec = make_spec("healthcare")
    screening, spool, laid = Screening(spec), io.BytesIO(), []
    with pa.ipc.new_stream(spool, spec.schema.arrow) as writer:
        for flow in microflows([make_rows(spec.schema, 230)], 100):
            laid.append(Laid(Place.of(flow), screening.screen(flow.rows), 7 * flow.number))
            lay(writer, laid[-1])
    picked = list(pick_up(spool))
    assert [(one.place, one.pure_ns) for one in picked] == [(one.place, one.pure_ns) for one in laid]
    for one, other in zip(picked, laid, strict=True):
        assert one.screened.rows.equals(other.screened.rows)
        assert np.array_equal(one.screened.kept, other.screened.kept)
        for name in ("checked", "rows", "targets", "starts", "ends"):
            assert np.array_equal(getattr(one.screened.findings, name), getattr(other.screened.findings, name))
