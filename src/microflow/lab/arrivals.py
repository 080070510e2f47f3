"""Schedules of arrivals in an open loop, and the feeds that announce them.

A *schedule* is decided before the run: nanoseconds (int64, ascending) after its start. It does not wait for the system,
and its instants are what latency is counted from. A *feed* plays it: a load generator in a process of its own, real
time without the waits, or simulated time.
"""

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
from microflow.lab.load_generator import INT

__all__ = ["Feed", "HurriedFeed", "LiveFeed", "Schedule", "SimulatedFeed", "bursts", "poisson", "steady"]

Schedule = npt.NDArray[np.int64]


def steady(rate: float, seconds: float) -> Schedule:
    """Schedule with equal gaps.

    >>> steady(4, 1).tolist()
    [0, 250000000, 500000000, 750000000]
    """
    return (np.arange(int(rate * seconds)) * (1e9 / rate)).astype(np.int64)


def poisson(rate: float, seconds: float, seed: int) -> Schedule:
    """Schedule of independent arrivals at ``rate`` per second."""
    return _thrown(np.array([0.0, seconds]), np.array([rate]), seed)


def bursts(
    rate: float, peak_rate: float, seconds: float, seed: int, *, period_s: float = 1.0, peak_share: float = 0.2
) -> Schedule:
    """Schedule of a Poisson process whose rate jumps to ``peak_rate`` for the last ``peak_share`` of each period."""
    starts = np.arange(0, seconds, period_s)
    edges = np.unique(np.concatenate([starts, starts + period_s * (1 - peak_share), [seconds]]))
    edges = edges[edges <= seconds]
    calm = np.arange(len(edges) - 1) % 2 == 0
    return _thrown(edges, np.where(calm, rate, peak_rate), seed)


def _thrown(edges: npt.NDArray[np.float64], rates: npt.NDArray[np.float64], seed: int) -> Schedule:
    """A piecewise constant Poisson process: given its number, the arrivals of a piece are uniform in it."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rates * np.diff(edges))
    pieces = [rng.uniform(low, high, n) for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)]
    return (np.sort(np.concatenate(pieces)) * 1e9).astype(np.int64)


#: A pipe's whole capacity: one read takes all announcements at once.
_PIPE_BYTES = 65_536
#: Between the generator's "ready" and the first possible arrival.
_LEAD_NS = 20_000_000


class Feed(Protocol):
    """Feed of arrivals: the time, and the number of arrived records; times are nanoseconds after the start."""

    def now(self) -> int:
        """The time."""
        ...

    def wait(self, least: int, until: int | None = None) -> int:
        """Wait until ``least`` records have arrived in all, or until that time at most; then say how many have."""
        ...


class LiveFeed:
    """Feed from a load generator process, for a ``with`` block."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._arrived = 0
        self._origin = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "microflow.lab.load_generator"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
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

    def wait(self, least: int, until: int | None = None) -> int:
        self._listen()
        while self._arrived < least:
            left = None if until is None else (until - self.now()) / 1e9
            if left is not None and left <= 0:
                break
            select.select([self._pipe], [], [], left)
            self._listen()
        return self._arrived

    def lags(self) -> npt.NDArray[np.int64]:
        """Delay of each announcement in nanoseconds: what the generator itself adds to latencies.

        Empty when the run was stopped before the last arrival.
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


def _end_of_wait(schedule: Schedule, least: int, until: int | None) -> int:
    due = int(schedule[least - 1])
    return due if until is None else min(due, until)


class SimulatedFeed:
    """Feed in simulated time, which moves only by waits and work: the same run on every machine."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._now = 0

    def now(self) -> int:
        return self._now

    def wait(self, least: int, until: int | None = None) -> int:
        self._now = max(self._now, _end_of_wait(self._schedule, least, until))
        return int(np.searchsorted(self._schedule, self._now, "right"))

    def work(self, ns: int) -> None:
        """The system under test was busy for ``ns``."""
        self._now += ns


class HurriedFeed:
    """Feed in real time without the waits: the clock is put forward to the next arrival.

    Whatever the system does takes the time it takes, its decisions and book-keeping included.
    """

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._origin = time.perf_counter_ns()

    def now(self) -> int:
        return time.perf_counter_ns() - self._origin

    def wait(self, least: int, until: int | None = None) -> int:
        now, due = self.now(), _end_of_wait(self._schedule, least, until)
        self._origin -= max(due - now, 0)
        return int(np.searchsorted(self._schedule, max(now, due), "right"))
