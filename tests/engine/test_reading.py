"""Screened morsels come back from a spool as they went."""

import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa

from microflow.engine import ProcessingSpec
from microflow.engine.kernel import Screening, morsels
from microflow.engine.reading import Part, Spooled, lay, pick_up
from microflow.records import microflows


def test_a_spool_gives_back_what_was_laid(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Rows, positions, findings, times, and what was refused here or in a file, morsel by morsel."""
    spec = make_spec("healthcare")
    screening, spool, laid = Screening(spec), io.BytesIO(), []
    texts = (b"", b"1,column,reason\n", Part("/tmp/ä.refused", 0, 9, last=True))
    with pa.ipc.new_stream(spool, spec.schema.arrow) as writer:
        for turn, morsel in enumerate(morsels(microflows([make_rows(spec.schema, 530)], 100), most=2)):
            laid.append(Spooled(morsel, *screening.screen(morsel.rows), 7 * turn, turn, texts[turn]))
            lay(writer, laid[-1])
    spool.seek(0)
    picked = list(pick_up(spool))
    for one, other in zip(picked, laid, strict=True):
        for name in ("pure_ns", "refused", "text"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("number", "first_row"):
            assert getattr(one.morsel, name) == getattr(other.morsel, name)
        assert one.morsel.ends.tolist() == other.morsel.ends.tolist()
        assert one.screened.rows.equals(other.screened.rows)
        assert np.array_equal(one.screened.kept, other.screened.kept)
        for name in ("checked", "rows", "targets", "starts", "ends"):
            assert np.array_equal(getattr(one.findings, name), getattr(other.findings, name))
