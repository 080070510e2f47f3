"""Whose calls were they? What other threads read or wrote while the clock ran, put to those that did it.

A span answers for its *helpers*, the threads that it may have set to work: what libraries run outside of Python (the
pools of Arrow and Polars), and threads of Python's in which this package's code runs. *Bystanders* go about their own
business: other threads of Python's (a notebook's, a progress bar's), and `_KEEPERS`, with chores of a library's own.

A thread just born is nobody's helper yet, but calls all the same, and at a moment of its own: before its first work
the allocator asks the kernel how many processors there are (glibc reads ``/sys/devices/system/cpu/online``). A pool
that a checksum between two spans had started was thus seen reading in the second. So newborn threads come to rest
before the clock starts; one that is born inside is a helper.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from microflow.timing.kernel import LONGEST, Reading, calls_in
from microflow.timing.refusal import is_foreign, runs_ours

__all__ = ["OtherThreads", "Share"]

_TASKS = Path("/proc/self/task")
#: How the names of threads begin that only ever do chores: Polars removes what dead processes spilled to disk,
#: librdkafka talks to its brokers, ZeroMQ to a notebook.
_KEEPERS = ("polars-ooc-", "rdk:", "ZMQbg/")
#: Between two looks at newborn threads, and until one is given up that does not come to rest.
_LOOK_S, _PATIENCE_NS = 0.001, 500_000_000
# Taken before its gate is closed: the guard's own wait is no event to the clocks of other threads.
_sleep = time.sleep


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
    """Keeps in mind what every other thread had called up to the last span; one object belongs to one thread.

    A look takes some 20 µs a thread: `settle` looks when threads came or called between two spans, `shares` when
    one called inside, which is never where all goes well.
    """

    def __init__(self) -> None:
        self._mark: tuple[int, int] | None = None
        self._calls: dict[int, int] = {}
        self._bystanders: dict[int, str] = {}

    def settle(self, reading: Reading) -> bool:
        """Wait for newborn threads, if threads came or called since the last time; tells whether so.

        The clock may start after that, from a new reading.
        """
        mark = reading.threads, reading.elsewhere_calls
        if mark == self._mark:
            return False
        self._mark = mark
        now = self._rested()
        self._calls = {tid: look.calls for tid, look in now.items()}
        self._bystanders = {tid: thread.name for tid, thread in _of_python().items() if _is_bystander(thread)}
        return True

    def shares(self, calls: int, acted: Mapping[int, str]) -> list[Share]:
        """Who made these ``calls`` of a span that is over; ``acted`` names the bystanders that events told of inside.

        Helpers come first, and never with more than ``calls`` in all: some may have called since.
        """
        # Python forgets a thread that ends before the kernel does: what it was is remembered, not looked up.
        bystanders, python, now = {**self._bystanders, **acted}, _of_python(), _looks()
        found = []
        for tid, look in now.items():
            if (made := look.calls - self._calls.get(tid, 0)) > 0:
                name, helper = _who(look, python.get(tid), bystanders.get(tid))
                found.append(Share(name, helper, made))
        if (ended := calls - sum(one.calls for one in found)) > 0:
            found.append(Share("", bystanders.keys() <= now.keys(), ended))
        return list(_at_most(calls, sorted(found, key=lambda one: not one.helper)))

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
    own = threading.get_native_id()
    others = (int(task.name) for task in _TASKS.iterdir())
    looks = ((tid, _look(f"{_TASKS}/{tid}")) for tid in others if tid != own)
    return {tid: look for tid, look in looks if look is not None}


def _look(task: str) -> _Look | None:
    try:
        status, calls = _read(f"{task}/stat"), calls_in(_read(f"{task}/io"))
    except OSError:
        return None  # it ended meanwhile
    name, _, rest = status.partition(b"(")[2].rpartition(b")")
    # Asleep, as one is who waits for work; running, waiting for a disk or stopped by a debugger is none of this.
    return _Look(name.decode("utf-8", "replace"), rest.split(None, 1)[0] == b"S", calls)


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, LONGEST)
    finally:
        os.close(descriptor)


def _of_python() -> dict[int, threading.Thread]:
    return {one.native_id: one for one in threading.enumerate() if one.native_id is not None and not is_foreign(one)}


def _is_bystander(thread: threading.Thread) -> bool:
    return thread.ident is None or not runs_ours(sys._current_frames().get(thread.ident))  # noqa: SLF001


def _who(look: _Look, thread: threading.Thread | None, bystander: str | None) -> tuple[str, bool]:
    """Its name, and whether it is a helper."""
    if thread is not None:
        return thread.name, not _is_bystander(thread)
    if bystander is not None:
        return bystander, False
    return look.name, not look.name.startswith(_KEEPERS)


def _at_most(calls: int, shares: Iterable[Share]) -> Iterable[Share]:
    for one in shares:
        own = min(one.calls, calls)
        calls -= own
        if own:
            yield one._replace(calls=own)
