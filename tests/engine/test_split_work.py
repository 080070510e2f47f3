"""The work in memory streams: it never reads further ahead than it must, and leaves nothing behind."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, Scope
from microflow.engine import HybridProcessor, LocalBatchProcessor, ProcessingSpec, StormStreamProcessor
from microflow.engine.kernel import BatchKernel, Morsel
from microflow.errors import TimingContaminationError
from microflow.records import Microflow, microflows
from microflow.settings import MORSEL
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

MakeRows = Callable[..., pa.RecordBatch]
MakeSpec = Callable[..., ProcessingSpec]


@pytest.mark.parametrize(
    ("engine", "together"), [(LocalBatchProcessor, MORSEL), (HybridProcessor, MORSEL), (StormStreamProcessor, 1)]
)
def test_one_morsel_is_held_at_a_time(engine: type, together: int, make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """A result leaves before the next morsel but one microflow is read: memory does not grow with the source."""
    spec, read = make_spec("iot"), []

    def source() -> Iterator[Microflow]:
        for flow in microflows([make_rows(spec.schema, 300)], 10):
            read.append(flow.number)
            yield flow

    for done in engine(spec).process(source(), PhaseClock()):
        assert len(read) <= (done.number // together + 1) * together + 1


@pytest.mark.parametrize("engine", [LocalBatchProcessor, HybridProcessor, StormStreamProcessor])
def test_an_empty_source_is_no_error(engine: type, make_spec: MakeSpec) -> None:
    """No microflow in, none out, by any method."""
    for method in Method:
        assert list(engine(make_spec("iot", method)).process(iter(()), PhaseClock())) == []


def test_two_passes_wait_on_disk_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_rows: MakeRows, make_spec: MakeSpec
) -> None:
    """The spool is where temporary files belong, has no name while it is used, and is gone afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spec = make_spec("healthcare", Method.K_ANONYMITY, k=3)
    for _ in LocalBatchProcessor(spec).process(microflows([make_rows(spec.schema, 500)], 100), PhaseClock()):
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []


def test_classes_span_microflows(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """Over the whole data set nine rows of a microflow find their tenth elsewhere; alone they never do."""

    def suppressed(scope: Scope) -> int:
        spec = make_spec("healthcare", Method.K_ANONYMITY, k=10, scope=scope)
        flows = microflows([make_rows(spec.schema, 600, bad=0.0)], 9)
        return sum(len(done.suppressed) for done in LocalBatchProcessor(spec).process(flows, PhaseClock()))

    assert suppressed(Scope.MICROFLOW) == 600
    assert suppressed(Scope.DATASET) == 0


def test_every_morsel_is_one_pure_span(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """Its length travels with the results of its microflows, shared out by their rows without a remainder."""
    spec, clock = make_spec("iot"), PhaseClock()
    done = list(LocalBatchProcessor(spec).process(microflows([make_rows(spec.schema, 20 * MORSEL - 5)], 10), clock))
    shares = [one.pure_ns for one in done]
    assert [sum(shares[:MORSEL]), sum(shares[MORSEL:])] == list(clock.pure_spans)
    assert shares[-1] == pytest.approx(shares[-2] / 2, abs=2)


def test_work_outside_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make_rows: MakeRows, make_spec: MakeSpec
) -> None:
    """A kernel that opens a file while the clock runs does not get away with it."""
    spec, run = make_spec("iot"), BatchKernel.run_morsel

    def cheat(self: BatchKernel, morsel: Morsel) -> object:
        (tmp_path / "cache").write_text("x")
        return run(self, morsel)

    monkeypatch.setattr(BatchKernel, "run_morsel", cheat)
    flows = microflows([make_rows(spec.schema, 17)], 10)
    with pytest.raises(TimingContaminationError, match="test_split_work"):
        list(LocalBatchProcessor(spec).process(flows, PhaseClock(guard=PurityGuard())))
