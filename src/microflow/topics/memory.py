"""A topic in this process's memory: bounded, ordered within a partition, replayable until its reader lets go.

Nothing is serialised and nothing survives the process: for that, `microflow.topics.kafka`. Writers and readers may run
in different threads. What has been written stays until `MemoryTopic.release`, so a reader that lost its way starts
again from the offsets that were released, exactly as with Kafka's committed offsets.
"""

from __future__ import annotations

import threading
import zlib
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Generic, TypeVar

from microflow.errors import StoreError
from microflow.topics.contract import Received

__all__ = ["MemoryReader", "MemoryTopic"]

V = TypeVar("V")
#: How long a writer waits for room, in seconds, before it is told that nobody reads.
PATIENCE_S = 60


class MemoryTopic(Generic[V]):
    """Created in pre-processing; also its own writer.

    Args:
        name: For messages.
        partitions: Order holds within each.
        capacity: Records kept per partition that have not been released: the bound of memory, and the back-pressure.

    >>> topic = MemoryTopic[str]("records", capacity=2)
    >>> topic.offer([(b"a", "one"), (b"a", "two"), (b"a", "three")])
    2
    >>> [received.value for received in topic.reader().poll(10)]
    ['one', 'two']
    """

    def __init__(self, name: str, *, partitions: int = 1, capacity: int = 100_000) -> None:
        self.name = name
        self.capacity = capacity
        self._kept: list[deque[Received[V]]] = [deque() for _ in range(partitions)]
        self._released = [0] * partitions
        self._changed = threading.Condition()

    def offer(self, records: Iterable[tuple[bytes, V]]) -> int:
        """Append as many as there is room for, in order, and say how many; never waits."""
        with self._changed:
            accepted = 0
            for key, value in records:
                if not self._append(key, value):
                    break
                accepted += 1
            self._changed.notify_all()
        return accepted

    def send(self, records: Iterable[tuple[bytes, V]]) -> None:
        """Append all, waiting for room.

        Raises:
            StoreError: nothing was released for a minute.
        """
        with self._changed:
            for key, value in records:
                while not self._append(key, value):
                    self._changed.notify_all()
                    if not self._changed.wait(PATIENCE_S):
                        raise StoreError(f"topic {self.name!r} stayed full", hint="is its reader running?")
            self._changed.notify_all()

    def flush(self) -> None:
        """Memory is as safe as it gets."""

    def reader(self, offsets: Mapping[int, int] | None = None) -> MemoryReader[V]:
        """A reader from the given offsets on; from what has been released, where none is given."""
        return MemoryReader(self, {**dict(enumerate(self._released)), **(offsets or {})})

    def release(self, offsets: Mapping[int, int]) -> None:
        """Forget what lies below these offsets: it is done, and will not be asked for again."""
        with self._changed:
            for partition, offset in offsets.items():
                kept = self._kept[partition]
                while kept and kept[0].offset < offset:
                    kept.popleft()
                self._released[partition] = max(self._released[partition], offset)
            self._changed.notify_all()

    def fetch(self, offsets: Mapping[int, int], most: int, timeout_s: float) -> list[Received[V]]:
        """Records from these offsets on, waiting up to ``timeout_s`` for the first."""
        with self._changed:
            found = self._available(offsets, most)
            if not found and timeout_s > 0:
                self._changed.wait_for(lambda: self._ends_after(offsets), timeout_s)
                found = self._available(offsets, most)
        return found

    def ends(self) -> list[int]:
        """The offset after the last record of each partition."""
        return [start + len(kept) for start, kept in zip(self._released, self._kept, strict=True)]

    def _append(self, key: bytes, value: V) -> bool:
        # CRC-32 is the same in every process; Python's hash is not.
        partition = zlib.crc32(key) % len(self._kept) if len(self._kept) > 1 else 0
        kept = self._kept[partition]
        if len(kept) >= self.capacity:
            return False
        kept.append(Received(partition, self._released[partition] + len(kept), key, value))
        return True

    def _available(self, offsets: Mapping[int, int], most: int) -> list[Received[V]]:
        found: list[Received[V]] = []
        for partition, kept in enumerate(self._kept):
            skip = max(offsets[partition] - self._released[partition], 0)
            found += islice(kept, skip, skip + most - len(found))
        return found

    def _ends_after(self, offsets: Mapping[int, int]) -> bool:
        return any(end > offsets[partition] for partition, end in enumerate(self.ends()))


class MemoryReader(Generic[V]):
    """Reads a `MemoryTopic`; several readers do not disturb each other."""

    def __init__(self, topic: MemoryTopic[V], offsets: dict[int, int]) -> None:
        self._topic = topic
        self.offsets = offsets

    def poll(self, most: int, timeout_s: float = 0.0) -> list[Received[V]]:
        """Up to ``most`` records; empty when nothing came in time."""
        received = self._topic.fetch(self.offsets, most, timeout_s)
        for one in received:
            self.offsets[one.partition] = one.offset + 1
        return received

    def backlog(self) -> int:
        """Records in the topic that have not been received."""
        return sum(end - self.offsets[partition] for partition, end in enumerate(self._topic.ends()))
