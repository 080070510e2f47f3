"""Source and sink of a stream: a topic, standard input or output, a file, PostgreSQL, in any combination.

Who keeps the positions decides what is guaranteed: a topic's sink in Kafka's own transaction, PostgreSQL in that of the
rows, a file in the journal beside it (exactly once each); standard output at least once.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from microflow.anonymize.contract import Method
from microflow.engine.contract import ProcessingSpec
from microflow.errors import SetupError
from microflow.topics import DeadLetters, Kept, Sink, Source
from microflow.topics.lines import FileSink, LetterFile, LetterLines, LineSource, OutputSink

__all__ = ["Ends", "StreamSpec", "open_ends"]

_POSTGRESQL = ("postgresql", "postgres")
#: So many records may be held back where Kafka keeps, beside a position, what has left behind it.
_MOST_HELD = 10_000


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """Specification of a stream's source and sink.

    Attributes:
        source: ``kafka://HOST:PORT/TOPIC``, or ``-``.
        sink: The same, ``postgresql`` (the database of the settings) or its address, or a file.
        pipeline: ``stream`` or ``hybrid``.
        group: The consumer group; by default from schema and topic.
        dead: A topic or a file for messages that cannot be read; by default beside the results.
        client: More settings for Kafka, by librdkafka's names.
    """

    source: str
    sink: str
    pipeline: str = "hybrid"
    group: str | None = None
    dead: str | None = None
    client: Mapping[str, str] | None = None


@dataclass(slots=True)
class Ends:
    """Open source and sink; ``dead`` if the sink notes no dead letters itself, ``finish`` for a job's last word."""

    source: Source
    sink: Sink
    dead: DeadLetters | None = None
    finish: Callable[[Mapping[str, object]], None] | None = None


@dataclass(frozen=True, slots=True)
class _Topic:
    address: str
    name: str


def open_ends(stack: ExitStack, stream: StreamSpec, spec: ProcessingSpec) -> Ends:
    """Open both ends of a stream until the stack is left.

    Raises:
        SetupError: a place that is none, an end that cannot be reached, or two ends that do not go together.
    """
    topic, target = _topic(stream.source), _topic(stream.sink)
    name = topic.name if topic else "stdin"
    group = stream.group or f"microflow-{spec.schema.name}-{name}"
    kafka_keeps = topic is not None and (target is not None or stream.sink == "-")
    if kafka_keeps and spec.method.method is Method.K_ANONYMITY and spec.method.delta > _MOST_HELD:
        raise SetupError(f"--delta is at most {_MOST_HELD:,} where Kafka keeps the positions")
    if target is not None:
        return _to_topic(stack, stream, topic, target, group)
    if stream.sink == "-":
        source = _source(stack, stream, topic, group, None)
        acknowledge = getattr(source, "acknowledge", None)
        return Ends(source, OutputSink(sys.stdout.buffer, acknowledge), _dead(stack, stream))
    if urlsplit(stream.sink).scheme in _POSTGRESQL or stream.sink in _POSTGRESQL:
        return _to_postgresql(stack, stream, topic, group, spec)
    return _to_file(stack, stream, topic)


def _to_topic(stack: ExitStack, stream: StreamSpec, topic: _Topic | None, target: _Topic, group: str) -> Ends:
    from microflow.topics.exchange import GroupSource, KafkaSink  # the client is slow to load

    if topic is not None and topic.address != target.address:
        raise SetupError("a transaction spans one cluster", hint="SOURCE and SINK name the same HOST:PORT")
    dead = _topic(stream.dead or "")
    if stream.dead is None and topic is not None:
        dead = _Topic(target.address, f"{topic.name}.dead")
    inside = dead.name if dead is not None and dead.address == target.address else None
    source = _source(stack, stream, topic, group, None)
    committing = source if isinstance(source, GroupSource) else None
    sink = KafkaSink(target.address, target.name, committing, dead=inside, client=stream.client)
    return Ends(source, sink, None if inside else _dead(stack, stream))


def _to_postgresql(
    stack: ExitStack, stream: StreamSpec, topic: _Topic | None, group: str, spec: ProcessingSpec
) -> Ends:
    from microflow.store.connector import PostgreSQLConnector  # a stream without a database needs no driver
    from microflow.store.topics import TopicStore

    connector = stack.enter_context(PostgreSQLConnector(stream.sink if "://" in stream.sink else None))
    store = TopicStore(connector, group, topic.name if topic else "-")
    source = _source(stack, stream, topic, group, store.kept)
    store.begin(pipeline=stream.pipeline, method=str(spec.method.method))
    return Ends(source, store, _dead(stack, stream) if stream.dead else None, store.end)


def _to_file(stack: ExitStack, stream: StreamSpec, topic: _Topic | None) -> Ends:
    path = Path(stream.sink)
    if stream.group is not None:
        raise SetupError("a file is written by one process", hint="leave --group out, or name a topic or PostgreSQL")
    foreign = _topic(stream.dead or "") is not None
    letters = None if foreign else Path(stream.dead or f"{stream.sink}.dead")
    sink = FileSink(path, stream.source, letters)
    stack.callback(sink.close)
    # A group of its own: no other consumer may be assigned its partitions.
    group = f"microflow-{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    return Ends(_source(stack, stream, topic, group, sink.kept), sink, _dead(stack, stream) if foreign else None)


def _source(stack: ExitStack, stream: StreamSpec, topic: _Topic | None, group: str, kept: Kept | None) -> Source:
    if topic is None:
        if stream.source != "-":
            raise SetupError(f"{stream.source!r} is no source", hint="kafka://HOST:PORT/TOPIC, or '-'")
        if sys.stdin is None:
            raise SetupError("standard input is closed", hint="send JSON Lines to it, or name a topic")
        before = kept((0,)) if kept is not None else {}
        # Unbuffered: a thread that waits in a buffer's lock would not let the process end.
        file = getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        return LineSource(file, before[0].offset if before else 0)
    from microflow.topics.exchange import GroupSource

    source = GroupSource(topic.address, topic.name, group, stream.client, kept)
    stack.callback(source.close)
    return source


def _dead(stack: ExitStack, stream: StreamSpec) -> DeadLetters:
    if stream.dead is None:
        return LetterLines(sys.stderr)
    topic = _topic(stream.dead)
    if topic is None:
        letters = LetterFile(Path(stream.dead))
        stack.callback(letters.close)
        return letters
    from microflow.topics.kafka import KafkaWriter, LetterTopic

    return LetterTopic(KafkaWriter(topic.address, topic.name, stream.client))


def _topic(text: str) -> _Topic | None:
    parts = urlsplit(text)
    if parts.scheme != "kafka":
        return None
    if not parts.netloc or not parts.path.strip("/"):
        raise SetupError(f"{text!r} names no topic", hint="kafka://HOST:PORT/TOPIC")
    return _Topic(parts.netloc, parts.path.strip("/"))
