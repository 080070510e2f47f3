"""What a stream of records offers, whether it lives in memory or in Kafka.

Order holds within a partition; a record's key decides its partition. A reader starts at offsets that its owner keeps,
and delivers from there at least once: reading again from an older offset gives the same records again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

__all__ = ["Reader", "Received", "Writer"]

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
