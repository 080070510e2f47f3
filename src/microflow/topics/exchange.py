"""Topic to topic, exactly once: results and the offsets behind them in one Kafka transaction.

The consumers of a group share the partitions. A commit carries the group's generation (KIP-447), so a process that the
group has given up cannot commit what another one now works on: its transaction is aborted, and it goes on from what is
committed with the partitions it is given. A transactional id belongs to one process only.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from microflow.errors import SetupError, StoreError
from microflow.topics.contract import Received

__all__ = ["Exchange"]

#: How long a lost broker is waited for, in seconds.
PATIENCE_S = 60
#: A killed process holds up readers of committed records for this long at most, in milliseconds.
_TRANSACTION_MS = 10_000
#: For this long a silent member of the group keeps its partitions, in milliseconds.
_SESSION_MS = 6_000

#: Topic, key and value of a message to send.
Message = tuple[str, bytes | None, bytes]


class Exchange:
    """One member of a consumer group with a transactional producer.

    Args:
        address: The brokers.
        topic: What is read; it must exist.
        group: Members of one group share the partitions.
        client: More settings for both clients (SASL, TLS), by librdkafka's names.

    Raises:
        SetupError: the broker does not answer, or a setting is not known.
    """

    def __init__(self, address: str, topic: str, group: str, client: Mapping[str, str] | None = None) -> None:
        shared = {"log_level": 0, "reconnect.backoff.max.ms": 1_000, **(client or {}), "bootstrap.servers": address}
        self._topic = topic
        self._rebalanced = False
        #: Partition to the offset that is polled next.
        self.offsets: dict[int, int] = {}
        try:
            self._consumer = Consumer(
                {
                    **shared,
                    "group.id": group,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "session.timeout.ms": _SESSION_MS,
                    "partition.assignment.strategy": "range",
                    # The bound of memory, whatever the producers do.
                    "queued.max.messages.kbytes": 16_384,
                }
            )
            self._producer = Producer(
                {
                    **shared,
                    "transactional.id": f"{group}-{uuid.uuid4().hex}",
                    "transaction.timeout.ms": _TRANSACTION_MS,
                    "linger.ms": 5,
                    "compression.type": "lz4",
                }
            )
            self._producer.init_transactions(PATIENCE_S)
        except KafkaException as error:
            raise SetupError(f"Kafka at {address} cannot be used: {_why(error)}") from error
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)

    def poll(self, most: int, timeout_s: float = 1.0) -> list[Received[bytes]]:
        """Up to ``most`` messages; none when the partitions have just been shared anew.

        Raises:
            StoreError: the topic does not exist, or may not be read.
        """
        self._rebalanced = False
        messages = self._consumer.consume(most, timeout_s)
        if self._rebalanced:
            # What came in the same call may belong to another member by now; it is read again by its owner.
            self._rewind()
            return []
        received = []
        for message in messages:
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None and error.code() in _REFUSED:
                raise StoreError(f"topic {self._topic!r} cannot be read: {error.str()}")
            if error is not None or partition is None or offset is None:
                continue  # librdkafka reconnects by itself
            self.offsets[partition] = offset + 1
            received.append(Received(partition, offset, message.key(), message.value() or b""))
        return received

    def commit(self, messages: Iterable[Message]) -> bool:
        """Send the messages and commit what has been polled, all or none.

        Returns:
            Whether it is committed; if not, everything since the last commit will be polled again.

        Raises:
            StoreError: another process has taken this one's place, or the broker was away too long.
        """
        try:
            self._producer.begin_transaction()
            for topic, key, value in messages:
                self._produce(topic, key, value)
            places = [TopicPartition(self._topic, partition, offset) for partition, offset in self.offsets.items()]
            group = self._consumer.consumer_group_metadata()
            self._producer.send_offsets_to_transaction(places, group, PATIENCE_S)
            self._until_done(self._producer.commit_transaction)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise StoreError(f"the transaction failed: {_why(error)}", hint=_RESTART) from error
            self._abort()
            return False
        else:
            return True

    def close(self) -> None:
        """Leave the group, so that its other members need not wait."""
        self._consumer.close()

    def _produce(self, topic: str, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _abort(self) -> None:
        try:
            self._until_done(self._producer.abort_transaction)
            self._rewind()
        except KafkaException as error:
            raise StoreError(f"the transaction could not be given up: {_why(error)}", hint=_RESTART) from error

    def _until_done(self, step: Callable[[float], object]) -> None:
        """A step whose answer was lost is asked for again; librdkafka makes that harmless."""
        for last in (False, False, True):
            try:
                step(PATIENCE_S)
            except KafkaException as error:
                if last or not error.args[0].retriable():
                    raise
            else:
                return

    def _rewind(self) -> None:
        """Go on from what is committed."""
        mine = [TopicPartition(self._topic, one.partition) for one in self._consumer.assignment()]
        if not mine:
            self.offsets = {}
            return
        places = self._consumer.committed(mine, PATIENCE_S)
        self.offsets = {one.partition: one.offset for one in places if one.offset >= 0}
        starts = [
            TopicPartition(self._topic, one.partition, one.offset if one.offset >= 0 else OFFSET_BEGINNING)
            for one in places
        ]
        self._consumer.assign(starts)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalanced = True
        consumer.assign(partitions)

    def _revoked(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._rebalanced = True
        self.offsets = {}
        consumer.unassign()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_RESTART = "nothing uncommitted was released; start it again and it goes on behind the last commit"
_REFUSED = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


def _why(error: KafkaException) -> str:
    return str(error.args[0].str())
