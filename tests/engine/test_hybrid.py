"""The hybrid says why each record went the way it went."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method
from microflow.engine import HybridProcessor, ProcessingSpec, hybrid
from microflow.engine.router import Objectives
from microflow.records import microflows
from microflow.settings import MORSEL
from microflow.timing.clock import PhaseClock

MakeRows = Callable[..., pa.RecordBatch]
MakeSpec = Callable[..., ProcessingSpec]


def reasons(processor: HybridProcessor, rows: pa.RecordBatch) -> dict[str, int]:
    list(processor.process(microflows([rows], 200), PhaseClock()))
    return dict(processor.reasons)


def test_in_a_file_records_go_by_microflow(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """As long as a microflow is quick enough for the urgent ones in it."""
    spec = make_spec("healthcare")
    patient = HybridProcessor(spec, objectives=Objectives(urgent_ns=10**12))
    assert reasons(patient, make_rows(spec.schema, 500)) == {"microflow in time": 500}


def test_so_many_go_together_as_an_urgent_record_can_wait_for(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """A morsel where there is time, a single microflow where there is none."""
    spec = make_spec("iot", Method.K_ANONYMITY, k=2)
    for urgent_ns, spans in ((10**12, 2), (0, MORSEL + 1)):
        clock, processor = PhaseClock(), HybridProcessor(spec, objectives=Objectives(urgent_ns=urgent_ns))
        list(processor.process(microflows([make_rows(spec.schema, 20 * (MORSEL + 1))], 20), clock))
        assert len(clock.pure_spans) == spans


def test_urgent_records_go_ahead_where_their_microflow_is_too_slow(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """Exactly those that the rules name."""
    spec = make_spec("healthcare")
    rows = make_rows(spec.schema, 500, bad=0.1)
    urgent = rows["triage"].to_pylist().count("emergency")
    hurried = HybridProcessor(spec, objectives=Objectives(urgent_ns=0))
    assert reasons(hurried, rows) == {"urgent": urgent, "microflow": 500 - urgent}
    assert urgent > 20


def test_without_rules_nothing_is_urgent(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """And a microflow of urgent records only is fine as well."""
    spec, late = make_spec("healthcare"), Objectives(urgent_ns=0)
    rows = make_rows(spec.schema, 100)
    assert reasons(HybridProcessor(spec, (), late), rows) == {"urgent": 0, "microflow": 100}
    column = rows.schema.get_field_index("triage")
    all_urgent = rows.set_column(column, "triage", pa.array(["emergency"] * 100))
    assert reasons(HybridProcessor(spec, objectives=late), all_urgent) == {"urgent": 100, "microflow": 0}


def test_a_method_that_needs_company_never_goes_alone(make_rows: MakeRows, make_spec: MakeSpec) -> None:
    """k-anonymity works in microflows, however urgent a record is."""
    spec = make_spec("healthcare", Method.K_ANONYMITY, k=3)
    hurried = HybridProcessor(spec, objectives=Objectives(urgent_ns=0))
    assert reasons(hurried, make_rows(spec.schema, 400, bad=0.1)) == {"microflow in time": 400}


def test_it_is_made_without_a_word() -> None:
    """As the seed makes its processors."""
    assert HybridProcessor().describe()["method"] == "tokenization"
    assert HybridProcessor(schema="iot").output_schema.names[0] == "record_id"


def test_what_is_not_pure_is_pre_or_post(
    make_rows: MakeRows, make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel is compiled in pre-processing, results are put together in post-processing: all time has a phase."""
    clock, seen = PhaseClock(), []
    for name in ("BatchKernel", "results_of"):
        original = getattr(hybrid, name)

        def watched(*args: object, name: str = name, original: Callable[..., object] = original) -> object:
            seen.append((name, str(clock.running)))
            return original(*args)

        monkeypatch.setattr(hybrid, name, watched)
    spec = make_spec("healthcare")
    rows = make_rows(spec.schema, 400, bad=0.1)
    for urgent_ns in (0, 10**12):
        with clock.pre():
            processor = HybridProcessor(spec, objectives=Objectives(urgent_ns=urgent_ns))
        list(processor.process(microflows([rows], 200), clock))
    assert set(seen) == {("BatchKernel", "pre_processing"), ("results_of", "post_processing")}
