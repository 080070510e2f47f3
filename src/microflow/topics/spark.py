"""The same topics, read by Spark through its own Kafka connector."""

from __future__ import annotations

from typing import TYPE_CHECKING

from microflow.jvm.maven import jars

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["connector_jars", "read_topic"]


def connector_jars() -> str:
    """What ``spark.jars`` must hold before a session is made, or ``--jars`` on a cluster.

    Raises:
        SetupError: Maven or the network is missing.
    """
    return ",".join(str(jar) for jar in jars("spark-kafka"))


def read_topic(session: SparkSession, address: str, topic: str) -> DataFrame:
    """Everything in a topic now: ``key``, ``value`` (binary), ``partition``, ``offset``."""
    source = session.read.format("kafka").option("kafka.bootstrap.servers", address).option("subscribe", topic)
    return source.load().select("key", "value", "partition", "offset")
