"""The phase clock: pre-processing, pure processing and post-processing, never two at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from enum import StrEnum

from microflow.errors import MicroflowError

__all__ = ["Phase", "PhaseClock", "PhaseReport"]


class Phase(StrEnum):
    """The seed's three phases."""

    PRE = "pre_processing"
    PURE = "pure_processing"
    POST = "post_processing"


@dataclass(frozen=True, slots=True)
class PhaseReport:
    """Nanoseconds by phase. ``residual_ns`` is wall time that no phase claims: it is published, never hidden."""

    pre_ns: int
    pure_ns: int
    post_ns: int
    wall_ns: int

    @property
    def residual_ns(self) -> int:
        """Wall time outside the three phases."""
        return self.wall_ns - self.pre_ns - self.pure_ns - self.post_ns


class PhaseClock:
    """Adds up spans of each phase from creation to `report`; a phase inside another is refused."""

    def __init__(self) -> None:
        self._started = time.perf_counter_ns()
        self._totals = dict.fromkeys(Phase, 0)
        self._running: Phase | None = None

    def pre(self) -> AbstractContextManager[None]:
        """Reading, validating, connecting."""
        return self._span(Phase.PRE)

    def pure(self) -> AbstractContextManager[None]:
        """Memory only: compliance check and anonymization."""
        return self._span(Phase.PURE)

    def post(self) -> AbstractContextManager[None]:
        """Writing, COPY, checkpoints, progress."""
        return self._span(Phase.POST)

    @property
    def pure_ns(self) -> int:
        """Nanoseconds of pure processing so far."""
        return self._totals[Phase.PURE]

    def report(self) -> PhaseReport:
        """The totals up to now."""
        totals = self._totals
        wall = time.perf_counter_ns() - self._started
        return PhaseReport(totals[Phase.PRE], totals[Phase.PURE], totals[Phase.POST], wall)

    @contextmanager
    def _span(self, phase: Phase) -> Iterator[None]:
        if self._running is not None:
            raise MicroflowError(f"{phase} cannot start inside {self._running}")
        self._running = phase
        start = time.perf_counter_ns()
        try:
            yield
        finally:
            self._totals[phase] += time.perf_counter_ns() - start
            self._running = None
