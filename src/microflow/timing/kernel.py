"""What the kernel saw: system calls that read or wrote, and context switches, by thread and by process.

Linux counts every ``read`` and ``write`` family call, whoever made it (Python, Arrow's C++, Polars' Rust), in
``/proc/<pid>/io``; see proc_pid_io(5). Sockets used through ``send``/``recv`` are not in it. Elsewhere than on Linux
there is nothing to read, and evidence says so.
"""

from __future__ import annotations

import os
import resource
from contextlib import ExitStack
from typing import NamedTuple

__all__ = ["LONGEST", "KernelCounters", "Reading", "Traffic", "calls_in"]

#: Bytes that no file of counters reaches.
LONGEST = 512


class Reading(NamedTuple):
    """The counters at one instant, unparsed: parsing can wait. ``threads`` grows with the process's threads."""

    process: bytes
    thread: bytes
    threads: int
    voluntary: int
    involuntary: int

    @property
    def elsewhere_calls(self) -> int:
        """All that other threads ever called, ended ones included, but for a constant."""
        return calls_in(self.process) - calls_in(self.thread)


class Traffic(NamedTuple):
    """What happened between two readings: calls and bytes of this thread, calls of all other threads, switches."""

    read_calls: int
    write_calls: int
    read_bytes: int
    written_bytes: int
    elsewhere_calls: int
    voluntary_switches: int
    involuntary_switches: int


class KernelCounters:
    """Reads the calling thread's counters; about 5 µs a reading. One object belongs to one thread.

    Raises:
        OSError: this kernel keeps no such counters.
    """

    def __init__(self) -> None:
        with ExitStack() as opened:
            self._process, self._thread, self._tasks = (
                _open(path, opened) for path in ("/proc/self/io", "/proc/thread-self/io", "/proc/self/task")
            )
            self._opened = opened.pop_all()

    def before(self) -> Reading:
        """A reading to start from: the process first, the thread last."""
        process = os.pread(self._process, LONGEST, 0)
        thread = os.pread(self._thread, LONGEST, 0)
        threads = os.fstat(self._tasks).st_nlink
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        return Reading(process, thread, threads, usage.ru_nvcsw, usage.ru_nivcsw)

    def since(self, start: Reading) -> Traffic:
        """The traffic since ``start``, without the calls that the readings themselves made."""
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        switches = usage.ru_nvcsw - start.voluntary, usage.ru_nivcsw - start.involuntary
        process = os.pread(self._process, LONGEST, 0)
        all_reads, all_writes, _, _ = _difference(start.process, process)
        # A call is counted when it returns: the process has seen two readings of ours, the thread one and this one.
        all_reads -= 2
        if all_reads == all_writes == 0:
            return Traffic(0, 0, 0, 0, 0, *switches)
        thread = os.pread(self._thread, LONGEST, 0)
        reads, writes, read_bytes, written = _difference(start.thread, thread)
        own_bytes = len(start.thread) + len(process)
        reads -= 2
        return Traffic(
            reads, writes, read_bytes - own_bytes, written, all_reads - reads + all_writes - writes, *switches
        )

    def close(self) -> None:
        """Give the descriptors back."""
        self._opened.close()


def calls_in(counters: bytes) -> int:
    """Read and write calls together, of the text of a file of counters."""
    fields = counters.split(None, 8)
    return int(fields[5]) + int(fields[7])


def _open(path: str, opened: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    opened.callback(os.close, descriptor)
    return descriptor


def _difference(before: bytes, after: bytes) -> tuple[int, int, int, int]:
    """Read calls, write calls, bytes read, bytes written."""
    old, new = before.split(None, 8), after.split(None, 8)
    read_bytes, written, reads, writes = (int(new[at]) - int(old[at]) for at in (1, 3, 5, 7))
    return reads, writes, read_bytes, written
