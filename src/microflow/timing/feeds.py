"""Where the open loop's records come from: a load generator in real time, or a schedule nobody waits for."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from microflow.errors import MicroflowError
from microflow.timing.load_generator import INT
from microflow.timing.schedules import Schedule

__all__ = ["Feed", "HurriedFeed", "LiveFeed", "SimulatedFeed"]

#: A pipe's whole capacity: one read takes all announcements at once.
_PIPE_BYTES = 65_536
#: Between the generator's "ready" and the first possible arrival.
_LEAD_NS = 20_000_000


class Feed(Protocol):
    """Says what time it is and how many records have arrived; times are nanoseconds after the run's start."""

    def now(self) -> int:
        """The time."""
        ...

    def wait(self, least: int) -> int:
        """Wait until ``least`` records have arrived in all; then say how many have."""
        ...


class LiveFeed:
    """Listens to a load generator process; use it as a context manager."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._arrived = 0
        self._origin = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "microflow.timing.load_generator"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout is not None
        self._pipe = self._process.stdout.fileno()
        self._tell(len(self._schedule).to_bytes(INT, sys.byteorder) + self._schedule.tobytes())
        self._read(1)
        os.set_blocking(self._pipe, False)
        self._origin = time.perf_counter_ns() + _LEAD_NS
        self._tell(self._origin.to_bytes(INT, sys.byteorder))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        with self._process:
            pass

    def now(self) -> int:
        return time.perf_counter_ns() - self._origin

    def wait(self, least: int) -> int:
        self._listen()
        while self._arrived < least:
            select.select([self._pipe], [], [])
            self._listen()
        return self._arrived

    def lags(self) -> npt.NDArray[np.int64]:
        """How late each announcement was, in nanoseconds: what the generator itself adds to latencies.

        Empty when the run was given up before the last arrival.
        """
        if self._arrived < len(self._schedule):
            return np.empty(0, np.int64)
        assert self._process.stdin is not None
        self._process.stdin.close()
        os.set_blocking(self._pipe, True)
        data = b"".join(iter(lambda: os.read(self._pipe, _PIPE_BYTES), b""))
        return np.frombuffer(data, np.int64)

    def _listen(self) -> None:
        """Take all announcements; the last one counts."""
        try:
            data = self._read(_PIPE_BYTES)
        except BlockingIOError:
            return
        self._arrived = int.from_bytes(data[-INT:], sys.byteorder)

    def _read(self, size: int) -> bytes:
        data = os.read(self._pipe, size)
        if not data:
            raise MicroflowError("the load generator ended before its schedule", hint="its traceback is above")
        return data

    def _tell(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()


class SimulatedFeed:
    """Time that moves only when somebody waits or works: the same run, to the nanosecond, on every machine."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._now = 0

    def now(self) -> int:
        return self._now

    def wait(self, least: int) -> int:
        self._now = max(self._now, int(self._schedule[least - 1]))
        return int(np.searchsorted(self._schedule, self._now, "right"))

    def work(self, ns: int) -> None:
        """The system under test was busy for ``ns``."""
        self._now += ns


class HurriedFeed:
    """Real time without the waits: where one would wait for the next arrival, the clock is put forward to it.

    Whatever the system does takes the time it takes, its decisions and book-keeping included.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._origin = time.perf_counter_ns()

    def now(self) -> int:
        return time.perf_counter_ns() - self._origin

    def wait(self, least: int) -> int:
        now, due = self.now(), int(self._schedule[least - 1])
        self._origin -= max(due - now, 0)
        return int(np.searchsorted(self._schedule, max(now, due), "right"))
