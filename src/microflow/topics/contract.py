"""What a stream of records offers, whether it lives in memory or in Kafka.

Order holds within a partition; a record's key decides its partition. A reader starts at offsets that its owner keeps,
and delivers from there at least once: reading again from an older offset gives the same records again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["DeadLetters", "Kept", "Position", "Reader", "Received", "Result", "Sink", "Source", "Writer"]

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)


@dataclass(frozen=True, slots=True)
class Received(Generic[V]):
    """One record with its place. In memory a value is any object; Kafka carries bytes."""

    partition: int
    offset: int
    key: bytes | None
    value: V


class Writer(Protocol[V_contra]):
    """Appends to one topic."""

    def send(self, records: Iterable[tuple[bytes, V_contra]]) -> None:
        """Append (key, value) pairs; waits while the topic is full, so that a fast writer cannot drown its reader."""
        ...

    def flush(self) -> None:
        """Return when everything sent is safe."""
        ...


class Reader(Protocol[V]):
    """Reads one topic from given offsets on."""

    offsets: dict[int, int]
    """Partition to the offset that is polled next: what to keep with the results of all that was received."""

    def poll(self, most: int, timeout_s: float = 1.0) -> list[Received[V]]:
        """Up to ``most`` records, each partition's in order; empty when nothing came in time."""
        ...

    def backlog(self) -> int:
        """Records in the topic that have not been received."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition is done: everything below ``offset``, and of what follows the offsets in ``ahead``.

    Urgent records are committed ahead of their turn.
    """

    offset: int
    ahead: frozenset[int] = frozenset()


#: Asked for partitions, whoever keeps the positions says where they go on; one it has never seen is left out.
Kept = Callable[[Sequence[int]], Mapping[int, Position]]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one message: released as the JSON ``text``, unreadable for a ``reason``, or suppressed (neither).

    ``violations`` were found in it before.
    """

    partition: int
    offset: int
    key: bytes | None = None
    text: bytes | None = None
    violations: int = 0
    reason: str | None = None


class Source(Protocol):
    """Where messages come from, for `microflow.pipeline.stream_job`."""

    ended: bool
    """Whether nothing will ever come again."""

    def poll(self, most: int, timeout_s: float) -> list[Received[bytes]]:
        """Up to ``most`` messages that are not committed; empty when none came in time."""
        ...

    def ahead(self, partition: int) -> frozenset[int]:
        """Offsets that were committed ahead of their turn before this process read the partition."""
        ...

    def rewind(self) -> None:
        """Go on from what is committed."""
        ...

    def lag(self) -> int:
        """Messages that wait, as far as is known without asking."""
        ...


class Sink(Protocol):
    """Where results go, together with the positions behind them."""

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        """Results and positions, all or none; whether they are committed. If not, the source is to be rewound."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...


class DeadLetters(Protocol):
    """Where messages are noted that cannot be read, if the sink does not do it itself."""

    def add(self, results: Sequence[Result]) -> None:
        """Note partition, offset and reason of each; they are safe when it returns."""
        ...

    def close(self) -> None:
        """Let go of what is open."""
        ...
