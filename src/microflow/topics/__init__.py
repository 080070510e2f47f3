"""Contracts of a stream's source and sink, for `microflow.pipeline.stream_job`.

Order holds within a partition. A source gives every message again that is not committed; a sink takes results together
with the positions behind them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

__all__ = ["DeadLetters", "Kept", "OverlappingSink", "Position", "Received", "Result", "Sink", "Source", "letter"]


class Received(NamedTuple):
    """Message with its place."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """Position in a partition: all below ``offset`` is done, and so are the offsets in ``ahead``.

    Records are committed ahead of earlier ones if they are urgent, or if the earlier ones are held back.
    """

    offset: int
    ahead: frozenset[int] = frozenset()


#: Looks up where partitions go on; one that is not known is left out.
Kept = Callable[[Sequence[int]], Mapping[int, Position]]


class Result(NamedTuple):
    """Result of one message: released as the JSON ``text``, unreadable for a ``reason``, or suppressed (neither).

    ``violations`` were found in it before.
    """

    partition: int
    offset: int
    key: bytes | None = None
    text: bytes | None = None
    violations: int = 0
    reason: str | None = None


class Source(Protocol):
    """Source of messages."""

    ended: bool
    """True if nothing will ever come again."""

    replays: bool
    """True if what is not committed can be read again, by this process or a later one."""

    rewinds: int
    """How often it has gone back to what is committed, by itself or when asked."""

    def poll(self, most: int, timeout_s: float) -> list[Received]:
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
    """Sink for results, together with the positions behind them."""

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        """Commit results and positions, all or none; false if they are not committed: then the source is rewound."""
        ...


@runtime_checkable
class OverlappingSink(Sink, Protocol):
    """A sink that commits in a thread of its own, while the next results are computed."""

    def start(self, results: Sequence[Result], positions: Mapping[int, Position]) -> Future[bool]:
        """Begin a commit; what the source does from now on does not change it. The one before must have ended."""
        ...


class DeadLetters(Protocol):
    """Place for messages that cannot be read, if the sink does not note them itself."""

    def add(self, results: Sequence[Result]) -> None:
        """Note partition, offset and reason of each; they are safe when it returns."""
        ...


def letter(result: Result) -> bytes:
    """A dead letter as JSON: where the message stood and why it cannot be read, never anything that it holds."""
    return json.dumps({"partition": result.partition, "offset": result.offset, "reason": result.reason}).encode()
