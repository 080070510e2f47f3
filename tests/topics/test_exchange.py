"""Three processes share a real topic, one is killed: every record once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.pipeline.topic_job import produce
from microflow.processors.contract import ProcessingSpec
from microflow.processors.service import MessageService, encoded
from microflow.topics.broker import Broker
from microflow.topics.kafka import KafkaReader, KafkaWriter, TopicSettings, create_topic

ROWS = 30_000
KEY = bytes(range(32))


def _all(address: str, topic: str) -> list[bytes]:
    with KafkaReader(address, topic) as reader:
        found: list[bytes] = []
        deadline, last = time.monotonic() + 40, time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - last < 4:
            if got := reader.poll(5_000, 0.5):
                found += [one.value for one in got]
                last = time.monotonic()
    return found


@pytest.mark.timeout(240)
def test_three_processes_one_killed_and_every_record_once(tmp_path: Path, needs_jars: Callable[[str], None]) -> None:
    """Committed results equal the in-process run's as a multiset; poison is in the dead letters, each once."""
    needs_jars("kafka")
    schema = load_schema("healthcare")
    records = [row for block in generate("healthcare", ROWS, 1) for row in block.rows.to_pylist()]
    environment = {**os.environ, "MICROFLOW_TOKEN_KEY": KEY.hex()}
    with Broker(tmp_path / "kafka") as broker:
        for topic in ("in", "out", "in.dead"):
            create_topic(broker.address, topic, TopicSettings(partitions=3))
        source, sink = (f"kafka://{broker.address}/{topic}" for topic in ("in", "out"))
        words = [source, sink, "--schema", "healthcare", "--method", "tokenization", "--until-idle", "20"]
        program = "from microflow.cli import main; main()"
        running = [
            subprocess.Popen([sys.executable, "-c", program, "stream", *words], env=environment) for _ in range(3)
        ]
        try:
            with KafkaWriter(broker.address, "in") as writer:
                half = ROWS // 2
                produce(writer, ((str(n), row) for n, row in enumerate(records[:half])))
                writer.send([(b"bad", b"[" * 100_000), (b"worse", b"\xff")])
                time.sleep(10)
                running[0].kill()
                produce(writer, ((str(n), row) for n, row in enumerate(records[half:])))
            assert [process.wait(120) for process in running[1:]] == [0, 0]
        finally:
            for process in running:
                process.kill()
                process.wait()
        found, dead = _all(broker.address, "out"), _all(broker.address, "in.dead")
    spec = ProcessingSpec(schema, load_policy(schema.policy), MethodSettings(Method.TOKENIZATION), key=KEY)
    outcomes = MessageService(spec)([json.dumps(record).encode() for record in records])
    assert Counter(found) == Counter(encoded(one.released) for one in outcomes if one.released is not None)
    assert sorted(json.loads(letter)["reason"] for letter in dead) == ["not a JSON object"] * 2
