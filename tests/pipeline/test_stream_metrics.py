"""Metrics of a stream for Prometheus."""

from __future__ import annotations

import socket
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import SetupError
from microflow.pipeline.stream_job import Progress
from microflow.pipeline.stream_metrics import StreamMetrics

SCHEMA = load_schema("healthcare")


@pytest.fixture
def service() -> MessageService:
    settings = MethodSettings(Method.TOKENIZATION)
    return MessageService(ProcessingSpec(SCHEMA, load_policy(SCHEMA.policy), settings, key=bytes(32)))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_what_is_scraped_is_what_was_committed(service: MessageService) -> None:
    """Counts, lag, findings by rule, and a cumulative histogram whose count is the records'."""
    service([b'{"ssn": "219-09-9999"}', b"{"])
    metrics, port = StreamMetrics(service), free_port()
    metrics.observe(Progress(1_002, 5, 7, [("urgent", 2, 0.004), ("high load", 1_000, 0.3)]))
    metrics.observe(Progress(1_003, 5, 7, [("urgent", 1, 20.0)]))
    with metrics.serve(port):
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    samples = {
        (one.name, *sorted(one.labels.values(), reverse=True)): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }
    assert samples["microflow_messages_total", "unreadable"] == 1
    assert samples["microflow_findings_total", "hipaa-ssn"] == 1
    assert samples["microflow_committed_total",] == 1_003
    assert samples["microflow_lag",] == 7
    assert samples["microflow_latency_seconds_bucket", "urgent", "0.0025"] == 0
    assert samples["microflow_latency_seconds_bucket", "urgent", "0.005"] == 2
    assert samples["microflow_latency_seconds_bucket", "urgent", "10.0"] == 2
    assert samples["microflow_latency_seconds_count", "urgent"] == 3
    assert samples["microflow_latency_seconds_sum", "high load"] == pytest.approx(300)
    assert "219-09-9999" not in text


def test_a_port_that_is_taken_is_said(service: MessageService) -> None:
    """One line, no traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(SetupError, match="cannot be used"), StreamMetrics(service).serve(taken.getsockname()[1]):
            pass
