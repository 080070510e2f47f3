"""What guards of several processes saw is added up; what they did not say shows nothing."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from microflow.engine.split_work import Effort
from microflow.pipeline.metrics import metrics_document
from microflow.store.progress import JobProgress
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityEvidence, PurityGuard
from microflow.timing.meters import ResourceMeter


def effort(worker: str, spans: int, **seen: int) -> Effort:
    return Effort(worker, evidence=asdict(PurityEvidence(kernel_counters=True, spans=spans, **seen)))


@pytest.mark.parametrize(
    ("efforts", "spans", "pure"),
    [
        ([effort("a", 5), effort("b", 2), effort("a", 3)], 7, True),
        ([effort("a", 5), effort("a", 6, write_calls=1)], 6, False),
        ([effort("a", 5), Effort("b")], 5, None),
        ([effort("a", 0)], 0, None),
        ([], 0, None),
    ],
    ids=["the most spans of each", "one touched a file", "one said nothing", "no span", "no worker"],
)
def test_evidence_of_workers(efforts: list[Effort], spans: int, pure: bool | None) -> None:
    """The evidence of a process grows with its answers, which may come late; without spans nothing is pure."""
    document = metrics_document(
        job_id="job",
        pipeline_type="batch_microflow_spark",
        clock=PhaseClock(guard=PurityGuard()),
        progress=JobProgress(),
        batch_rows=[],
        usage=ResourceMeter().usage(),
        method={},
        efforts=efforts,
    )
    seen = document["research_benefits"]["timing_contamination"]
    assert (seen["spans"], seen["is_pure"]) == (spans, pure)
