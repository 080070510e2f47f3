"""The stream topology in this process: from a topic through the bolts to a sink, at least once.

A record is acknowledged when the sink has taken its result, so a run that ends anywhere loses nothing: the next one
begins at the offsets that were released. What it gives again is recognised by its ordinal, so every result reaches the
sink once within a run; across runs the sink recognises ordinals itself (in PostgreSQL by a unique key).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from microflow.engine.bolts import ComplianceBolt, Passing, Releasing, releasing
from microflow.engine.contract import ProcessingSpec, scoped
from microflow.errors import MicroflowError
from microflow.schema import Record
from microflow.topics.contract import Received
from microflow.topics.delivery import Delivery, Once

__all__ = ["LocalTopology", "Sink"]

#: Takes results; when it returns they are safe. It raises where they are not.
Sink = Callable[[Sequence[Passing]], None]
Message = tuple[int, Record]


class LocalTopology:
    """Runs the components of `microflow.engine.topology.STREAM_TOPOLOGY` on a topic of (ordinal, record) pairs.

    Args:
        spec: What the bolts do.
        delivery: Where records come from, with acknowledgement and replay.
        sink: Where results go. A method that holds records back gives them in its own order.
        compliance: The first bolt, where another than the specification's is wanted (tests make one fail).
    """

    def __init__(
        self,
        spec: ProcessingSpec,
        delivery: Delivery[Message],
        sink: Sink,
        *,
        compliance: Callable[[int, Record], Passing] | None = None,
    ) -> None:
        spec = scoped(spec, "stream")
        self._delivery = delivery
        self._sink = sink
        self._compliance = compliance or ComplianceBolt.of(spec)
        self._last_bolt: Releasing = releasing(spec)
        self._once = Once()
        # Records on their way: what is needed to acknowledge them and to complete their results.
        self._pending: dict[int, tuple[Received[Message], Passing]] = {}

    def step(self, most: int = 1_000, timeout_s: float = 0.0) -> int:
        """Take up to ``most`` records and do what can be done now; returns how many were taken.

        Raises:
            StoreError: a record failed too often, or the sink could not take results.
        """
        taken = self._delivery.take(most, timeout_s)
        new, known = [], []
        for received in taken:
            ordinal = received.value[0]
            if self._once.seen(ordinal):
                known.append(received)
            elif ordinal in self._pending:
                # Given again while it is held back: the latest giving is the one to acknowledge.
                self._pending[ordinal] = received, self._pending[ordinal][1]
            else:
                new.append(received)
        self._settle([result for received in new for result in self._through(received)], known)
        return len(taken)

    def finish(self) -> None:
        """The stream has ended: take what is left, then let go of what was held back."""
        while self.step():
            pass
        results = self._completed(self._last_bolt.flush())
        never = [self._pending[ordinal][1] for ordinal in self._last_bolt.suppressed]
        self._settle([*results, *(passing._replace(record=None) for passing in never)], [])

    def _through(self, received: Received[Message]) -> list[Passing]:
        """One record through the bolts: the results that are ready now, its own or others'."""
        ordinal, record = received.value
        try:
            passing = self._compliance(ordinal, record)
        except MicroflowError:
            self._delivery.fail(received)
            return []
        self._pending[ordinal] = received, passing
        if passing.record is None:
            return [passing]
        return self._completed(self._last_bolt.release(ordinal, passing.record))

    def _completed(self, released: Sequence[tuple[int, Record]]) -> list[Passing]:
        return [self._pending[ordinal][1]._replace(record=record) for ordinal, record in released]

    def _settle(self, results: Sequence[Passing], done: list[Received[Message]]) -> None:
        """Results to the sink first, then the acknowledgement: the other way round would lose them."""
        if results:
            self._sink(results)
        for passing in results:
            self._once.first(passing.ordinal)
            done.append(self._pending.pop(passing.ordinal)[0])
        self._delivery.ack(done)
