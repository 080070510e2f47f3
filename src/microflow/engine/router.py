"""Routers, which decide what is served next: single records at a low load, microflows at a high one.

The adaptive router holds nothing back: what has arrived is served, so the size of a microflow follows the load by
itself (natural batching), up to a whole morsel. It chooses the cheaper way by costs it learns, with a band
around the break-even size so that it does not flutter (hysteresis), and bounds the microflow by a latency objective,
added to when it is kept and halved when it is missed (AIMD as in Clipper, Crankshaw et al., NSDI 2017). Urgent records
overtake only where they would otherwise be late.

What serving costs it learns from serving: a record alone takes ``single``, a microflow of n takes ``fixed + n·each``,
and from ``fixed / (single - each)`` records on a microflow is the faster way.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from microflow.settings import MICROFLOW_ROWS, MORSEL, MORSEL_ROWS

__all__ = [
    "AdaptiveRouter", "Costs", "LearnedCosts", "NaturalRouter", "Objectives", "RandomRouter", "Route", "Router",
    "StaticRouter",
]  # fmt: skip

#: Enter vectorised service this far above the break-even size, leave it as far below.
HYSTERESIS = 1.25
#: One in so many services of a single record is learned from: learning from all would cost a tenth of serving them.
_SAMPLED = 16
#: The bound grows by such a part of the most after as large a microflow as it allowed has kept the objective.
_GROWTH = 1 / 20
#: Weight that an observation keeps when the next one comes: a memory of about twenty.
_KEPT = 0.95
#: An observation counts as at most so many times the prediction. A machine that interrupts the server does so to a
#: microflow far more often than to a record, which would speak against microflows without reason; what really became
#: dearer is followed all the same, by a hundredth with each observation.
_MOST = 1.25
#: Weight of each of the two observations that stand for the prior.
_PRIOR = 0.01


@dataclass(frozen=True, slots=True)
class Costs:
    """Costs in nanoseconds: of a record served alone, of a microflow before its first record, and per record."""

    single: float = 12_000.0
    fixed: float = 300_000.0
    each: float = 600.0

    def alone(self, records: int) -> float:
        """Serving records one after the other."""
        return records * self.single

    def together(self, records: int) -> float:
        """Serving records as one microflow."""
        return self.fixed + records * self.each

    @property
    def break_even(self) -> float:
        """The number of records from which together is faster than alone.

        >>> Costs(single=10_000, fixed=190_000, each=500).break_even
        20.0
        """
        return self.fixed / max(self.single - self.each, 1.0)


class LearnedCosts:
    """Costs learned from serving: a moving mean for ``single``, weighted least squares for the two others.

    Args:
        prior: Where to start. A little of it stays for ever, as one small and one full microflow, so that a long time
            without one of them does not leave the line undetermined.
    """

    def __init__(self, prior: Costs | None = None) -> None:
        self.now = prior or Costs()
        #: Of what it believes now; kept at hand because it is asked for with every record.
        self.break_even = self.now.break_even
        self._sums = [0.0] * 5
        ends = [_sums(size, self.now.together(size)) for size in (1, MICROFLOW_ROWS)]
        self._prior_sums = [sum(pair) for pair in zip(*ends, strict=True)]

    def observe(self, records: int, ns: float, *, together: bool) -> None:
        """Note that one service of ``records`` took ``ns``."""
        costs = self.now
        expected = costs.together(records) if together else costs.alone(records)
        ns = min(ns, _MOST * expected)
        if together:
            self._refit(records, ns)
        else:
            single = _KEPT * costs.single + (1 - _KEPT) * ns / records
            self.now = Costs(single, costs.fixed, costs.each)
        self.break_even = self.now.break_even

    def _refit(self, records: int, ns: float) -> None:
        self._sums = [_KEPT * old + new for old, new in zip(self._sums, _sums(records, ns), strict=True)]
        sums = [old + _PRIOR * prior for old, prior in zip(self._sums, self._prior_sums, strict=True)]
        count, total, time, squares, products = sums
        spread = count * squares - total * total
        each = max((count * products - total * time) / spread, 0.0)
        self.now = Costs(self.now.single, max((time - each * total) / count, 0.0), each)


def _sums(records: int, ns: float) -> tuple[float, ...]:
    """Sums of least squares: count, records, nanoseconds, records squared, records × nanoseconds."""
    return 1.0, float(records), ns, float(records * records), records * ns


@dataclass(frozen=True, slots=True)
class Route:
    """Decision: the records to serve now (ordinals, ascending), as one microflow or one by one, and the reason."""

    records: Sequence[int]
    together: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Objectives:
    """Objectives in nanoseconds: the longest service, and the longest wait before an urgent record overtakes."""

    service_ns: int = 20_000_000
    urgent_ns: int = 30_000_000


class Router(Protocol):
    """Router and owner of the queue: ordinals from 0 in order of arrival."""

    reasons: Counter[str]
    """Records by why they went the way they went."""

    def wanted(self) -> int:
        """Number of records in all that must have arrived before the next service, unless no more will."""
        ...

    def route(self, arrived: int) -> Route | None:
        """Next route, when ``arrived`` records have come in all; ``None`` when all of them are served."""
        ...

    def observe(self, route: Route, ns: int) -> None:
        """Note the time that serving a route took."""
        ...


class _InOrder:
    """A queue served from its head."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self._next = 0

    def wanted(self) -> int:
        return self._next + 1

    def observe(self, route: Route, ns: int) -> None:
        """Learns nothing."""

    def _take(self, size: int, reason: str, *, together: bool) -> Route:
        records = range(self._next, self._next + size)
        self._next += size
        self.reasons[reason] += size
        return Route(records, together, reason)


