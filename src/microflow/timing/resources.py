"""Resources besides time: CPU seconds and memory, of a process and of all its children."""

from __future__ import annotations

import resource
import sys
import time
from dataclasses import dataclass

import psutil

__all__ = ["ResourceMeter", "ResourceUsage", "TreeWatch"]

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
