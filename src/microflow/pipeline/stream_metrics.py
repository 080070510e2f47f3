"""Prometheus metrics of a running stream: counts, lag, latency by route, violations by rule; never a value.

Everything is counted as it is committed and written down when somebody asks, so that a record costs nothing here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from microflow.engine.service import MessageService
from microflow.errors import SetupError
from microflow.pipeline.stream_job import Progress

__all__ = ["StreamMetrics"]

#: Upper bounds of the latency's histogram in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class StreamMetrics(Collector):
    """Collector of the progress of a `microflow.pipeline.stream_job.Stream`; `serve` answers scrapes.

    Args:
        service: Whose counts are shown.
    """

    def __init__(self, service: MessageService) -> None:
        self._service = service
        self._progress = Progress()
        self._cells: defaultdict[str, Counter[int]] = defaultdict(Counter)
        self._sums: defaultdict[str, float] = defaultdict(float)

    def observe(self, progress: Progress) -> None:
        """Take in what was committed since the last call."""
        self._progress = progress
        for route, count, seconds in progress.latencies:
            self._cells[route][bisect_left(BOUNDS, seconds)] += count
            self._sums[route] += count * seconds

    def collect(self) -> Iterator[Metric]:
        """All metrics, as they are now."""
        messages = CounterMetricFamily("microflow_messages", "Messages by what became of them.", labels=["outcome"])
        for outcome, count in dict(self._service.counts).items():
            messages.add_metric([outcome], count)
        findings = CounterMetricFamily("microflow_findings", "Violations by rule.", labels=["rule"])
        for rule, count in dict(self._service.findings).items():
            findings.add_metric([rule], count)
        committed = CounterMetricFamily("microflow_committed", "Messages committed.", value=self._progress.committed)
        again = CounterMetricFamily(
            "microflow_given_again", "Messages whose commit was aborted.", value=self._progress.given_again
        )
        lag = GaugeMetricFamily("microflow_lag", "Messages that wait.", value=self._progress.lag)
        held = GaugeMetricFamily("microflow_held", "Records that are held back for others.", value=self._progress.held)
        yield from (messages, findings, committed, again, lag, held, self._latency())

    @contextmanager
    def serve(self, port: int, host: str = "127.0.0.1") -> Iterator[None]:
        """Answer at ``http://host:port/metrics`` until the block is left.

        Raises:
            SetupError: the port is taken.
        """
        registry = CollectorRegistry()
        registry.register(self)
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise SetupError(f"the metrics' port {port} cannot be used: {error.strerror}") from error
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _latency(self) -> Metric:
        latency = HistogramMetricFamily(
            "microflow_latency_seconds", "From arrival in this process to the commit, by route.", labels=["route"]
        )
        for route, cells in dict(self._cells).items():
            total, buckets = 0, []
            for cell, bound in enumerate((*map(str, BOUNDS), "+Inf")):
                total += cells[cell]
                buckets.append((bound, total))
            latency.add_metric([route], buckets, sum_value=self._sums[route])
        return latency
