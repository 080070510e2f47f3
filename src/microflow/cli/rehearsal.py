"""Test of the recovery of streams: several processes share a topic, and one of them and the broker are killed.

The processes are those that a user starts: ``microflow kafka feed`` writes messages, and ``microflow stream`` processes
share the work. At the end, every record must have been written once.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from microflow.datasets import generate
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import MicroflowError, SetupError
from microflow.topics.broker import Broker
from microflow.topics.kafka import GroupLag, KafkaReader, create_topic

__all__ = ["Rehearsal", "Work", "messages"]

#: Short time limits, so that a killed process is noticed quickly; a production system needs longer ones.
_QUICK = "session.timeout.ms=2000\nheartbeat.interval.ms=500\ntransaction.timeout.ms=3000\n"
_LOOK_S = 0.25
_PATIENCE_S = 240
_READ_S = 30


@dataclass(frozen=True, slots=True)
class Work:
    """Messages to send: ``rows`` generated records, ``rate`` per second, and every ``broken``-th without its end."""

    schema: str
    rows: int
    rate: int
    seed: int
    broken: int = 1_000


def messages(work: Work) -> Iterator[tuple[bytes, bytes]]:
    """Keys and messages of a work, in order."""
    number = 0
    for block in generate(work.schema, work.rows, work.seed):
        for record in block.rows.to_pylist():
            text = json.dumps(record, separators=(",", ":")).encode()
            number += 1
            yield b"%d" % number, text[:-1] if number % work.broken == 0 else text


@dataclass
class Rehearsal:
    """A run of the test on one broker.

    Attributes:
        address: Address of the broker.
        work: Messages to send.
        folder: Folder for settings and for the output of the processes.
        broker: The broker, if it may be killed.
        partitions: Partitions of each topic.
        processes: Number of stream processes.
        samples: Seconds since the start, messages sent, and messages committed.
        events: Seconds since the start, and the fault that happened then.
    """

    address: str
    work: Work
    folder: Path
    broker: Broker | None = None
    partitions: int = 3
    processes: int = 3
    samples: list[tuple[float, int, int]] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)

    def run(self, source: str) -> None:
        """Create the topics, start the processes and kill one; return when every message is committed.

        Args:
            source: Name of the topic to feed.

        Raises:
            MicroflowError: the processes did not finish in time, or one failed.
        """
        self.source, self.sink, self.dead = source, f"{source}.safe", f"{source}.dead"
        for topic in (self.source, self.sink, self.dead):
            create_topic(self.address, topic, self.partitions)
        config = self.folder / "client.properties"
        config.write_text(_QUICK, "utf-8")
        place, target = (f"kafka://{self.address}/{topic}" for topic in (self.source, self.sink))
        words = ["--schema", self.work.schema, "--method", "tokenization", "--client-config", str(config)]
        with ExitStack() as stack:
            streams = [
                stack.enter_context(
                    self._process(f"stream {n}", ["stream", place, target, *words, "--group", "rehearsal"])
                )
                for n in range(1, self.processes + 1)
            ]
            lag = GroupLag(self.address, self.source, "rehearsal", self.partitions)
            stack.callback(lag.close)
            feeder = stack.enter_context(self._process("feed", self._feed(place)))
            self._watch(lag, feeder, streams)
            for process in streams:
                process.send_signal(signal.SIGTERM)
            # The first process was killed.
            for number, process in enumerate(streams[1:], 2):
                self._expect_end(f"stream {number}", process)

    def results(self, released: int, broken: int) -> tuple[list[bytes], int]:
        """Committed records and number of dead letters; waits until there are at least as many as expected."""
        with KafkaReader(self.address, self.sink) as sink, KafkaReader(self.address, self.dead) as dead:
            return _all(sink, released), len(_all(dead, broken))

    def expected(self, spec: ProcessingSpec) -> tuple[list[bytes], int]:
        """Records and number of dead letters of the same work in this process."""
        outcomes = MessageService(spec, hybrid=True)([message for _, message in messages(self.work)])
        released = [outcome.released for outcome in outcomes if outcome.released is not None]
        return released, sum(outcome.unreadable is not None for outcome in outcomes)

    @property
    def rates(self) -> tuple[float, float]:
        """Messages committed per second: from the first to the last one, and in the best two seconds."""
        first = next((at for at, _, done in self.samples if done), 0.0)
        last, _, total = self.samples[-1]
        best = max(
            (after[2] - before[2]) / (after[0] - before[0])
            for before in self.samples
            for after in [next((sample for sample in self.samples if sample[0] >= before[0] + 2), self.samples[-1])]
            if after[0] > before[0]
        )
        return total / max(last - first, 1e-9), best

    def _feed(self, place: str) -> list[str]:
        work = self.work
        numbers = {"rows": work.rows, "rate": work.rate, "seed": work.seed, "broken": work.broken}
        return ["kafka", "feed", place, "--schema", work.schema, *(f"--{name}={n}" for name, n in numbers.items())]

    def _watch(
        self, lag: GroupLag, feeder: subprocess.Popen[bytes], streams: Sequence[subprocess.Popen[bytes]]
    ) -> None:
        started = time.monotonic()

        def now() -> float:
            return time.monotonic() - started

        faults: list[tuple[int, str, Callable[[], object]]] = [(self.work.rows // 3, "process killed", streams[0].kill)]
        if self.broker is not None:
            faults.append((2 * self.work.rows // 3, "broker killed", lambda: self._restart(self.broker)))
        while now() < self.work.rows / self.work.rate + _PATIENCE_S:
            if (found := lag.read()) is not None:
                self.samples.append((now(), *found))
                fed, done = found
                if faults and done >= faults[0][0]:
                    _, word, fault = faults.pop(0)
                    self.events.append((now(), word))
                    fault()
                elif feeder.poll() is not None and fed == done:
                    self._expect_end("feed", feeder)
                    return
            self._expect_running(streams[1:])
            time.sleep(_LOOK_S)
        raise MicroflowError("the stream processes did not come to an end", hint=f"see {self.folder}")

    @staticmethod
    def _restart(broker: Broker | None) -> None:
        assert broker is not None
        broker.kill()
        broker.start()

    @contextmanager
    def _process(self, name: str, words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
        with self._said(name).open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "microflow", *words], stderr=log, stdout=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def _said(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-')}.log"

    def _expect_running(self, streams: Sequence[subprocess.Popen[bytes]]) -> None:
        for number, process in enumerate(streams, 2):
            if process.poll() is not None:
                self._expect_end(f"stream {number}", process)

    def _expect_end(self, name: str, process: subprocess.Popen[bytes]) -> None:
        if process.wait(60):
            lines = self._said(name).read_text("utf-8", "replace").strip().splitlines() or ["without a word"]
            raise SetupError(f"{name} ended with exit status {process.returncode}", hint="; ".join(lines[-2:]))


def same(messages: Sequence[bytes], other: Sequence[bytes]) -> bool:
    """True if two sequences are equal as multisets; partitions are read in any order."""
    return Counter(messages) == Counter(other)


def _all(reader: KafkaReader, enough: int) -> list[bytes]:
    """All committed messages. Transaction markers have offsets too, so the end is reached when no message arrives."""
    found: list[bytes] = []
    deadline = time.monotonic() + _READ_S
    while (got := reader.poll(10_000, 1.0)) or (len(found) < enough and time.monotonic() < deadline):
        found += [message.value for message in got]
    return found
