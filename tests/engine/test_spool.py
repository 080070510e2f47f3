"""Screened morsels come back from a spool as they went."""

import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from microflow.engine import ProcessingSpec
from microflow.engine.kernel import Screening
from microflow.engine.morsels import morsels
from microflow.engine.spool import Laid, batches_of, lay, pick_up
from microflow.records import microflows


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
