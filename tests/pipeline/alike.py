"""The same job by another scheduler: how its answer is taken, and the methods whose answers are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from microflow.anonymize.contract import Method, MethodSettings, Scope
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.store.connector import PostgreSQLConnector

METHODS = {
    "tokenization": MethodSettings(Method.TOKENIZATION),
    "k_anonymity": MethodSettings(Method.K_ANONYMITY, k=3),
    "microflow": MethodSettings(Method.K_ANONYMITY, k=3, scope=Scope.MICROFLOW),
    "noise": MethodSettings(Method.DIFFERENTIAL_PRIVACY, seed=7),
}


def run(job: JobSpec) -> tuple[bytes, bytes, dict[str, object]]:
    """Output, quarantine, and what became of the rows."""
    metrics = PipelineOrchestrator(None).run(job)
    counted = metrics["processing_metrics"]
    assert metrics["research_benefits"]["timing_contamination"]["is_pure"] is True
    fates = ("total_records", "released", "suppressed", "quarantined", "violations_found")
    quarantine = job.quarantine.read_bytes() if job.quarantine and job.quarantine.exists() else b""
    return Path(job.output).read_bytes(), quarantine, {name: counted[name] for name in fates}


def topic_results(connector: PostgreSQLConnector, consumer: str, topic: str) -> list[tuple[Any, ...]]:
    """Partition, offset, violations, record and reason of everything that a stream committed, in order."""
    statement = (
        'SELECT partition, "offset", violation_count, record, reason FROM topic_results'
        ' WHERE consumer = %s AND topic = %s ORDER BY partition, "offset"'
    )
    return connector.query(statement, (consumer, topic))
