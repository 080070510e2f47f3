"""Kernel counters of a span: reading and writing calls, context switches, and the threads that made them.

Linux counts every ``read`` and ``write`` family call, by any library (Python, Arrow's C++, Polars' Rust), in
``/proc/<pid>/io``; see proc_pid_io(5). Sockets used through ``send``/``recv`` are not in it. Elsewhere than on Linux
there is nothing to read, and evidence says so.

A span answers for its *helpers*, the threads that it may have set to work: what libraries run outside of Python (the
pools of Arrow and Polars), and threads of Python's in which this package's code runs. *Unrelated threads* do other
work: other threads of Python's (a notebook's, a progress bar's), and `_KEEPERS`, with chores of a library's own.

A thread that has just started is no helper yet, but makes calls, at a time of its own: before its first work
the allocator asks the kernel how many processors there are (glibc reads ``/sys/devices/system/cpu/online``). A pool
that a checksum between two spans had started was thus seen reading in the second. So newborn threads come to rest
before the clock starts; one that starts inside is a helper.
"""

from __future__ import annotations

import os
import resource
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from microflow.timing.refusal import is_foreign, runs_ours

__all__ = ["KernelCounters", "KernelReading", "OtherThreads", "Share", "Traffic"]

#: Bytes that no file of counters reaches.
_LONGEST = 512
_TASKS = Path("/proc/self/task")
#: How the names of threads begin that only ever do chores: Polars removes what dead processes spilled to disk,
#: librdkafka talks to its brokers, ZeroMQ to a notebook.
_KEEPERS = ("polars-ooc-", "rdk:", "ZMQbg/")
#: Seconds between two looks at new threads, and until the wait for one to come to rest ends.
_LOOK_S, _PATIENCE_NS = 0.001, 500_000_000
# Taken before its gate is closed: the guard's own wait is no event to the clocks of other threads.
_sleep = time.sleep


class KernelReading(NamedTuple):
    """The counters at one instant, unparsed: parsing can wait. ``threads`` grows with the process's threads."""

    process: bytes
    thread: bytes
    threads: int
    voluntary: int
    involuntary: int

    @property
    def elsewhere_calls(self) -> int:
        """All that other threads ever called, ended ones included, but for a constant."""
        return _calls_in(self.process) - _calls_in(self.thread)


class Traffic(NamedTuple):
    """Calls and bytes of this thread, calls of other threads, and context switches between two readings."""

    read_calls: int
    write_calls: int
    read_bytes: int
    written_bytes: int
    elsewhere_calls: int
    voluntary_switches: int
    involuntary_switches: int


class KernelCounters:
    """Reader of the calling thread's counters; about 5 µs a reading. One object belongs to one thread.

    Raises:
        OSError: this kernel keeps no such counters.
    """

    def __init__(self) -> None:
        self._opened: list[int] = []
        try:
            for path in ("/proc/self/io", "/proc/thread-self/io", "/proc/self/task"):
                self._opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            self.close()
            raise
        self._process, self._thread, self._tasks = self._opened

    def before(self) -> KernelReading:
        """A reading to start from: the process first, the thread last."""
        process = os.pread(self._process, _LONGEST, 0)
        thread = os.pread(self._thread, _LONGEST, 0)
        threads = os.fstat(self._tasks).st_nlink
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        return KernelReading(process, thread, threads, usage.ru_nvcsw, usage.ru_nivcsw)

    def since(self, start: KernelReading) -> Traffic:
        """The traffic since ``start``, without the calls that the readings themselves made."""
        usage = resource.getrusage(resource.RUSAGE_THREAD)
        switches = usage.ru_nvcsw - start.voluntary, usage.ru_nivcsw - start.involuntary
        process = os.pread(self._process, _LONGEST, 0)
        all_reads, all_writes, _, _ = _difference(start.process, process)
        # A call is counted when it returns: the process has seen two readings of ours, the thread one and this one.
        all_reads -= 2
        if all_reads == all_writes == 0:
            return Traffic(0, 0, 0, 0, 0, *switches)
        thread = os.pread(self._thread, _LONGEST, 0)
        reads, writes, read_bytes, written = _difference(start.thread, thread)
        own_bytes = len(start.thread) + len(process)
        reads -= 2
        return Traffic(
            reads, writes, read_bytes - own_bytes, written, all_reads - reads + all_writes - writes, *switches
        )

    def close(self) -> None:
        """Close the descriptors."""
        while self._opened:
            os.close(self._opened.pop())


def _calls_in(counters: bytes) -> int:
    """Read and write calls together, of the text of a file of counters."""
    return sum(map(int, counters.split(None, 8)[5:8:2]))


