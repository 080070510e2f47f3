"""Exchange from topic to topic, exactly once: results and their positions in one Kafka transaction.

The consumers of a group share the partitions. A commit carries the group's generation (KIP-447), so a process that the
group has expelled cannot commit what another one now works on: its transaction is aborted, and it goes on from what is
committed with the partitions it is given. A transactional id belongs to one process only.
"""

from __future__ import annotations

import threading
import time
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition

from microflow.errors import SetupError, StoreError
from microflow.topics import Kept, Position, Received, Result, letter
from microflow.topics.kafka import PATIENCE_S, client_settings, consumed, enqueue

__all__ = ["GroupSource", "KafkaSink"]

#: A killed process holds up readers of committed records for this long at most, in milliseconds.
_TRANSACTION_MS = 10_000
#: For this long a silent member of the group keeps its partitions, in milliseconds.
_SESSION_MS = 6_000


class GroupSource:
    """Source that is one member of a consumer group.

    Args:
        address: The brokers.
        topic: What is read; it must exist.
        group: Members of one group share the partitions.
        client: More settings (SASL, TLS), by librdkafka's names.
        kept: Who keeps the positions; by default Kafka, in the group's own offsets.

    Raises:
        SetupError: a setting is not known, or no broker answers.
    """

    def __init__(
        self, address: str, topic: str, group: str, client: Mapping[str, str] | None = None, kept: Kept | None = None
    ) -> None:
        self.topic = topic
        self.ended, self.replays, self.rewinds = False, True, 0
        self._kept = kept or self._kept_by_kafka
        self._rebalanced = False
        self._offsets: dict[int, int] = {}
        self._ahead: dict[int, frozenset[int]] = {}
        preset = {"session.timeout.ms": _SESSION_MS, "fetch.wait.max.ms": 100}
        settings = {
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "partition.assignment.strategy": "range",
            # The bound of memory, whatever the producers do.
            "queued.max.messages.kbytes": 16_384,
        }
        try:
            self._consumer = Consumer({**preset, **client_settings(address, client), **settings})
            self._consumer.list_topics(timeout=PATIENCE_S)
        except KafkaException as error:
            raise SetupError(f"Kafka at {address} cannot be used: {_why(error)}") from error
        self._consumer.subscribe([topic], on_assign=self._assigned, on_revoke=self._revoked)

    def poll(self, most: int, timeout_s: float = 1.0) -> list[Received]:
        """Up to ``most`` messages, as soon as there is one; none when the partitions have just been reassigned.

        Raises:
            StoreError: the topic does not exist, or may not be read.
        """
        self._rebalanced = False
        messages = consumed(self._consumer, most, timeout_s)
        if self._rebalanced:
            # What came in the same call may belong to another member by now; it is read again by its owner.
            self.rewind()
            return []
        received = []
        for message in messages:
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None and error.code() in _REFUSED:
                raise StoreError(f"topic {self.topic!r} cannot be read: {error.str()}")
            if error is not None or partition is None or offset is None:
                continue  # librdkafka reconnects by itself
            self._offsets[partition] = offset + 1
            if offset not in self._ahead.get(partition, ()):
                received.append(Received(partition, offset, message.key(), message.value() or b""))
        return received

    def ahead(self, partition: int) -> frozenset[int]:
        """Offsets that were committed ahead of their turn before this process read the partition."""
        return self._ahead.get(partition, frozenset())

    def rewind(self) -> None:
        """Go on from what is committed."""
        self.rewinds += 1
        mine = [assigned.partition for assigned in self._consumer.assignment()]
        kept = self._kept(mine) if mine else {}
        self._offsets = {partition: position.offset for partition, position in kept.items()}
        self._ahead = {partition: position.ahead for partition, position in kept.items()}
        if mine:
            starts = [self._offsets.get(partition, OFFSET_BEGINNING) for partition in mine]
            pairs = zip(mine, starts, strict=True)
            self._consumer.assign([TopicPartition(self.topic, partition, start) for partition, start in pairs])

    def lag(self) -> int:
        """Messages that wait in this process's partitions, by what the broker said last."""
        total = 0
        for partition, offset in self._offsets.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
            total += max(end - offset, 0)
        return total

    def member(self) -> object:
        """Metadata of this member of the group, for a transaction."""
        return self._consumer.consumer_group_metadata()

    def acknowledge(self, positions: Mapping[int, Position]) -> None:
        """Keep the positions in Kafka, by themselves: for sinks that know no transaction.

        Raises:
            StoreError: the broker was away too long, or another process works on the partitions now.
        """
        there = places(self.topic, positions)
        try:
            _until_done(lambda _: self._consumer.commit(offsets=there, asynchronous=False))
        except KafkaException as error:
            raise StoreError(f"the positions could not be kept: {_why(error)}", hint=_RESTART) from error

    def close(self) -> None:
        """Leave the group, so that its other members need not wait."""
        self._consumer.close()

    def _kept_by_kafka(self, partitions: Sequence[int]) -> Mapping[int, Position]:
        asked = [TopicPartition(self.topic, partition) for partition in partitions]
        found: list[TopicPartition] = []
        try:
            # While a transaction is being decided the broker says so by letting this wait.
            _until_done(lambda left: found.extend(self._consumer.committed(asked, left)))
        except KafkaException as error:
            raise StoreError(f"the positions could not be read: {_why(error)}", hint=_RESTART) from error
        return {
            place.partition: Position(place.offset, _ahead_of(place.offset, place.metadata))
            for place in found
            if place.offset >= 0
        }

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalanced = True
        consumer.assign(partitions)

    def _revoked(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._rebalanced = True
        self._offsets = {}
        consumer.unassign()


class KafkaSink:
    """Sink with a transactional producer: released records, dead letters and positions, all or none.

    Args:
        address: The brokers; those of the source too, because a transaction spans one cluster.
        topic: Where released records go.
        source: Whose positions are committed; ``None`` where the source keeps none.
        dead: The topic for messages that cannot be read; ``None`` where they go elsewhere.
        client: More settings, by librdkafka's names.

    Raises:
        SetupError: the broker does not answer, or a setting is not known.
    """

    def __init__(
        self,
        address: str,
        topic: str,
        source: GroupSource | None = None,
        *,
        dead: str | None = None,
        client: Mapping[str, str] | None = None,
    ) -> None:
        self._topic, self._dead, self._source = topic, dead, source
        self._thread = ThreadPoolExecutor(1, "commit")
        preset = {
            "transaction.timeout.ms": _TRANSACTION_MS,
            "linger.ms": 1,
            # The broker refuses a transaction until the last one's markers are written, which takes a few milliseconds:
            # the client's own 100 ms between tries would be most of a record's latency. It doubles with each try.
            "retry.backoff.ms": 10,
            "compression.type": "lz4",
        }
        self._settings = {**preset, **client_settings(address, client)}
        try:
            self._producer = self._new_producer()
            known = self._producer.list_topics(timeout=PATIENCE_S).topics
        except KafkaException as error:
            raise SetupError(f"Kafka at {address} cannot be used: {_why(error)}") from error
        for name in (topic, dead):
            if name is not None and name not in known:
                raise SetupError(f"there is no topic {name!r}", hint="create it, then start the stream")

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        """Commit in one transaction; false if it was aborted.

        Raises:
            StoreError: the broker was away too long.
        """
        return self.start(results, positions).result()

    def start(self, results: Sequence[Result], positions: Mapping[int, Position]) -> Future[bool]:
        """Begin a commit in a thread: most of a transaction is waiting for the broker.

        It carries the generation in which the results were read. Where the group shares its partitions anew before the
        broker has the positions, it refuses them, and the transaction is aborted.
        """
        member = None if self._source is None else self._source.member()
        return self._thread.submit(self._commit, results, positions, member)

    def _commit(self, results: Sequence[Result], positions: Mapping[int, Position], member: object) -> bool:
        try:
            self._producer.begin_transaction()
            self._produce(results)
            if self._source is not None and not self._add_positions(places(self._source.topic, positions), member):
                self._producer = self._new_producer()
                return False
            _until_done(self._producer.commit_transaction)
        except KafkaException as error:
            self._give_up(error)
            return False
        else:
            return True

    def _produce(self, results: Sequence[Result]) -> None:
        for result in results:
            if result.text is not None:
                enqueue(self._producer, self._topic, result.text, result.key)
            elif result.reason is not None and self._dead is not None:
                enqueue(self._producer, self._dead, letter(result))

    def _new_producer(self) -> Producer:
        producer = Producer({**self._settings, "transactional.id": f"microflow-{uuid.uuid4().hex}"})
        producer.init_transactions(PATIENCE_S)
        return producer

    def _give_up(self, failed: KafkaException) -> None:
        """Abort. A producer whose transaction timed out at the broker, even while it was aborted, is replaced.

        What became of its last transaction the positions say: the broker tells them when it is decided, and not before.
        """
        try:
            if failed.args[0].txn_requires_abort():
                _until_done(self._producer.abort_transaction)
                return
        except KafkaException as error:
            failed = error
        try:
            if not failed.args[0].fatal():
                raise failed
            self._producer = self._new_producer()
        except KafkaException as error:
            raise StoreError(f"the transaction failed: {_why(error)}", hint=_RESTART) from error

    def _add_positions(self, there: list[TopicPartition], member: object) -> bool:
        """Add the positions to the transaction; false where no answer came until the broker has given it up.

        A broker that goes away meanwhile makes the client wait for ever, whatever its time limit (librdkafka issues
        5456 and 5511). So it waits in a thread of its own, which is left behind with its producer.
        """
        send, failed = self._producer.send_offsets_to_transaction, list[KafkaException]()

        def work() -> None:
            try:
                _until_done(lambda left: send(there, member, left))
            except KafkaException as error:
                failed.append(error)

        waiting = threading.Thread(target=work, name="positions", daemon=True)
        waiting.start()
        waiting.join(float(str(self._settings["transaction.timeout.ms"])) / 1_000)
        if waiting.is_alive():
            return False
        if failed:
            raise failed[0]
        return True


def _until_done(step: Callable[[float], object]) -> None:
    """A step whose answer was lost is asked for again; librdkafka makes that harmless."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            step(max(deadline - time.monotonic(), 1))
        except KafkaException as error:
            if time.monotonic() > deadline or not (error.args[0].retriable() or error.args[0].code() in _PASSING):
                raise
            time.sleep(0.1)
        else:
            return


def places(topic: str, positions: Mapping[int, Position]) -> list[TopicPartition]:
    """Positions as Kafka keeps them: what is done ahead of its turn is the metadata."""
    found = []
    for partition, at in positions.items():
        # One bit an offset: Kafka keeps 4 KB beside a position, enough for 24,000 offsets.
        bits = sum(1 << (offset - at.offset) for offset in at.ahead)
        metadata = b64encode(bits.to_bytes((bits.bit_length() + 7) // 8, "little")).decode()
        found.append(TopicPartition(topic, partition, at.offset, metadata))
    return found


def _ahead_of(offset: int, metadata: str | None) -> frozenset[int]:
    bits = int.from_bytes(b64decode(metadata or ""), "little")
    return frozenset(offset + distance for distance in range(bits.bit_length()) if bits >> distance & 1)


_RESTART = "nothing uncommitted was released; start it again and it goes on behind the last commit"
#: What a broker says that has just been started again.
_PASSING = (
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TIMED_OUT,  # noqa: SLF001 - so begin the names of the client's own codes
    KafkaError._TRANSPORT,  # noqa: SLF001
)
_REFUSED = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)


def _why(error: KafkaException) -> str:
    return str(error.args[0].str())
