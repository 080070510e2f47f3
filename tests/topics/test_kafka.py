"""A real broker, killed and started again on the way."""

from __future__ import annotations

import contextlib
import json
import threading

import pytest
from confluent_kafka import KafkaException, Producer

from microflow.datasets import generate
from microflow.topics.broker import Broker
from microflow.topics.kafka import KafkaReader, KafkaWriter, client_settings, create_topic

ROWS = 4_000


@pytest.mark.timeout(240)
def test_a_broker_killed_while_writing_loses_and_doubles_nothing(broker: Broker) -> None:
    """The writer waits for the broker to come back; what is read is what was written, each once."""
    messages = [json.dumps(row).encode() for block in generate("healthcare", ROWS, 1) for row in block.rows.to_pylist()]
    create_topic(broker.address, "killed", partitions=2)

    def kill_and_restart() -> None:
        broker.kill()
        broker.start()

    restart = threading.Timer(0.1, kill_and_restart)
    restart.start()
    with KafkaWriter(broker.address, "killed") as writer:
        writer.send((b"%d" % n, message) for n, message in enumerate(messages))
    restart.join()
    found: list[bytes] = []
    with KafkaReader(broker.address, "killed") as reader:
        while len(found) < ROWS:
            found += [one.value for one in reader.poll(ROWS)]
        assert reader.poll(1) == []
    assert sorted(found) == sorted(messages)


@pytest.mark.timeout(60)
def test_a_fenced_producer_is_an_error_and_no_line_on_the_screen(
    broker: Broker, capfd: pytest.CaptureFixture[str]
) -> None:
    create_topic(broker.address, "fenced")

    def started() -> Producer:
        producer = Producer({**client_settings(broker.address), "transactional.id": "same"})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce("fenced", b"value")
        return producer

    first = started()
    first.flush()
    started()
    with pytest.raises(KafkaException, match="fenced"):
        first.commit_transaction(30)
    with contextlib.suppress(KafkaException):
        first.poll(0.2)
    assert not capfd.readouterr().err
