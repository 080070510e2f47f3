"""A real broker, killed and started again on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from microflow.datasets import generate
from microflow.topics.broker import Broker
from microflow.topics.kafka import KafkaReader, KafkaWriter, TopicSettings, create_topic

ROWS = 4_000


@pytest.mark.timeout(240)
def test_a_broker_killed_while_writing_loses_and_doubles_nothing(broker: Broker) -> None:
    """The writer waits for the broker to come back; what is read is what was written, each once."""
    messages = [json.dumps(row).encode() for block in generate("healthcare", ROWS, 1) for row in block.rows.to_pylist()]
    create_topic(broker.address, "killed", TopicSettings(partitions=2))

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
        while reader.backlog():
            found += [one.value for one in reader.poll(ROWS)]
    assert sorted(found) == sorted(messages)


def test_spark_reads_the_same_topic(broker: Broker, needs_jars: Callable[[str], None], tmp_path: Path) -> None:
    """What one client wrote, Spark's own connector reads, in a session of its own."""
    needs_jars("spark-kafka")
    create_topic(broker.address, "spark")
    with KafkaWriter(broker.address, "spark") as writer:
        writer.send((str(n).encode(), b"value") for n in range(1_000))
    code = (
        "import os; from microflow.jvm.java import java_environment;"
        "os.environ.update(java_environment());"
        "from pyspark.sql import SparkSession; from microflow.topics.spark import connector_jars, read_topic;"
        "session = SparkSession.builder.master('local[1]').config('spark.jars', connector_jars())"
        ".config('spark.driver.extraJavaOptions', '-XX:TieredStopAtLevel=1 -XX:+UseSerialGC')"
        ".config('spark.ui.enabled', 'false').config('spark.sql.shuffle.partitions', '1').getOrCreate();"
        f"print('rows', read_topic(session, '{broker.address}', 'spark').select('key').distinct().count())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, timeout=120
    )
    assert "rows 1000" in done.stdout
