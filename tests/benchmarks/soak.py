"""``make bench SUITE=live ARGS='--soak MINUTES'``: the live service in a process of its own, at half load.

A service that runs for long must not grow, slow down, lose a record or give one twice. Records are numbered, so each
that comes out is known; which of them are suppressed is worked out in this process beforehand. The service stands
between two topics of a broker, exactly once, or, where there is no Java, between standard input and standard output.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import psutil

from benchmarks.harness import Line, fixed
from benchmarks.pipelines import WORK
from microflow.datasets import generate
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import MicroflowError, SetupError
from microflow.experiments.kafka import missing
from microflow.experiments.work import spec_of
from microflow.timing.meters import LatencyRecorder

__all__ = ["soak"]

_ROWS = 10_000
#: So many records start the service; so many times the rows are then offered at once, and say what it carries.
_FIRST, _FLAT_OUT = 200, 10
_START_S, _IDLE_S, _POLL_S = 60.0, 10.0, 0.2
_AT_ONCE, _PIECE = 2_000, 1 << 20
#: Records a second that nothing carries.
_FLAT = 1e9
#: The highest growth of memory from the first fifth of the time to the last that counts as flat: parts of it.
_GROWTH = 0.05


class _Numbered(msgspec.Struct):
    record_id: int


_number = msgspec.json.Decoder(_Numbered).decode


class _Records:
    """Endless sequence of numbered messages, and which of them the service releases."""

    def __init__(self, rows: int, spec: ProcessingSpec) -> None:
        records = [record for batch in generate("healthcare", rows, seed=1) for record in batch.rows.to_pylist()]
        texts = [json.dumps(record, separators=(",", ":")).encode() for record in records]
        self._tails = [text.partition(b",")[2] for text in texts]
        outcomes = MessageService(spec, hybrid=True)(texts)
        self._is_released = np.array([outcome.released is not None for outcome in outcomes])

    def messages(self, first: int, last: int) -> list[bytes]:
        tails, rows = self._tails, len(self._tails)
        return [b'{"record_id":%d,%s' % (number, tails[number % rows]) for number in range(first, last)]

    def released(self, first: int, last: int) -> int:
        """Number of those that come out."""
        return int(np.count_nonzero(self._is_released[np.arange(first, last) % len(self._is_released)]))

    def missing(self, seen: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> int:
        """Number of those that should have come out and have not."""
        return int(np.count_nonzero(self._is_released[np.arange(len(seen)) % len(self._is_released)] & (seen == 0)))


class _Ends(Protocol):
    """Both ends of the running service."""

    process: subprocess.Popen[bytes]

    def send(self, first: int, messages: Sequence[bytes]) -> None: ...

    def receive(self) -> list[bytes]: ...


def _command(*ends: str) -> list[str]:
    return [sys.executable, "-m", "microflow", "stream", *ends, "--schema", "healthcare", "--method", "tokenization"]


class _Pipes:
    """Standard input and standard output."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            _command("-", "-"),
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._in, self._out = self.process.stdin, self.process.stdout.fileno()
        self._rest = b""

    def send(self, _first: int, messages: Sequence[bytes]) -> None:
        self._in.write(b"\n".join([*messages, b""]))
        self._in.flush()

    def receive(self) -> list[bytes]:
        if not select.select([self._out], [], [], _POLL_S)[0]:
            return []
        *lines, self._rest = (self._rest + os.read(self._out, _PIECE)).split(b"\n")
        return lines


