"""The seed's names of the stream, and its service times."""

from collections.abc import Callable

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, Scope
from microflow.engine import ProcessingSpec, StormStreamProcessor, build_processor
from microflow.errors import MicroflowError
from microflow.records import microflows
from microflow.timing.clock import PhaseClock

LEAKING = {"record_id": "7", "patient_name": "Ann Smith", "ssn": "123-45-6789", "age": "95", "patient_ref": "ab12"}


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> StormStreamProcessor:
    monkeypatch.delenv("MICROFLOW_TOKEN_KEY", raising=False)
    monkeypatch.delenv("MICROFLOW_TOKEN_KEY_FILE", raising=False)
    return StormStreamProcessor()


def test_process_record_is_as_the_seed_shows_it(processor: StormStreamProcessor) -> None:
    """Text in, anonymized record out, with the time it took in seconds; nothing that identifies is left."""
    record = processor.process_record(LEAKING)
    assert 0 < record.pop("pure_processing_time") < 1
    assert record["record_id"] == 7
    assert record["age"] == 90
    assert record["ssn"] is None
    assert str(record["patient_ref"]).startswith("t2.")
    assert not {"Ann Smith", "123-45-6789", "ab12"} & {str(value) for value in record.values()}


def test_tokens_agree_within_a_processor_and_between_keys_not(processor: StormStreamProcessor) -> None:
    """Without a key in the environment each processor draws its own."""
    one, two, other = (p.process_record(LEAKING)["patient_ref"] for p in (processor, processor, StormStreamProcessor()))
    assert one == two != other


def test_violations_are_named_without_their_values(processor: StormStreamProcessor) -> None:
    """Rule, field and article; the record itself is left alone."""
    violations = processor.check_compliance_realtime(LEAKING)
    assert {one.rule for one in violations} >= {"hipaa-ssn", "hipaa-name", "hipaa-age"}
    assert "Ann" not in str(violations)


def test_anonymize_realtime_takes_a_method(processor: StormStreamProcessor) -> None:
    """Record-wise methods work on one record; k-anonymity says why it cannot."""
    assert processor.anonymize_realtime(LEAKING)["age"] == 95
    assert processor.anonymize_realtime(LEAKING, "differential_privacy")["patient_ref"] is None
    with pytest.raises(MicroflowError, match="cannot release a record by itself"):
        processor.anonymize_realtime(LEAKING, "k_anonymity")


def test_a_record_that_may_not_be_kept_comes_back_empty(processor: StormStreamProcessor) -> None:
    """Consent withdrawn: every field is None, and the time is still there."""
    record = processor.process_record({**LEAKING, "consent": "withdrawn"})
    assert record.pop("pure_processing_time") > 0
    assert set(record.values()) == {None}


def test_every_record_has_a_service_time(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Measured one by one, never time over number; the sum stays below the pure time."""
    spec, clock = make_spec("iot"), PhaseClock()
    stream = StormStreamProcessor(spec)
    list(stream.process(microflows([make_rows(spec.schema, 700)], 100), clock))
    summary = stream.service.summary()
    assert summary.count == 700
    assert 0 < summary.p50_ns <= summary.p99_ns <= summary.max_ns
    assert summary.mean_ns * 700 <= clock.pure_ns * 1.01


@pytest.mark.parametrize(
    ("pipeline", "scope"),
    [("stream", Scope.DATASET), ("stream", Scope.MICROFLOW), ("hybrid", Scope.DATASET), ("batch", Scope.STREAM)],
)
def test_a_scope_that_a_pipeline_cannot_see_is_refused(
    make_spec: Callable[..., ProcessingSpec], pipeline: str, scope: Scope
) -> None:
    """Before the first record, with the scopes it can work by."""
    with pytest.raises(MicroflowError, match=f"a {pipeline} pipeline cannot work by scope") as caught:
        build_processor(make_spec("iot", Method.K_ANONYMITY, scope=scope), pipeline)
    assert "it can by" in caught.value.hint


def test_an_unknown_pipeline_is_refused(make_spec: Callable[..., ProcessingSpec]) -> None:
    """With the words that are known."""
    with pytest.raises(MicroflowError, match="no pipeline") as caught:
        build_processor(make_spec("iot"), "batches")
    assert "hybrid" in caught.value.hint
