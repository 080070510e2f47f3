"""Client of a Kafka topic: creation, writing, reading from given offsets, and the lag of a group.

The *writer* is idempotent (``enable.idempotence``, ``acks=all``): a retry after a lost answer neither loses nor doubles
nor reorders. The *reader* sees committed records only, and takes part in no group. What serves a topic exactly once is
`microflow.topics.exchange`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from microflow.errors import SetupError, StoreError
from microflow.topics import Received, Result, letter

__all__ = [
    "GroupLag", "KafkaReader", "KafkaWriter", "LetterTopic", "client_settings", "consumed", "create_topic", "enqueue",
]  # fmt: skip

#: How long a lost broker is waited for, in seconds, before it is an error.
PATIENCE_S = 60


def create_topic(address: str, name: str, partitions: int = 1) -> None:
    """Create a topic in pre-processing; one that exists is left as it is.

    A record's key decides its partition; order holds within one.

    Raises:
        SetupError: the broker does not answer, or refuses.
    """
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1)
    admin = AdminClient(client_settings(address))  # it must outlive the future
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
    """Writer of records to one topic; leaving the block waits until every one is acknowledged."""

    def __init__(self, address: str, topic: str, client: Mapping[str, str] | None = None) -> None:
        self._topic = topic
        self._undelivered = 0
        self._producer = Producer(
            {
                **client_settings(address, client),
                "enable.idempotence": True,
                "linger.ms": 5,
                "delivery.timeout.ms": PATIENCE_S * 1_000,
                "compression.type": "lz4",
            }
        )

    def send(self, records: Iterable[tuple[bytes | None, bytes]]) -> None:
        """Queue (key, value) pairs, waiting while the local queue is full: back-pressure, not loss."""
        for key, value in records:
            enqueue(self._producer, self._topic, value, key, on_delivery=self._delivered)
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.flush()


class LetterTopic:
    """A topic of dead letters outside of the sink's transaction; after a crash a letter may stand there twice."""

    def __init__(self, writer: KafkaWriter) -> None:
        self._writer = writer

    def add(self, results: Sequence[Result]) -> None:
        """Send, and wait until all are safe."""
        if results:
            self._writer.send((b"%d-%d" % (result.partition, result.offset), letter(result)) for result in results)
            self._writer.flush()


class KafkaReader:
    """Reader of the committed records of one topic, from its beginning or from given offsets on.

    Raises:
        SetupError: there is no such topic.
    """

    def __init__(self, address: str, topic: str, offsets: Mapping[int, int] | None = None) -> None:
        group = {"group.id": f"microflow-{topic}", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer({**client_settings(address), **group})
        topics = self._consumer.list_topics(topic, PATIENCE_S).topics
        partitions = sorted(topics[topic].partitions) if topic in topics else []
        if not partitions:
            raise SetupError(f"there is no topic {topic!r}", hint="it is created in pre-processing: create_topic")
        starts = dict.fromkeys(partitions, OFFSET_BEGINNING) | dict(offsets or {})
        self._consumer.assign([TopicPartition(topic, partition, start) for partition, start in starts.items()])

    def poll(self, most: int, timeout_s: float = 1.0) -> list[Received]:
        """Up to ``most`` records in partition order, as soon as there is one; empty when none came in time.

        A lost broker is waited for.
        """
        return [
            Received(message.partition() or 0, message.offset() or 0, message.key(), message.value() or b"")
            for message in consumed(self._consumer, most, timeout_s)
            if message.error() is None  # librdkafka reconnects by itself; what was not received is received later
        ]

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class GroupLag:
    """Lag of a consumer group behind its topic; it does not take part in the group."""

    def __init__(self, address: str, topic: str, group: str, partitions: int) -> None:
        self._consumer = Consumer({**client_settings(address), "group.id": group, "enable.auto.commit": False})
        self._places = [TopicPartition(topic, partition) for partition in range(partitions)]

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


def client_settings(address: str, client: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Reconnect quickly and keep librdkafka's own log quiet: what matters is raised."""
    logger = logging.getLogger("librdkafka")
    logger.setLevel(logging.CRITICAL + 1)
    return {
        "log_level": 0,
        "logger": logger,  # else a fenced producer writes a line to the screen, whatever the level
        "reconnect.backoff.max.ms": 1_000,
        **(client or {}),
        "bootstrap.servers": address,
    }


def enqueue(producer: Producer, *message: Any, **settings: Any) -> None:
    """Send a message to a producer; wait while its queue is full."""
    while True:
        try:
            producer.produce(*message, **settings)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def consumed(consumer: Consumer, most: int, timeout_s: float) -> list[Message]:
    """Up to ``most`` messages, as soon as there is one; asked for all at once, the client would wait for them."""
    messages = consumer.consume(1, timeout_s)
    return messages + consumer.consume(most - 1, 0) if messages and most > 1 else messages