class _Topics:
    """Two topics of a broker."""

    def __init__(self, address: str, environment: dict[str, str]) -> None:
        from microflow.topics.kafka import KafkaReader, KafkaWriter, create_topic

        for topic in ("in", "in.safe", "in.dead"):
            create_topic(address, topic, partitions=2)
        self._writer, self._reader = KafkaWriter(address, "in"), KafkaReader(address, "in.safe")
        place = f"kafka://{address}/in"
        self.process = subprocess.Popen(
            _command(place, f"{place}.safe"), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def send(self, first: int, messages: Sequence[bytes]) -> None:
        self._writer.send((b"%d" % number, message) for number, message in enumerate(messages, first))

    def receive(self) -> list[bytes]:
        return [received.value for received in self._reader.poll(10_000, _POLL_S)]


class _Soak:
    """What was offered, and what came out of it; numbers of records go on from one load to the next."""

    def __init__(self, ends: _Ends, records: _Records) -> None:
        self._ends, self._records = ends, records
        self._service = psutil.Process(ends.process.pid)
        self.seen = np.zeros(0, np.uint8)
        self.by_minute: list[LatencyRecorder] = []
        self.memory: list[int] = []

    def offer(self, count: int, rate: float) -> float:
        """Offer so many records at this rate, and wait until nothing more comes; the seconds until the last came out.

        Raises:
            MicroflowError: the service ended.
        """
        first, last = len(self.seen), len(self.seen) + count
        self.seen = np.concatenate([self.seen, np.zeros(count, np.uint8)])
        self.by_minute, self.memory = [], []
        wanted, came = self._records.released(first, last), 0
        start = looked = ended = time.perf_counter()
        feeder = threading.Thread(target=self._feed, args=(first, last, rate, start), daemon=True)
        feeder.start()
        while (messages := self._ends.receive()) or (came < wanted and self._is_awaited(ended)):
            numbers = np.array([_number(message).record_id for message in messages], np.int64)
            now = time.perf_counter()
            if self._ends.process.poll() is not None:
                raise MicroflowError("the service ended before its input did")
            if now - looked >= min(1.0, count / rate / 100):
                looked = now
                self.memory.append(self._service.memory_info().rss)
            if len(numbers):
                ended, came = now, came + int(np.count_nonzero(self.seen[np.unique(numbers)] == 0))
                np.add.at(self.seen, numbers, 1)
                self._note((numbers[numbers >= first] - first) / rate, now - start)
        feeder.join(_IDLE_S)
        return ended - start

    def _is_awaited(self, since: float) -> bool:
        return time.perf_counter() - since < (_IDLE_S if self.seen.any() else _START_S)

    def _feed(self, first: int, last: int, rate: float, start: float) -> None:
        """Send each record when it is due, or as fast as they are taken."""
        sent = first
        while sent < last:
            due = min(last, first + int((time.perf_counter() - start) * rate) + 1, sent + _AT_ONCE)
            if due > sent:
                self._ends.send(sent, self._records.messages(sent, due))
                sent = due
            else:
                time.sleep(min(max((sent - first) / rate - (time.perf_counter() - start), 0.0), _POLL_S))

    def _note(self, due_s: np.ndarray[tuple[int], np.dtype[np.float64]], now_s: float) -> None:
        minutes = (due_s // 60).astype(np.int64)
        for minute in np.unique(minutes).tolist():
            while len(self.by_minute) <= minute:
                self.by_minute.append(LatencyRecorder())
            late = now_s - due_s[minutes == minute]
            self.by_minute[minute].record_many(np.maximum(late * 1e9, 0).astype(np.int64))


def soak(minutes: float, rows: int | None = None, *, broker: bool | None = None) -> list[Line]:
    """Memory in the first and the last fifth of the time, the rate, p99 minute by minute; lost and doubled records.

    Args:
        minutes: How long records are offered at half of the rate that was measured before.
        rows: Different records, which come again and again under new numbers.
        broker: Whether the service stands between topics; by default wherever Kafka can run.

    Raises:
        MicroflowError: the service ended.
        SetupError: it did not start.
    """
    spec = spec_of(WORK)
    assert spec.key is not None
    records, environment = _Records(rows or _ROWS, spec), os.environ | {"MICROFLOW_TOKEN_KEY": spec.key.hex()}
    through = not missing() if broker is None else broker
    with _topics(environment) if through else _ended(lambda: _Pipes(environment)) as ends:
        run = _Soak(ends, records)
        run.offer(_FIRST, _FLAT)
        if not run.seen.any():
            raise SetupError("the service did not start", hint="run microflow stream by hand to see why")
        burst = _FLAT_OUT * (rows or _ROWS)
        carried = burst / run.offer(burst, _FLAT)
        load = carried / 2
        took_s = run.offer(max(round(load * 60 * minutes), 1), load)
    fifth = max(len(run.memory) // 5, 1)
    early, late = (float(np.median(part)) / 1e6 for part in (run.memory[:fifth], run.memory[-fifth:]))
    served = sum(recorder.summary().count for recorder in run.by_minute)
    p99 = [recorder.summary().p99_ns / 1e6 for recorder in run.by_minute]
    return [
        fixed("carried, flat out", carried, "records/s"),
        fixed("offered", load, "records/s"),
        fixed("released", served / took_s, "records/s"),
        fixed("memory, first fifth", early, "MB"),
        fixed("memory, last fifth", late, "MB", at_most=round(early * (1 + _GROWTH), 1)),
        *(fixed(f"p99 in minute {minute}", value, "ms") for minute, value in enumerate(p99, 1)),
        fixed("lost", records.missing(run.seen), "records", at_most=0),
        fixed("doubled", int(np.count_nonzero(run.seen > 1)), "records", at_most=0),
    ]


@contextmanager
def _topics(environment: dict[str, str]) -> Iterator[_Ends]:
    from microflow.topics.broker import Broker

    folder = tempfile.TemporaryDirectory(prefix="microflow-soak-", ignore_cleanup_errors=True)
    with folder as name, Broker(Path(name)) as running, _ended(lambda: _Topics(running.address, environment)) as ends:
        yield ends


@contextmanager
def _ended(made: Callable[[], _Ends]) -> Iterator[_Ends]:
    ends = made()
    try:
        yield ends
    finally:
        ends.process.terminate()
        ends.process.wait()
