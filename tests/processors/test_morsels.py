"""Microflows worked on together give what each gives by itself."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, Scope
from microflow.microflows import Microflow
from microflow.processors import ProcessingSpec
from microflow.processors.contract import Processed
from microflow.processors.kernel import BatchKernel
from microflow.processors.morsels import Morsel, morsels, results_of

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
        for result in results_of(morsel.places, *kernel.run_morsel(morsel), pure_ns=1_001 * (turn + 1))
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
