"""Meters of what a run took: latencies in a histogram, and CPU seconds and memory of a process and its children."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psutil

__all__ = ["LatencyRecorder", "LatencySummary", "ResourceMeter", "ResourceUsage", "TreeWatch"]

#: 100 ns to one hour; a longer latency counts as one hour, its maximum stays exact.
_LOWEST_NS, _HIGHEST_NS = 100, 3_600 * 10**9
_DIGITS = 3
#: Three digits need 2,048 steps per power of two; the lowest value sets the finest step: 64 ns.
_STEP_BITS, _UNIT_BITS = 11, 6


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Percentiles in nanoseconds; all 0 where ``count`` is 0."""

    count: int
    mean_ns: float
    p50_ns: int
    p90_ns: int
    p99_ns: int
    p999_ns: int
    max_ns: int


class LatencyRecorder:
    """Recorder of latencies, one by one or by the array, in a few kilobytes however many (Tene, HdrHistogram).

    The relative error is at most 0.1 %.

    >>> recorder = LatencyRecorder()
    >>> recorder.record_many(np.arange(1, 1001) * 1000)
    >>> recorder.summary().p99_ns // 1000
    990
    """

    def __init__(self) -> None:
        # An extra of the lab: a job of files meters its resources without it.
        from hdrh.histogram import HdrHistogram

        self._histogram = HdrHistogram(_LOWEST_NS, _HIGHEST_NS, _DIGITS)
        self._max_ns = 0

    def record(self, ns: int) -> None:
        """Count one latency."""
        self._max_ns = max(self._max_ns, ns)
        self._histogram.record_value(min(ns, _HIGHEST_NS))

    def record_many(self, ns: npt.NDArray[np.integer]) -> None:
        """Count many latencies (int64) at about the price of their distinct histogram cells."""
        if len(ns) == 0:
            return
        self._max_ns = max(self._max_ns, int(ns.max()))
        clipped = np.clip(ns, 0, _HIGHEST_NS).astype(np.int64)
        bits = np.frexp(clipped.astype(np.float64))[1]
        shift = np.maximum(bits - _STEP_BITS, _UNIT_BITS)
        cells, counts = np.unique(clipped >> shift << shift, return_counts=True)
        for cell, count in zip(cells.tolist(), counts.tolist(), strict=True):
            self._histogram.record_value(cell, count)

    def summary(self) -> LatencySummary:
        """The percentiles so far."""
        histogram = self._histogram
        if histogram.total_count == 0:
            return LatencySummary(0, 0.0, 0, 0, 0, 0, 0)
        p50, p90, p99, p999 = (
            # The histogram answers with the upper end of a cell, which may lie above anything seen.
            min(int(histogram.get_value_at_percentile(percentile)), self._max_ns)
            for percentile in (50, 90, 99, 99.9)
        )
        mean = float(histogram.get_mean_value())
        return LatencySummary(histogram.total_count, mean, p50, p90, p99, p999, self._max_ns)


#: ``ru_maxrss`` is in KiB on Linux and in bytes on macOS.
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """Wall and CPU seconds, peak resident memory (children included), and resident memory before the work began."""

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    rss_before_bytes: int

    def bytes_per_record(self, records: int) -> float:
        """Memory the work added at its peak, per record: falls towards 0 where memory is bounded."""
        return max(0, self.peak_rss_bytes - self.rss_before_bytes) / records if records else 0.0


class ResourceMeter:
    """Meter of this process from creation on, together with the children it has waited for.

    The peak is that of the process's whole life (the kernel keeps no other): take a fresh process for each measurement.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter_ns()
        self._cpu = _cpu_seconds()
        self._rss = psutil.Process().memory_info().rss

    def usage(self) -> ResourceUsage:
        """Resources used up to now."""
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        return ResourceUsage(
            wall_s=(time.perf_counter_ns() - self._started) / 1e9,
            cpu_s=_cpu_seconds() - self._cpu,
            peak_rss_bytes=(own + child) * _MAXRSS_UNIT,
            rss_before_bytes=self._rss,
        )


def _cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


class TreeWatch:
    """Meter of a process and its living descendants (a JVM, Spark's workers), one sample at a time.

    The watched process is not touched. A descendant's CPU time counts as of the last sample that saw it alive, so that
    what lives shorter than the sampling interval may be missed. Resident pages shared between processes count in each.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cpu_s: dict[int, float] = {}
        self.peak_rss_bytes = 0

    @property
    def cpu_s(self) -> float:
        """CPU seconds of all processes seen."""
        return sum(self._cpu_s.values())

    def sample(self) -> None:
        """Look once; a process that ends meanwhile is skipped."""
        resident = 0
        try:
            root = psutil.Process(self._pid)
            tree = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for process in tree:
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    resident += process.memory_info().rss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            self._cpu_s[process.pid] = times.user + times.system
        self.peak_rss_bytes = max(self.peak_rss_bytes, resident)