def _difference(before: bytes, after: bytes) -> tuple[int, int, int, int]:
    """Read calls, write calls, bytes read, bytes written."""
    old, new = before.split(None, 8), after.split(None, 8)
    read_bytes, written, reads, writes = (int(new[at]) - int(old[at]) for at in (1, 3, 5, 7))
    return reads, writes, read_bytes, written


class Share(NamedTuple):
    """The calls of one other thread in a span. Of threads that ended in it only the sum is known, under no name."""

    name: str
    helper: bool
    calls: int


class _Look(NamedTuple):
    name: str
    at_rest: bool
    calls: int


class OtherThreads:
    """Memory of the calls of every other thread up to the last span; one object belongs to one thread.

    A look takes some 20 µs a thread: `settle` looks when threads came or called between two spans, `shares` when
    one called inside, which is never where all goes well.
    """

    def __init__(self) -> None:
        self._mark: tuple[int, int] | None = None
        self._calls: dict[int, int] = {}
        self._unrelated: dict[int, str] = {}

    def settle(self, reading: KernelReading) -> bool:
        """Wait for newborn threads, if threads came or called since the last time; tells whether so.

        The clock may start after that, from a new reading.
        """
        mark = reading.threads, reading.elsewhere_calls
        if mark == self._mark:
            return False
        self._mark = mark
        now = self._rested()
        self._calls = {tid: look.calls for tid, look in now.items()}
        self._unrelated = {tid: thread.name for tid, thread in _of_python().items() if _is_unrelated(thread)}
        return True

    def shares(self, calls: int, acted: Mapping[int, str]) -> list[Share]:
        """Shares of the threads in the ``calls`` of a finished span; ``acted`` names threads that events reported.

        Helpers come first, and never with more than ``calls`` in all: some may have called since.
        """
        # Python drops a thread that ends before the kernel does: what it was is stored, not looked up.
        unrelated, python, now = {**self._unrelated, **acted}, _of_python(), _looks()
        found = []
        for tid, look in now.items():
            if (made := look.calls - self._calls.get(tid, 0)) > 0:
                name, helper = _who(look, python.get(tid), unrelated.get(tid))
                found.append(Share(name, helper, made))
        if (ended := calls - sum(share.calls for share in found)) > 0:
            found.append(Share("", unrelated.keys() <= now.keys(), ended))
        shares = []
        for share in sorted(found, key=lambda share: not share.helper):
            if own := min(share.calls, calls):
                shares.append(share._replace(calls=own))
                calls -= own
        return shares

    def _rested(self) -> dict[int, _Look]:
        """All threads, as soon as those that Python did not start, and that are new, were seen at rest twice."""
        deadline, before = time.perf_counter_ns() + _PATIENCE_NS, None
        while True:
            now = _looks()
            newborn = {tid: now[tid] for tid in now.keys() - self._calls.keys() - _of_python().keys()}
            at_rest = newborn == before and all(look.at_rest for look in newborn.values())
            if not newborn or at_rest or time.perf_counter_ns() > deadline:
                return now
            before = newborn
            _sleep(_LOOK_S)


def _looks() -> dict[int, _Look]:
    """Every thread but this one."""
    others = {int(task.name) for task in _TASKS.iterdir()} - {threading.get_native_id()}
    return {tid: look for tid in others if (look := _look(f"{_TASKS}/{tid}")) is not None}


def _look(task: str) -> _Look | None:
    try:
        status, calls = _read(f"{task}/stat"), _calls_in(_read(f"{task}/io"))
    except OSError:
        return None  # it ended meanwhile
    name, _, rest = status.partition(b"(")[2].rpartition(b")")
    # Asleep, as one is who waits for work; running, waiting for a disk or stopped by a debugger is none of this.
    return _Look(name.decode("utf-8", "replace"), rest.split(None, 1)[0] == b"S", calls)


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _LONGEST)
    finally:
        os.close(descriptor)


def _of_python() -> dict[int, threading.Thread]:
    return {
        thread.native_id: thread
        for thread in threading.enumerate()
        if thread.native_id is not None and not is_foreign(thread)
    }


def _is_unrelated(thread: threading.Thread) -> bool:
    return thread.ident is None or not runs_ours(sys._current_frames().get(thread.ident))  # noqa: SLF001


def _who(look: _Look, thread: threading.Thread | None, unrelated: str | None) -> tuple[str, bool]:
    """Its name, and whether it is a helper."""
    if thread is not None:
        return thread.name, not _is_unrelated(thread)
    if unrelated is not None:
        return unrelated, False
    return look.name, not look.name.startswith(_KEEPERS)
