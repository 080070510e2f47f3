"""Records in and out of Kafka, so that a restart continues exactly where the results were committed.

*Writer*: idempotent (``enable.idempotence``, ``acks=all``): a retry after a lost answer neither loses nor doubles nor
reorders. *Reader*: offsets belong to the caller, who commits them with the results in one PostgreSQL transaction
(Kafka's own consumer-group offsets are not used), so that reading again and committing again are one decision.

The same two work against the embedded broker and against ``KAFKA_BOOTSTRAP_SERVERS``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from microflow.errors import SetupError, StoreError
from microflow.topics.contract import Received

__all__ = ["GroupLag", "KafkaReader", "KafkaWriter", "TopicSettings", "create_topic"]

#: How long a lost broker is waited for, in seconds, before the caller is told.
PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """How a topic is kept. A record's key decides its partition; order holds within one."""

    partitions: int = 1
    replication: int = 1
    retention_ms: int = 7 * 24 * 3_600_000


def create_topic(address: str, name: str, settings: TopicSettings | None = None) -> None:
    """Create a topic in pre-processing; one that exists is left as it is.

    Raises:
        SetupError: the broker does not answer, or refuses.
    """
    chosen = settings or TopicSettings()
    topic = NewTopic(
        name,
        num_partitions=chosen.partitions,
        replication_factor=chosen.replication,
        config={"retention.ms": str(chosen.retention_ms)},
    )
    admin = AdminClient(_client(address))  # it must outlive the future
    future = admin.create_topics([topic], operation_timeout=PATIENCE_S)[name]
    try:
        future.result(timeout=PATIENCE_S)
    except (KafkaException, TimeoutError) as error:
        code = error.args[0].code() if isinstance(error, KafkaException) else None
        if code != KafkaError.TOPIC_ALREADY_EXISTS:
            raise SetupError(
                f"topic {name!r} could not be created at {address}",
                hint="is the broker up? KAFKA_BOOTSTRAP_SERVERS names it, 'make kafka' starts one",
            ) from error


class KafkaWriter:
    """Sends records to one topic; leaving the block waits until every one is acknowledged."""

    def __init__(self, address: str, topic: str, client: Mapping[str, str] | None = None) -> None:
        self._topic = topic
        self._undelivered = 0
        self._producer = Producer(
            {
                **(client or {}),
                **_client(address),
                "enable.idempotence": True,
                "linger.ms": 5,
                "delivery.timeout.ms": PATIENCE_S * 1_000,
                "compression.type": "lz4",
            }
        )

    def send(self, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """Queue (key, value) pairs, waiting while the local queue is full: back-pressure, not loss."""
        for key, value in records:
            while True:
                try:
                    self._producer.produce(self._topic, value, key, on_delivery=self._delivered)
                    break
                except BufferError:
                    self._producer.poll(0.1)
        self._producer.poll(0)

    def flush(self) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            StoreError: the broker was away for longer than a minute; the caller may send again from its checkpoint.
        """
        waiting = self._producer.flush(PATIENCE_S)
        if waiting or self._undelivered:
            raise StoreError(
                f"{waiting + self._undelivered} records were not acknowledged by Kafka",
                hint="the broker was away too long; bring it back and resume the job",
            )

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        self._undelivered += error is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()


class KafkaReader:
    """Reads one topic from given offsets; `offsets` is what to commit with the results of all that was received."""

    def __init__(self, address: str, topic: str, offsets: Mapping[int, int] | None = None) -> None:
        self._consumer = Consumer(
            {
                **_client(address),
                "group.id": f"microflow-{topic}",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._topic = topic
        self.offsets: dict[int, int] = dict(offsets or {})
        partitions = self._partitions()
        starts = [TopicPartition(topic, one, self.offsets.get(one, OFFSET_BEGINNING)) for one in partitions]
        self._consumer.assign(starts)

    def poll(self, most: int, timeout_s: float = 1.0) -> list[Received[bytes]]:
        """Up to ``most`` records in partition order, as soon as there is one; empty when none came in time.

        A lost broker is waited for.
        """
        received = []
        messages = self._consumer.consume(1, timeout_s)
        if messages and most > 1:
            # Asked for more at once, the client would wait for all of them.
            messages += self._consumer.consume(most - 1, 0)
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if message.error() is not None or partition is None or offset is None:
                continue  # librdkafka reconnects by itself; what was not received is received later
            self.offsets[partition] = offset + 1
            received.append(Received(partition, offset, message.key(), message.value() or b""))
        return received

    def backlog(self) -> int:
        """Records in the topic that have not been received."""
        total = 0
        for partition in self._partitions():
            first, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, partition), PATIENCE_S)
            total += end - max(first, self.offsets.get(partition, 0))
        return total

    def close(self) -> None:
        """Leave; offsets stay with the caller."""
        self._consumer.close()

    def _partitions(self) -> list[int]:
        topics = self._consumer.list_topics(self._topic, PATIENCE_S).topics
        partitions = sorted(topics[self._topic].partitions) if self._topic in topics else []
        if not partitions:
            raise SetupError(f"there is no topic {self._topic!r}", hint="it is created in pre-processing: create_topic")
        return partitions

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class GroupLag:
    """How far a consumer group is behind its topic; it does not take part in the group."""

    def __init__(self, address: str, topic: str, group: str, partitions: int) -> None:
        self._consumer = Consumer({**_client(address), "group.id": group, "enable.auto.commit": False})
        self._places = [TopicPartition(topic, one) for one in range(partitions)]

    def read(self, timeout_s: float = 1.0) -> tuple[int, int] | None:
        """Messages in the topic, and how many of them the group has committed; ``None`` while the broker is away."""
        try:
            committed = self._consumer.committed(self._places, timeout_s)
            ends = [self._consumer.get_watermark_offsets(place, timeout_s) for place in self._places]
        except KafkaException:
            return None
        return sum(end for _, end in ends), sum(max(place.offset, 0) for place in committed)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()


def _client(address: str) -> dict[str, str | int | float | bool]:
    """Reconnect quickly and keep librdkafka's own log quiet: what matters is raised."""
    return {"bootstrap.servers": address, "log_level": 0, "reconnect.backoff.max.ms": 1_000}
