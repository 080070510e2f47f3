"""The phase clock: pre-processing, pure processing and post-processing, never two at once.

    clock = PhaseClock(guard=PurityGuard())
    for flow in clock.reading(source):          # each read is a pre-processing span
        with clock.pure():
            result = work(flow)                 # memory only: the guard refuses anything else
        with clock.post():
            write(result)
    clock.report()

Between spans the clock stands still: nothing done there can touch a measurement. Such time is not lost either: phases
and residual add up to wall time by construction, and the residual is published.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import TypeVar

from microflow.errors import MicroflowError
from microflow.timing.guard import PurityGuard

__all__ = ["Phase", "PhaseClock", "PhaseReport", "Span"]

T = TypeVar("T")
_now = time.perf_counter_ns


class Phase(StrEnum):
    """The seed's three phases."""

    PRE = "pre_processing"
    PURE = "pure_processing"
    POST = "post_processing"


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """Nanoseconds by phase. ``residual_ns`` is wall time that no phase claims: it is published, never hidden.

    Phases are work: sums over all workers. ``overlap_ns`` is how much of it ran beside other work, so that
    ``pre + pure + post - overlap + residual = wall`` exactly; with one worker it is 0. ``paused_ns`` was taken
    out of ``wall_ns``.
    """

    pre_ns: int
    pure_ns: int
    post_ns: int
    wall_ns: int
    overlap_ns: int = 0
    paused_ns: int = 0

    @property
    def residual_ns(self) -> int:
        """Wall time outside the three phases."""
        return self.wall_ns - (self.pre_ns + self.pure_ns + self.post_ns - self.overlap_ns)


class Span:
    """One kind of span of one clock, used again and again: making no object per span is what keeps it cheap.

    A pure span keeps its length, and its guard watches from just before its start to just after its end. What the guard
    itself takes is pre-processing before and post-processing after.
    """

    __slots__ = ("_clock", "_guard", "_lengths", "_name", "_start", "total_ns")

    def __init__(
        self, clock: PhaseClock, name: str, lengths: array[int] | None = None, guard: PurityGuard | None = None
    ) -> None:
        self._clock = clock
        self._name = name
        self._lengths = lengths
        self._guard = guard
        self._start = 0
        self.total_ns = 0

    def __enter__(self) -> None:
        clock = self._clock
        if clock.running is not None:
            raise MicroflowError(f"{self} cannot start inside {clock.running}", hint="leave the first span before")
        if self._guard is not None:
            arming = _now()
            self._guard.enter()
            clock.pre().total_ns += _now() - arming
        clock.running = self
        self._start = _now()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end = _now()
        length = end - self._start
        clock = self._clock
        clock.running = None
        self.total_ns += length
        if self._lengths is not None:
            self._lengths.append(length)
        if self._guard is not None:
            try:
                self._guard.leave(error)
            finally:
                clock.post().total_ns += _now() - end

    def __str__(self) -> str:
        return self._name


class PhaseClock:
    """Clock that adds up spans of each phase from creation to `report`; a span inside another is refused.

    One clock belongs to one thread. A span costs less than a microsecond, and 8 bytes where it is pure: take one per
    microflow (or chunk of records), not one per record.

    Args:
        guard: Watches every pure span; see `PurityGuard` for what it refuses.

    >>> clock = PhaseClock()
    >>> with clock.pure():
    ...     total = sum(range(1000))
    >>> report = clock.report()
    >>> report.pre_ns + report.pure_ns + report.post_ns + report.residual_ns == report.wall_ns
    True
    """

    def __init__(self, guard: PurityGuard | None = None) -> None:
        self.guard = guard
        self.running: Span | None = None
        self._lengths = array("q")
        self._pre = Span(self, Phase.PRE)
        self._pure = Span(self, Phase.PURE, self._lengths, guard)
        self._post = Span(self, Phase.POST)
        self._pause = Span(self, "a pause")
        self._waiting = Span(self, "waiting for workers")
        self._work = [0, 0, 0]  # nanoseconds of the workers' phases
        self._started = _now()

    def pre(self) -> Span:
        """Span of pre-processing: reading, validating, connecting."""
        return self._pre

    def pure(self) -> Span:
        """Span of pure processing, in memory only: compliance check and anonymization.

        Raises:
            TimingContaminationError: (with a guard) something other than memory was touched inside.
        """
        return self._pure

    def post(self) -> Span:
        """Span of post-processing: writing, COPY, checkpoints, progress."""
        return self._post

    def pause(self) -> Span:
        """Time that belongs to no phase: taken out of wall time, published as ``paused_ns``."""
        return self._pause

    def reading(self, source: Iterable[T]) -> Iterator[T]:
        """The source's items, each fetched inside a pre-processing span."""
        items = iter(source)
        while True:
            with self._pre:
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item

    def waiting(self) -> Span:
        """Time in which this process only waits for what workers do: their phases fill it."""
        return self._waiting

    def add_work(self, pre_ns: int, pure: Iterable[int], post_ns: int) -> None:
        """Add what a worker process measured with a clock of its own, while this one was `waiting` or busy itself."""
        spans = list(pure)
        self._lengths.extend(spans)
        self._work = [total + ns for total, ns in zip(self._work, (pre_ns, sum(spans), post_ns), strict=True)]

    @property
    def pure_ns(self) -> int:
        """Nanoseconds of pure processing so far, over all workers."""
        return self._pure.total_ns + self._work[1]

    @property
    def pure_spans(self) -> array[int]:
        """The length of each pure span in nanoseconds, in order: the raw samples."""
        return self._lengths

    def report(self) -> PhaseReport:
        """The totals up to now."""
        return PhaseReport(
            pre_ns=self._pre.total_ns + self._work[0],
            pure_ns=self.pure_ns,
            post_ns=self._post.total_ns + self._work[2],
            wall_ns=_now() - self._started - self._pause.total_ns,
            # Of what workers did, no more than this process waited for lies outside of its own phases.
            overlap_ns=max(0, sum(self._work) - self._waiting.total_ns),
            paused_ns=self._pause.total_ns,
        )
