"""A stream from any source to any sink: what has arrived is served, and committed with the positions behind it.

The three phases hold here too: receiving and reading are pre-processing, check and anonymization are pure processing,
writing and committing are post-processing. Memory is bounded by the service's largest batch and the source's own bound.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from microflow.engine.service import MessageService, Outcome
from microflow.topics import DeadLetters, Position, Received, Result, Sink, Source

__all__ = ["Progress", "Stream", "nothing_stops"]

#: How many records may be committed ahead of their turn: Kafka keeps 4 KB beside an offset.
_MOST_AHEAD = 250
_POLL_S = 0.2


@dataclass(slots=True)
class Progress:
    """How far a stream has come; given to whoever observes it after each commit and while nothing comes.

    ``latencies`` are the last commit's: how many records, by the router's reason, took how many seconds from their
    arrival in this process to the commit. ``given_again`` counts messages whose commit was given up.
    """

    committed: int = 0
    given_again: int = 0
    lag: int = 0
    latencies: list[tuple[str, int, float]] = field(default_factory=list)


def nothing_stops() -> bool:
    """For streams that end with their source."""
    return False


class Stream:
    """Serves a source until it ends, is idle for long, or is asked to stop.

    Args:
        source: Where messages come from.
        sink: Where results go.
        service: What is done with them.
        dead: Where unreadable messages are noted, where the sink does not do it.
        observe: Called with the progress after each commit, and while nothing comes.
    """

    def __init__(
        self,
        source: Source,
        sink: Sink,
        service: MessageService,
        *,
        dead: DeadLetters | None = None,
        observe: Callable[[Progress], object] | None = None,
    ) -> None:
        self._source, self._sink, self._service, self._dead = source, sink, service, dead
        self._observe = observe
        self.progress = Progress()

    def run(self, *, stopping: Callable[[], bool] = nothing_stops, until_idle_s: float | None = None) -> None:
        """Serve; what is under way when it is asked to stop is committed."""
        clock, last = self._service.clock, time.monotonic()
        while not stopping() and not self._source.ended:
            with clock.pre():
                received = self._source.poll(self._service.most, _POLL_S)
            if received:
                self._serve(received)
                last = time.monotonic()
            elif until_idle_s is not None and time.monotonic() - last > until_idle_s:
                break
            else:
                self.progress.latencies = []
            self._tell()

    def _serve(self, received: Sequence[Received]) -> None:
        arrived = time.monotonic()
        begins, ends = _span(received)
        ahead = {partition: set(self._source.ahead(partition)) for partition in begins}
        results: list[Result] = []
        outcomes: list[Outcome] = []
        is_committed = True
        self.progress.latencies = []
        # The service always serves all, also when the commit of an early part was given up.
        for part in self._service.serve([one.value for one in received]):
            results += [_result(received[at], one) for at, one in zip(part.places, part.outcomes, strict=True)]
            outcomes += part.outcomes
            if part.early:
                if sum(map(len, ahead.values())) + len(results) > _MOST_AHEAD:
                    continue  # they go with the others
                for one in results:
                    ahead[one.partition].add(one.offset)
            positions = _positions(begins if part.early else ends, ahead)
            is_committed = is_committed and self._commit(results, positions)
            if is_committed:
                self._note(outcomes, time.monotonic() - arrived)
            results, outcomes = [], []
        if not is_committed:
            self.progress.given_again += len(received)
            self._source.rewind()

    def _commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        with self._service.clock.post():
            if self._dead is not None:
                self._dead.add([one for one in results if one.reason is not None])
            return self._sink.commit(results, positions)

    def _note(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        self.progress.committed += len(outcomes)
        routes = Counter(one.route for one in outcomes if one.unreadable is None)
        self.progress.latencies += [(route, records, seconds) for route, records in routes.items()]

    def _tell(self) -> None:
        if self._observe is not None:
            self.progress.lag = self._source.lag()
            self._observe(self.progress)


def _span(received: Sequence[Received]) -> tuple[dict[int, int], dict[int, int]]:
    """By partition, the offset of the first message and the one behind the last."""
    ends = {one.partition: one.offset + 1 for one in received}
    begins = {one.partition: one.offset for one in reversed(received)}
    return begins, ends


def _positions(offsets: Mapping[int, int], ahead: Mapping[int, set[int]]) -> dict[int, Position]:
    """What is done ahead and directly follows is simply done: nothing may come after it to move the position on."""
    positions = {}
    for partition, first in offsets.items():
        done = next(offset for offset in count(first) if offset not in ahead[partition])
        positions[partition] = Position(done, frozenset(one for one in ahead[partition] if one > done))
    return positions


def _result(message: Received, outcome: Outcome) -> Result:
    return Result(
        message.partition, message.offset, message.key, outcome.released, outcome.violations, outcome.unreadable
    )
