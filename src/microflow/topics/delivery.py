"""At least once: what was taken is given again until it is acknowledged; and once at the sink, by record id.

This is the reliability of a Storm spout (``max.spout.pending``, ack, fail, message timeout), over any
`microflow.topics.contract.Reader`. Time is injected, so a test decides what is late.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Generic, TypeVar

from microflow.errors import StoreError
from microflow.topics.contract import Reader, Received

__all__ = ["Delivery", "Once"]

V = TypeVar("V")
#: Partition and offset.
Place = tuple[int, int]


class Delivery(Generic[V]):
    """Takes records from a reader and remembers each until it is acknowledged.

    Args:
        reader: Where records come from.
        most_in_flight: Records taken and not acknowledged; at the bound `take` gives none, which is the back-pressure.
        timeout_ns: After this long without an answer a record is given again.
        attempts: How often a record may fail before its failure is the job's. Being late is no failure: a record may
            be held back for company.
        now: The clock, in nanoseconds.
    """

    def __init__(
        self,
        reader: Reader[V],
        *,
        most_in_flight: int = 10_000,
        timeout_ns: int = 30_000_000_000,
        attempts: int = 5,
        now: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._reader = reader
        self._most = most_in_flight
        self._timeout_ns = timeout_ns
        self._attempts = attempts
        self._now = now
        # In the order they were given: the first is the oldest.
        self._in_flight: dict[Place, tuple[Received[V], int]] = {}
        self._again: dict[Place, Received[V]] = {}
        self._failures: Counter[Place] = Counter()
        #: How many records were given more than once.
        self.replayed = 0

    @property
    def in_flight(self) -> int:
        """Records that were taken and wait for an answer, or to be given again."""
        return len(self._in_flight) + len(self._again)

    def take(self, most: int, timeout_s: float = 0.0) -> list[Received[V]]:
        """Up to ``most`` records: first those that failed or are late, then new ones."""
        self._expire()
        again = list(islice(self._again.values(), most))
        for one in again:
            del self._again[one.partition, one.offset]
        room = min(most - len(again), self._most - self.in_flight - len(again))
        taken = again + (self._reader.poll(room, timeout_s) if room > 0 else [])
        given_at = self._now()
        for one in taken:
            self._in_flight[one.partition, one.offset] = one, given_at
        return taken

    def ack(self, done: Iterable[Received[V]]) -> None:
        """These are finished; one acknowledged twice, or after it was given again, does no harm."""
        for one in done:
            place = one.partition, one.offset
            if self._in_flight.pop(place, None) is None:
                self._again.pop(place, None)
            self._failures.pop(place, None)

    def fail(self, failed: Received[V]) -> None:
        """Give this one again.

        Raises:
            StoreError: it failed often enough; its place is named, its content is not.
        """
        place = failed.partition, failed.offset
        if place not in self._in_flight:
            return
        self._failures[place] += 1
        if self._failures[place] >= self._attempts:
            raise StoreError(
                f"offset {failed.offset} of partition {failed.partition} failed {self._attempts} times",
                hint="everything before it is committed; resume when the cause is removed",
            )
        self._give_again(failed)

    @property
    def committed(self) -> dict[int, int]:
        """Partition to the offset below which everything is acknowledged: where a restart begins."""
        offsets = dict(self._reader.offsets)
        for partition, offset in [*self._in_flight, *self._again]:
            offsets[partition] = min(offsets[partition], offset)
        return offsets

    def _expire(self) -> None:
        oldest_allowed = self._now() - self._timeout_ns
        late = []
        for one, given_at in self._in_flight.values():
            if given_at > oldest_allowed:
                break
            late.append(one)
        for one in late:
            self._give_again(one)

    def _give_again(self, one: Received[V]) -> None:
        place = one.partition, one.offset
        del self._in_flight[place]
        self._again[place] = one
        self.replayed += 1


class Once:
    """Lets every record id through once: what makes at-least-once effectively once at the sink.

    Ordinals that arrive without gaps cost nothing: only those beyond the first gap are remembered one by one, so memory
    is bounded by the records in flight.

    >>> once = Once()
    >>> [once.first(ordinal) for ordinal in (0, 1, 1, 3, 0, 2, 3)]
    [True, True, False, True, False, True, False]
    """

    def __init__(self, start: int = 0) -> None:
        self._below = start
        self._beyond: set[int] = set()

    def first(self, ordinal: int) -> bool:
        """Whether this ordinal is seen for the first time; from now on it has been."""
        if self.seen(ordinal):
            return False
        if ordinal == self._below:
            self._below += 1
            while self._below in self._beyond:
                self._beyond.remove(self._below)
                self._below += 1
        else:
            self._beyond.add(ordinal)
        return True

    def seen(self, ordinal: int) -> bool:
        """Whether this ordinal has been let through."""
        return ordinal < self._below or ordinal in self._beyond

    @property
    def remembered(self) -> int:
        """Ordinals kept one by one."""
        return len(self._beyond)
