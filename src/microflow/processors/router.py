"""Who decides, record by record at a low load and microflow by microflow at a high one.

A record at a time costs ``s`` each; a vectorised microflow of ``n`` records costs ``f + v·n``. Below
``n* = f / (s − v)`` the first is faster, above it the second. The router learns ``s``, ``f`` and ``v`` from its own service times, keeps a
band around ``n*`` so that it does not flutter (hysteresis), and never fills a microflow so far that serving it would
exceed the latency objective. It holds nothing back: what has arrived is served, so it is work-conserving, and size
adapts to load by itself (the batching of Clipper, Crankshaw et al. 2017, without its probing).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from microflow.settings import MICROFLOW_ROWS

__all__ = ["AdaptiveRouter", "Decision", "RandomRouter", "Router", "StaticRouter"]

#: Half the width of the band around the break-even size, as a factor.
HYSTERESIS = 1.25
#: Weight of the newest observation in a moving mean.
_NEWEST = 0.05


@dataclass(frozen=True, slots=True)
class Decision:
    """Serve ``size`` records now, ``vectorised`` or one at a time, and why."""

    size: int
    vectorised: bool
    reason: str


class Router(Protocol):
    """Anything that decides what to serve next."""

    reasons: Counter[str]

    def decide(self, waiting: int, urgent: int) -> Decision:
        """With ``waiting`` records at hand, ``urgent`` of them at the head of the queue."""
        ...

    def observe(self, decision: Decision, service_ns: int) -> None:
        """What the decision cost."""
        ...


class AdaptiveRouter:
    """Chooses by the break-even size it learns.

    Args:
        slo_ns: The latency objective for one service, in nanoseconds.
    """

    def __init__(self, slo_ns: int = 5_000_000) -> None:
        self.reasons: Counter[str] = Counter()
        self._slo_ns = slo_ns
        # Starting points in nanoseconds, soon forgotten.
        self._single = 12_000.0
        self._fixed = 250_000.0
        self._each = 500.0
        self._vectorised = False

    @property
    def break_even(self) -> float:
        """The number of records from which a microflow is faster."""
        return self._fixed / max(self._single - self._each, 1.0)

    def decide(self, waiting: int, urgent: int) -> Decision:
        """Urgent records first and at once; then by load."""
        if urgent:
            return self._say(Decision(urgent, urgent > self.break_even, "urgent"))
        band = 1 / HYSTERESIS if self._vectorised else HYSTERESIS
        self._vectorised = waiting > self.break_even * band
        if not self._vectorised:
            return self._say(Decision(min(waiting, int(self.break_even) + 1), False, "low load"))
        within = int((self._slo_ns - self._fixed) / max(self._each, 1.0))
        size = min(waiting, MICROFLOW_ROWS, max(within, 1))
        return self._say(Decision(size, True, "full microflow" if size == MICROFLOW_ROWS else "high load"))

    def observe(self, decision: Decision, service_ns: int) -> None:
        """Move the means towards what was seen."""
        if not decision.vectorised:
            self._single += _NEWEST * (service_ns / decision.size - self._single)
            return
        # Small microflows teach the fixed cost, large ones the cost of each record.
        if decision.size > MICROFLOW_ROWS // 2:
            each = max(service_ns - self._fixed, 0.0) / decision.size
            self._each += _NEWEST * (each - self._each)
        else:
            self._fixed += _NEWEST * (max(service_ns - self._each * decision.size, 0.0) - self._fixed)

    def _say(self, decision: Decision) -> Decision:
        self.reasons[decision.reason] += 1
        return decision


class StaticRouter:
    """A control arm: always one at a time, or always microflows of a fixed size."""

    def __init__(self, size: int) -> None:
        self.reasons: Counter[str] = Counter()
        self._size = size

    def decide(self, waiting: int, urgent: int) -> Decision:  # noqa: ARG002 - the contract's signature
        """The same for every load."""
        self.reasons["static"] += 1
        return Decision(min(waiting, self._size), self._size > 1, "static")

    def observe(self, decision: Decision, service_ns: int) -> None:
        """Learns nothing."""


class RandomRouter:
    """A control arm: a coin decides between one at a time and a microflow."""

    def __init__(self, seed: int = 1) -> None:
        self.reasons: Counter[str] = Counter()
        self._rng = np.random.default_rng(seed)

    def decide(self, waiting: int, urgent: int) -> Decision:  # noqa: ARG002 - the contract's signature
        """Heads or tails."""
        self.reasons["coin"] += 1
        if self._rng.random() < 0.5:  # noqa: PLR2004 - a fair coin
            return Decision(1, False, "coin")
        return Decision(min(waiting, MICROFLOW_ROWS), True, "coin")

    def observe(self, decision: Decision, service_ns: int) -> None:
        """Learns nothing."""