class StaticRouter(_InOrder):
    """Control arm: one record at a time (``size=1``), or microflows of a fixed size that are waited for.

    Of these as many as are full by then go together, up to a morsel: what the batch engine does with a file.

    Args:
        size: Records of a microflow.
        linger_ns: One that is not full leaves when its oldest record has waited this long since it arrived, as a
            Kafka producer's batch does; by default it waits until it is full.
    """

    def __init__(self, size: int, linger_ns: int | None = None) -> None:
        super().__init__()
        self._size = size
        self.linger_ns = linger_ns

    def wanted(self) -> int:
        """Number of records in all that complete the next microflow."""
        return self._next + self._size

    def oldest(self) -> int:
        """The head of the queue."""
        return self._next

    def route(self, arrived: int) -> Route | None:
        """Next route, the same at every load: full microflows, or all waiting records if none is full."""
        waiting = arrived - self._next
        if not waiting:
            return None
        full = min(waiting // self._size, MORSEL) if self._size > 1 else 1
        return self._take(full * self._size or waiting, "static", together=self._size > 1)


class RandomRouter(_InOrder):
    """Control arm: a random choice between one record and a microflow of all waiting records."""

    def __init__(self, seed: int = 1) -> None:
        super().__init__()
        self._rng = np.random.default_rng(seed)

    def route(self, arrived: int) -> Route | None:
        """Next route, chosen at random."""
        waiting = arrived - self._next
        if not waiting:
            return None
        together = bool(self._rng.integers(2))
        return self._take(min(waiting, MORSEL_ROWS) if together else 1, "coin", together=together)


class NaturalRouter(_InOrder):
    """Control arm: natural batching. From a fixed number on, all waiting records go together, else one by one.

    Given the true break-even size it has all of the adaptive router but learning, hysteresis, bound and urgency.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def route(self, arrived: int) -> Route | None:
        """Next route, chosen by the number of waiting records alone."""
        waiting = arrived - self._next
        if not waiting:
            return None
        together = waiting >= self._size
        return self._take(min(waiting, MORSEL_ROWS) if together else 1, "natural", together=together)


class AdaptiveRouter(_InOrder):
    """Adaptive router of the hybrid pipeline.

    Args:
        objectives: What it keeps.
        costs: What serving costs at the start, best measured just before; it goes on learning.
        urgent: Which ordinals from ``first`` to before ``stop`` are urgent; none by default.
        ahead: Which ordinals from ``first`` to before ``ordinal`` must be served before it (records of one key), where
            order is to be kept.
        fewest: Fewer records than this are not served as a microflow, whatever it costs.
    """

    def __init__(
        self,
        objectives: Objectives | None = None,
        costs: Costs | None = None,
        *,
        urgent: Callable[[int, int], Sequence[int]] | None = None,
        ahead: Callable[[int, int], Sequence[int]] | None = None,
        fewest: int = 1,
    ) -> None:
        super().__init__()
        self._objectives = objectives or Objectives()
        self._learned = LearnedCosts(costs)
        # An urgent record waits for the service under way at least: where there may be one, none is of a whole morsel.
        self._most = MORSEL_ROWS if urgent is None else MICROFLOW_ROWS
        self._bound = self._most
        self._together = False
        self._alone = 0
        self._urgent = urgent
        self._ahead = ahead
        self._fewest = fewest
        self._looked_at = 0
        self._pressing: deque[int] = deque()
        self._overtook: set[int] = set()

    @property
    def costs(self) -> Costs:
        """Present estimate of the costs of serving."""
        return self._learned.now

    def route(self, arrived: int) -> Route | None:
        """Urgent records that would be late, else the head of the queue."""
        waiting = arrived - self._next
        if waiting > self._bound and self._urgent is not None and (pressing := self._would_be_late(arrived)):
            self._overtook.update(pressing)
            self.reasons["urgent"] += len(pressing)
            return Route(pressing, self._is_faster(len(pressing)), "urgent")
        if not waiting:
            return None
        if self._overtook:
            return self._take_around(waiting)
        band = 1 / HYSTERESIS if self._together else HYSTERESIS
        # A backlog of a whole microflow goes as one, whatever was learned.
        enough = min(self._learned.break_even * band, MICROFLOW_ROWS - 1)
        self._together = waiting > enough and waiting >= self._fewest
        if not self._together:
            return self._take(1, "low load", together=False)
        size = min(waiting, max(self._bound, self._fewest))
        return self._take(size, "as many as allowed" if size == self._bound else "high load", together=True)

    def observe(self, route: Route, ns: int) -> None:
        """Learn the costs; bound the microflow by the objective."""
        if not route.together:
            self._alone += 1
            if len(route.records) > 1 or self._alone % _SAMPLED == 0:
                self._learned.observe(len(route.records), ns, together=False)
            return
        self._learned.observe(len(route.records), ns, together=True)
        if ns > self._objectives.service_ns:
            self._bound = max(self._bound // 2, int(self._learned.break_even), 1)
        elif len(route.records) == self._bound:
            self._bound = min(self._bound + round(_GROWTH * self._most), self._most)

    def _is_faster(self, records: int) -> bool:
        """True if so many are served faster together."""
        return records > self._learned.break_even and records >= self._fewest

    def _take_around(self, waiting: int) -> Route | None:
        """The head of the queue without those that overtook."""
        head = range(self._next, self._next + min(waiting, self._bound))
        records = [ordinal for ordinal in head if ordinal not in self._overtook]
        self._overtook.difference_update(head)
        self._next = head.stop
        if not records:
            return self.route(head.stop + waiting - len(head))
        self.reasons["high load"] += len(records)
        return Route(records, self._is_faster(len(records)), "high load")

    def _would_be_late(self, arrived: int) -> list[int]:
        """Urgent records so far behind that, served in their turn, they would miss their objective."""
        assert self._urgent is not None
        in_time = max(int(self._objectives.urgent_ns / self.costs.together(self._bound)), 1) * self._bound
        horizon = self._next + in_time
        first = max(self._looked_at, self._next)
        if arrived > max(first, horizon):
            self._pressing += self._urgent(first, arrived)
            self._looked_at = arrived
        while self._pressing and self._pressing[0] < horizon:
            self._pressing.popleft()  # its turn has come
        late: list[int] = []
        while self._pressing and len(late) < self._most:
            late.append(self._pressing.popleft())
        return self._with_predecessors(late)

    def _with_predecessors(self, late: list[int]) -> list[int]:
        if self._ahead is None or not late:
            return late
        before = {earlier for ordinal in late for earlier in self._ahead(self._next, ordinal)}
        return sorted((before | set(late)) - self._overtook)
