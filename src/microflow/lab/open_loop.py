"""Open-loop driver: records arrive on a schedule, and each one's latency counts from when it was due.

    loop = OpenLoop(poisson(5_000, seconds=4, seed=1))
    run = loop.run(Portions(), lambda due: [processor.process_record(records[i]) for i in due] and due)
    run.summary(warm_up_s=1).p99_ns

The load generator is a process outside the system under test (Karimov et al., ICDE 2018) and does not wait for it, so
that a stall delays every record that came meanwhile, and all of them are seen (no coordinated omission; Tene, wrk2).
Kinds of system differ in their `Dispatcher` alone: `Portions` hands over fixed numbers of records, a router decides
each time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from microflow.engine.router import Costs, Route, Router
from microflow.lab.arrivals import Feed, HurriedFeed, LiveFeed, Schedule, SimulatedFeed
from microflow.timing.meters import LatencyRecorder, LatencySummary

__all__ = [
    "Dispatcher", "Flush", "Lingers", "Objective", "OpenLoop", "OpenLoopRun", "Portions", "Serve", "simulate",
]  # fmt: skip

P = TypeVar("P")
#: Does the work on a portion and returns the indices whose result is there now: those of the portion, or others when
#: records are held back. A suppressed record is done when that is decided. An index never returned is not served.
Serve = Callable[[P], Sequence[int]]
#: Called once after the last portion: returns the indices that were still held back.
Flush = Callable[[], Sequence[int]]

_GRID = 200
#: Of an objective: the part of the records that may be later than its p99, and the time between two looks at them.
_MAY_BE_LATE, _LOOK_NS = 0.01, 50_000_000
#: Two points make a line.
_FEWEST_ARRIVALS = 2


class Dispatcher(Protocol[P]):
    """Dispatcher of records to the system, and owner of the queue: indices from 0 in order of arrival."""

    def wanted(self) -> int:
        """Serve when this many records have arrived in all (or when no more will)."""
        ...

    def route(self, arrived: int) -> P | None:
        """The next portion, now that ``arrived`` records have come in all; ``None`` when all of them are served."""
        ...

    def observe(self, portion: P, ns: int) -> None:
        """Note the time that serving a portion took, in nanoseconds."""
        ...


@runtime_checkable
class Lingers(Protocol):
    """Dispatcher that accepts fewer records than it wants, once the oldest has waited long enough."""

    @property
    def linger_ns(self) -> int | None:
        """Longest wait, from when the record was due; ``None``: no limit."""
        ...

    def oldest(self) -> int:
        """The first record that is not served yet."""
        ...


class Portions:
    """A dispatcher of fixed habits: at least and at most so many records, in order of arrival; by default one."""

    def __init__(self, at_least: int = 1, at_most: int = 1) -> None:
        self._at_least = at_least
        self._at_most = at_most
        self._next = 0

    def wanted(self) -> int:
        """The records served so far, and the fewest that make a portion."""
        return self._next + self._at_least

    def route(self, arrived: int) -> range | None:
        """Next portion: all arrived records, up to the largest size of a portion."""
        due = range(self._next, min(arrived, self._next + self._at_most))
        self._next = due.stop
        return due or None

    def observe(self, portion: range, ns: int) -> None:
        """Ignore the time: nothing is learned."""


@dataclass(frozen=True)
class OpenLoopRun:
    """The raw samples of one run, by record (int64 nanoseconds after its start).

    ``completed_ns`` is -1 for a record that was not served before the run was stopped. ``generator_lag_ns`` is how
    late arrivals were announced: latencies include it, so it is published; empty in simulated time.
    """

    intended_ns: npt.NDArray[np.int64]
    completed_ns: npt.NDArray[np.int64]
    generator_lag_ns: npt.NDArray[np.int64]

    @property
    def unserved(self) -> int:
        """Records without a result."""
        return int((self.completed_ns < 0).sum())

    def latencies_ns(self, warm_up_s: float = 0.0) -> npt.NDArray[np.int64]:
        """Latencies from intended arrival to result, of the served records that were due after the warm-up."""
        counted = (self.completed_ns >= 0) & (self.intended_ns >= warm_up_s * 1e9)
        latencies: npt.NDArray[np.int64] = (self.completed_ns - self.intended_ns)[counted]
        return latencies

    def summary(self, warm_up_s: float = 0.0) -> LatencySummary:
        """p50, p90, p99, p99.9 and maximum."""
        recorder = LatencyRecorder()
        recorder.record_many(self.latencies_ns(warm_up_s))
        return recorder.summary()

    def backlog_slope(self, warm_up_s: float = 0.0) -> float:
        """Growth of the backlog as a share of the offered load: 0 if all is served, 1 if nothing is.

        The least-squares slope of (arrived - completed) over the arrival time after the warm-up, over the mean rate.
        """
        first, last = warm_up_s * 1e9, float(self.intended_ns[-1])
        offered = self.intended_ns[self.intended_ns >= first]
        if last <= first or len(offered) < _FEWEST_ARRIVALS:
            return 0.0
        instants = np.linspace(first, last, _GRID)
        completed = np.sort(self.completed_ns[self.completed_ns >= 0])
        backlog = np.searchsorted(self.intended_ns, instants, "right") - np.searchsorted(completed, instants, "right")
        growth_per_ns = np.polyfit(instants - first, backlog, 1)[0]
        return float(growth_per_ns / (len(offered) / (last - first)))


@dataclass(frozen=True, slots=True)
class Objective:
    """Objective of a sustained rate: p99 within ``p99_ns``, growth of the backlog at most ``slope``."""

    p99_ns: int
    slope: float = 0.01


class OpenLoop:
    """Experiment in an open loop: one schedule is offered to a system under test.

    Args:
        schedule: When records are due (`microflow.lab.arrivals`).
        give_up_s: A system that is this much behind the last arrival is not waited for.
        objective: End the run as soon as its p99 cannot be kept any more, whatever would have come: more than 1 in 100
            of all records that count have been later already. What is not served then is unserved.
        warm_up_s: Records that are due before do not count against the objective.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        give_up_s: float = 5.0,
        objective: Objective | None = None,
        warm_up_s: float = 0.0,
    ) -> None:
        if len(schedule) == 0:
            raise ValueError("a schedule without arrivals measures nothing")
        self._schedule = schedule
        self._give_up_ns = int(schedule[-1]) + round(give_up_s * 1e9)
        self._late_ns = None if objective is None else objective.p99_ns
        self._counted = int(np.searchsorted(schedule, warm_up_s * 1e9))

    def run(self, dispatcher: Dispatcher[P], serve: Serve[P], flush: Flush | None = None) -> OpenLoopRun:
        """Real time: the system is called in this process, the load comes from another."""
        with LiveFeed(self._schedule) as feed:
            completed = self._drive(feed, dispatcher, serve, flush)
            return OpenLoopRun(self._schedule, completed, feed.lags())

    def hurry(self, dispatcher: Dispatcher[P], serve: Serve[P], flush: Flush | None = None) -> OpenLoopRun:
        """Real services and decisions in simulated time: idle time between arrivals is skipped.

        Nothing comes from another process, so that its wake-ups are not in the latencies.
        """
        completed = self._drive(HurriedFeed(self._schedule), dispatcher, serve, flush)
        return OpenLoopRun(self._schedule, completed, np.empty(0, np.int64))

    def simulate(
        self,
        dispatcher: Dispatcher[P],
        serve: Serve[P],
        flush: Flush | None = None,
        *,
        service_ns: Callable[[P], int],
    ) -> OpenLoopRun:
        """Simulated time: serving takes what ``service_ns`` says, deciding nothing; the same run on every machine."""
        feed = SimulatedFeed(self._schedule)

        def timed(portion: P) -> Sequence[int]:
            feed.work(service_ns(portion))
            return serve(portion)

        return OpenLoopRun(self._schedule, self._drive(feed, dispatcher, timed, flush), np.empty(0, np.int64))

    def _drive(
        self, feed: Feed, dispatcher: Dispatcher[P], serve: Serve[P], flush: Flush | None
    ) -> npt.NDArray[np.int64]:
        total = len(self._schedule)
        completed = np.full(total, -1, np.int64)
        lingers = isinstance(dispatcher, Lingers) and dispatcher.linger_ns is not None
        arrived, ask, look = 0, True, _LOOK_NS
        while feed.now() < self._give_up_ns:
            wanted = min(dispatcher.wanted(), total)
            if ask or arrived < wanted:
                arrived = self._lingered(feed, dispatcher, wanted) if lingers else feed.wait(wanted)
            started = feed.now()
            portion = dispatcher.route(arrived)
            if portion is None:
                if flush is not None:
                    _note(completed, flush(), feed.now())
                break
            done = serve(portion)
            finished = feed.now()
            dispatcher.observe(portion, finished - started)
            _note(completed, done, finished)
            if finished > look:
                look = finished + _LOOK_NS
                if self._is_lost(completed, done, finished):
                    break
            # Asking costs as much as serving a single record: after one, those known to wait come first.
            ask = len(done) > 1
        return completed

    def _lingered(self, feed: Feed, dispatcher: Dispatcher[P], wanted: int) -> int:
        """Wait until as many have arrived as are wanted, or the oldest that waits has waited for long enough."""
        assert isinstance(dispatcher, Lingers)
        assert dispatcher.linger_ns is not None
        oldest = dispatcher.oldest()
        if oldest >= len(self._schedule):
            return feed.wait(wanted)
        arrived = feed.wait(wanted, int(self._schedule[oldest]) + dispatcher.linger_ns)
        # A generator that is later than that has not announced it yet: nothing to serve is not the end.
        return arrived if arrived > oldest else feed.wait(oldest + 1)

    def _is_lost(self, completed: npt.NDArray[np.int64], done: Sequence[int], now: int) -> bool:
        """True if so many records are late that the objective cannot be kept; cheap as long as none is."""
        if self._late_ns is None or not done or now - self._schedule[done[0]] <= self._late_ns:
            return False
        late = completed[self._counted :] - self._schedule[self._counted :] > self._late_ns
        return int(late.sum()) > _MAY_BE_LATE * len(late)


def _note(completed: npt.NDArray[np.int64], done: Sequence[int], now: int) -> None:
    if isinstance(done, range) and done.step == 1:
        completed[done.start : done.stop] = now
    else:
        completed[list(done)] = now


def simulate(schedule: Schedule, router: Router, costs: Costs) -> OpenLoopRun:
    """A router's run in simulated time, where serving costs exactly ``costs``: equal on every machine."""

    def cost(route: Route) -> int:
        size = len(route.records)
        return round(costs.together(size) if route.together else costs.alone(size))

    return OpenLoop(schedule).simulate(router, lambda route: route.records, service_ns=cost)
