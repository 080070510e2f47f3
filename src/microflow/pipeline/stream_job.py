"""A stream from any source to any sink: what has arrived is served, and committed with the positions behind it.

The three phases hold here too: receiving and reading are pre-processing, check and anonymization are pure processing,
writing and committing are post-processing. Memory is bounded by the service's largest batch, by what its method holds
back, and by the source's own bound.

Where the sink can, a commit goes on while the next messages are read and computed; there is never more than one under
way, and what was computed meanwhile is dropped and read again where it was aborted.

A message whose record is held back stays uncommitted: the position waits for it, and what has left meanwhile is kept
beside the position. So a restart, or another process that is given the partition, reads exactly what had not left.
"""

from __future__ import annotations

import gc
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from microflow.engine.service import MessageService, Outcome
from microflow.topics import DeadLetters, OverlappingSink, Position, Received, Result, Sink, Source

__all__ = ["Progress", "Stream"]

_POLL_S = 0.2
#: So many more objects than before make the collector look for cycles. Messages and results are none, and there are
#: some ten objects for each of ten thousand: by Python's own 700 it takes a third of the time and finds nothing.
_COLLECT_AT = 100_000


@dataclass(slots=True)
class Progress:
    """Progress of a stream; passed to the observer after each commit and while no message comes.

    ``latencies`` are the last commit's: how many records, by the router's reason, took how many seconds from their
    arrival in this process to the commit. ``given_again`` counts messages whose commit was aborted.
    """

    committed: int = 0
    given_again: int = 0
    lag: int = 0
    latencies: list[tuple[str, int, float]] = field(default_factory=list)
    held: int = 0


class Stream:
    """Stream that serves a source until it ends, is idle for long, or is asked to stop.

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
        self._given = 0
        self._rewinds = source.rewinds
        #: By number, messages that have not left, and when they arrived.
        self._open: dict[int, tuple[Received, float]] = {}
        self._partitions: defaultdict[int, _Partition] = defaultdict(_Partition)
        self._under_way: _Commit | None = None
        self.progress = Progress()

    def run(self, *, stopping: Callable[[], bool] = lambda: False, until_idle_s: float | None = None) -> None:
        """Serve; what is under way when it is asked to stop is committed.

        What is held back then is read again at the next start, from a source that can be read again; else, and at the
        source's end, it leaves.
        """
        with _seldom_collecting():
            self._run(stopping, until_idle_s)

    def _run(self, stopping: Callable[[], bool], until_idle_s: float | None) -> None:
        clock, last, is_idle = self._service.clock, time.monotonic(), False
        while not stopping():
            self.progress.latencies = []
            if self._source.ended or is_idle:
                if self._commit(self._service.finish()) and self._settle():
                    break
                is_idle = False
            with clock.pre():
                received = self._source.poll(self._service.most, _POLL_S)
            if self._source.rewinds != self._rewinds:
                self._forget()
            if received:
                self._serve(received)
                last = time.monotonic()
            else:
                self._settle()
                self._commit(self._service.due())
                is_idle = until_idle_s is not None and time.monotonic() - last > until_idle_s
            self._tell()
        else:
            if not self._source.replays:
                self._commit(self._service.finish())
        self._settle()
        self._tell()

    def _serve(self, received: Sequence[Received]) -> None:
        arrived = time.monotonic()
        self._open.update((number, (message, arrived)) for number, message in enumerate(received, self._given))
        self._given += len(received)
        for message in received:
            if message.partition not in self._partitions:
                self._partitions[message.partition].ahead.update(self._source.ahead(message.partition))
            self._partitions[message.partition].receive(message.offset)
        is_committed = True
        # The service always serves all, also when the commit of an early part was aborted.
        for part in self._service.serve([message.value for message in received], [message.key for message in received]):
            is_committed = is_committed and self._commit(part)

    def _commit(self, outcomes: Mapping[int, Outcome]) -> bool:
        """Commit what leaves, and the positions with it; false if this or the commit before was aborted."""
        if not outcomes:
            return True
        if not self._settle():
            return False
        left = [self._open.pop(number) for number in outcomes]
        results = [
            Result(message.partition, message.offset, message.key, outcome.released, outcome.violations,
                   outcome.unreadable)
            for (message, _), outcome in zip(left, outcomes.values(), strict=True)
        ]  # fmt: skip
        for message, _ in left:
            self._partitions[message.partition].leave(message.offset)
        positions = {
            partition: self._partitions[partition].position()
            for partition in {message.partition for message, _ in left}
        }
        with self._service.clock.post():
            if self._dead is not None:
                self._dead.add([result for result in results if result.reason is not None])
            self._under_way = commit = _Commit(left, list(outcomes.values()), self._started(results, positions))
            commit.done.add_done_callback(commit.note_end)
        return self._settle() if commit.done.done() else True

    def _started(self, results: Sequence[Result], positions: Mapping[int, Position]) -> Future[bool]:
        if isinstance(self._sink, OverlappingSink):
            return self._sink.start(results, positions)
        done = Future[bool]()
        done.set_result(self._sink.commit(results, positions))
        return done

    def _settle(self) -> bool:
        """Wait for the commit under way; if it was aborted, everything that has not been committed is read again."""
        commit, self._under_way = self._under_way, None
        if commit is None:
            return True
        with self._service.clock.post():
            is_done = commit.done.result()
        if is_done:
            self._note(commit)
        else:
            self.progress.given_again += len(commit.left) + len(self._open)
            self._source.rewind()
            self._forget()
        return is_done

    def _forget(self) -> None:
        """The source goes on from what is committed, perhaps with other partitions."""
        self._rewinds = self._source.rewinds
        self._service.reset()
        self._open.clear()
        self._partitions.clear()

    def _note(self, commit: _Commit) -> None:
        self.progress.committed += len(commit.left)
        ended = commit.ended or time.monotonic()
        pairs = zip(commit.left, commit.outcomes, strict=True)
        taken = Counter((outcome.route, arrived) for (_, arrived), outcome in pairs if outcome.unreadable is None)
        self.progress.latencies += [(route, records, ended - arrived) for (route, arrived), records in taken.items()]

    def _tell(self) -> None:
        if self._observe is not None:
            self.progress.lag, self.progress.held = self._source.lag(), self._service.held
            self._observe(self.progress)


@dataclass(slots=True)
class _Commit:
    """Commit under way: the messages that leave by it, and when it ended."""

    left: Sequence[tuple[Received, float]]
    outcomes: Sequence[Outcome]
    done: Future[bool]
    ended: float | None = None

    def note_end(self, _done: Future[bool]) -> None:
        self.ended = time.monotonic()


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(_COLLECT_AT, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Partition:
    """Progress within a partition: ``ahead`` holds offsets that left before an earlier one."""

    def __init__(self) -> None:
        self.ahead: set[int] = set()
        # In the order of the offsets: the first is the lowest.
        self._open: dict[int, None] = {}
        self._end = 0

    def receive(self, offset: int) -> None:
        self._open[offset] = None
        self._end = offset + 1

    def leave(self, offset: int) -> None:
        del self._open[offset]
        self.ahead.add(offset)

    def position(self) -> Position:
        """Position to commit. Offsets ahead that directly follow it count: no later message may move it on."""
        first = next(iter(self._open), self._end)
        done = next(offset for offset in count(first) if offset not in self.ahead)
        self.ahead = {offset for offset in self.ahead if offset > done}
        return Position(done, frozenset(self.ahead))
