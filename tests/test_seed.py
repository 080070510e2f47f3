"""The document the project was commissioned from, snippet by snippet: what it promised is there and is measured."""

from __future__ import annotations

import inspect
import json
import uuid
from pathlib import Path

import pytest

import microflow

HEALTHCARE = {
    "record_id": 1, "age": 34, "sex": "F", "zip": "941", "diagnosis": "E11", "consent": "granted",
    "ssn": "123-45-6789",
}  # fmt: skip


def test_every_name_is_importable_from_the_package() -> None:
    """A caller of the seed's names needs to know no other module; a wrong name lists the right ones."""
    for name in microflow.__all__:
        assert getattr(microflow, name) is not None
    with pytest.raises(AttributeError, match="PipelineOrchestrator"):
        microflow.Orchestrator  # noqa: B018 - the access is the test


@pytest.mark.spark
def test_batch_from_file_to_file(tmp_path: Path) -> None:
    """Microflow batch processing: the seed's call, its parameters and defaults, its times beside its document."""
    call = inspect.signature(microflow.SparkBatchProcessor.process_batch_microflow)
    assert list(call.parameters)[1:5] == ["input_file", "output_file", "batch_size", "anonymization_method"]
    assert call.parameters["batch_size"].default == 1000
    assert call.parameters["anonymization_method"].default == "k_anonymity"
    source, output = tmp_path / "in.csv", tmp_path / "out.csv"
    from microflow.datasets import generate
    from microflow.sinks.writers import open_writer

    rows = next(iter(generate("healthcare", 500, 3))).rows
    with open_writer(source, rows.schema) as writer:
        writer.write(rows)
    result = microflow.SparkBatchProcessor().process_batch_microflow(source, output, batch_size=100)
    assert output.is_file()
    assert result["pure_processing_time"] > 0
    assert {"pre_processing_time", "post_processing_time", "timing_separation"} <= set(result)
    assert {"pre_processing", "pure_processing", "post_processing"} <= set(result["timing_separation"])
    counted = result["processing_metrics"]
    assert counted["total_records"] + counted["quarantined"] == 500
    assert counted["batches_processed"] == 5
    assert counted["records_per_second"] > 0
    benefits = result["research_benefits"]
    assert {"database_io_overhead", "timing_contamination", "memory_bounds", "fault_tolerance"} <= set(benefits)
    assert benefits["database_io_overhead"] is not None


def test_a_record_of_a_stream() -> None:
    """Pure stream processing: one record in, one out with its own time; violations and the method by themselves."""
    processor = microflow.StormStreamProcessor()
    done = processor.process_record(HEALTHCARE)
    assert done["ssn"] != HEALTHCARE["ssn"]
    assert 0 < done["pure_processing_time"] < 1
    assert [one.rule for one in processor.check_compliance_realtime(HEALTHCARE)]
    assert processor.anonymize_realtime(HEALTHCARE, "tokenization")["ssn"] != HEALTHCARE["ssn"]


def test_an_unknown_field_is_refused_by_name() -> None:
    """A field that nobody described would otherwise vanish without a word; its value is not in the message."""
    with pytest.raises(microflow.MicroflowError, match="shoe_size") as refused:
        microflow.StormStreamProcessor().process_record({**HEALTHCARE, "shoe_size": "forty-two"})
    assert "forty-two" not in str(refused.value)


def test_one_record_is_checked_in_detail() -> None:
    """``detailed_compliance_check(record, data_type)`` says compliant or which rule, where."""
    answer = microflow.detailed_compliance_check(HEALTHCARE, "healthcare")
    assert answer["compliant"] is False
    assert answer["violations"]


@pytest.mark.database
def test_records_and_violations_are_inserted_as_batches(database_url: str) -> None:
    """One transaction for a batch, ids in the order of the records; the connector goes by both of its names."""
    job = f"seed-{uuid.uuid4().hex[:8]}"
    assert microflow.PostgresConnector is microflow.PostgreSQLConnector
    with microflow.PostgresConnector(database_url) as connector:
        ids = connector.batch_insert_records([{"job_id": job, "record_id": f"{job}_{n}"} for n in range(3)])
        assert ids == sorted(ids)
        assert len(ids) == 3
        assert connector.batch_insert_violations([{"job_id": job, "rule": "r", "field": "f"}])
        with connector.get_cursor() as cursor:
            cursor.execute("SELECT record_id FROM data_records WHERE job_id = %s ORDER BY id", (job,))
            assert [row[0] for row in cursor.fetchall()] == [f"{job}_{n}" for n in range(3)]


@pytest.mark.database
def test_the_orchestrator_runs_a_job_and_its_document_is_json(database_url: str, tmp_path: Path) -> None:
    """Pipeline orchestration: phases, one commit of everything, numbers as numbers and every one of them measured."""
    from microflow.anonymize.contract import Method
    from microflow.datasets import generate
    from microflow.sinks.writers import open_writer

    source = tmp_path / "in.csv"
    rows = next(iter(generate("healthcare", 300, 4))).rows
    with open_writer(source, rows.schema) as writer:
        writer.write(rows)
    job = microflow.JobSpec(source, tmp_path / "out.csv", "healthcare", microflow.MethodSettings(Method.K_ANONYMITY))
    with microflow.PostgreSQLConnector(database_url) as connector:
        metrics = json.loads(json.dumps(microflow.PipelineOrchestrator(connector).run(job)))
    assert {"job_id", "pipeline_type", "timing_separation", "processing_metrics", "research_benefits"} <= set(metrics)
    assert None not in _leaves(metrics["research_benefits"])
    assert all(isinstance(value, int | float) for value in metrics["timing_separation"].values())


def _leaves(document: object) -> list[object]:
    if isinstance(document, dict):
        return [leaf for value in document.values() for leaf in _leaves(value)]
    return [document]
