"""Program that Storm starts for each component: ``python -m microflow.storm.shell COMPONENT JOB``.

``JOB`` is a JSON file: ``schema`` and ``policy`` (names or paths), ``method`` (the fields of `MethodSettings`),
``source`` (JSON Lines of ``{"ordinal": ..., "record": ...}``), ``results`` (JSON Lines that the sink appends to) and,
where the transport is measured, ``acks`` (which the spout appends to; see `AckLog`). The token key is not
in it: workers read it from the file that ``MICROFLOW_TOKEN_KEY_FILE`` names.

A component speaks Storm's multilang protocol over stdin and stdout. Every message is JSON followed by a line ``end``.
The handshake names a folder for the PID file; a spout answers each ``next``, ``ack`` and ``fail`` with ``sync``; a bolt
acks or fails each tuple and answers heartbeats with ``sync``. Source: Apache Storm, "Multi-Lang Protocol"
(storm.apache.org, version 2.8).

Delivery is at least once: a tuple is acked after its results were emitted, anchored to it, so that Storm replays what a
killed process had not finished. The sink lets every ordinal through once, also after it was killed: what it has written
is its memory. Nothing but class names of errors and record ids is written to Storm's log: a tuple may hold
personal data.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.tokenization import read_key
from microflow.compliance import Violation, load_policy
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt, Passing
from microflow.errors import MicroflowError

__all__ = ["AckLog", "Acks", "Channel", "FileSink", "FileSpout", "read_results", "run_bolt", "run_spout", "work_of"]

Message = dict[str, Any]
#: What a component does with the values of a tuple: the values of those that it emits.
Work = Callable[[list[Any]], Sequence[list[Any]]]


class Channel:
    """Channel to Storm; reads are blocking, writes are flushed once per answer."""

    def __init__(self, inward: TextIO, outward: TextIO) -> None:
        self._inward = inward
        self._outward = outward

    def handshake(self) -> Message:
        """Read the configuration, leave the PID file, answer with the PID; returns the configuration."""
        setup = next(self.messages())
        pid = os.getpid()
        Path(setup["pidDir"], str(pid)).touch()
        self.send({"pid": pid})
        configuration: Message = setup["conf"]
        return configuration

    def messages(self) -> Iterator[Message]:
        """Messages until the worker closes the pipe: then there is no more work."""
        lines: list[str] = []
        for line in iter(self._inward.readline, ""):
            if line == "end\n":
                yield json.loads("".join(lines))
                lines = []
            else:
                lines.append(line)

    def send(self, *messages: Message) -> None:
        """Write messages and flush once: several a flush is what makes the pipe fast."""
        self._outward.write("".join(f"{json.dumps(message, separators=(',', ':'))}\nend\n" for message in messages))
        self._outward.flush()


def run_bolt(channel: Channel, work: Work) -> None:
    """Serve tuples until the pipe closes: emit what ``work`` returns, anchored, and ack; on an error fail the tuple."""
    for message in channel.messages():
        if message["stream"] == "__heartbeat":
            channel.send({"command": "sync"})
            continue
        anchor = message["id"]
        try:
            emitted = work(message["tuple"])
        except Exception as error:  # noqa: BLE001 - Storm must hear of any failure, and replay
            log = {"command": "log", "msg": f"{type(error).__name__} in a bolt", "level": 4}
            channel.send(log, {"command": "fail", "id": anchor})
            continue
        emit = {"command": "emit", "anchors": [anchor], "need_task_ids": False}
        channel.send(*(emit | {"tuple": values} for values in emitted), {"command": "ack", "id": anchor})


def run_spout(channel: Channel, spout: FileSpout) -> None:
    """Answer ``next``, ``ack`` and ``fail`` until the pipe closes."""
    for message in channel.messages():
        command = message["command"]
        if command == "next":
            emitted = spout.next()
            if emitted is not None:
                identity, values = emitted
                emit = {"command": "emit", "tuple": values, "id": identity, "need_task_ids": False}
                channel.send(emit, {"command": "sync"})
                continue
        elif command == "ack":
            spout.ack(message["id"])
        elif command == "fail":
            spout.fail(message["id"])
        channel.send({"command": "sync"})


_COLUMNS = 4
_FEWEST = 2


class AckLog:
    """Log with a line per acknowledgement: ordinal, due, acknowledged (nanoseconds), 1 if it was paced.

    An acknowledgement comes when the sink has written the record and the news has travelled back to the spout: what is
    measured is what Storm calls complete latency, and never less than the time to the result.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii")

    def write(self, ordinal: int, due_ns: int, acked_ns: int, *, paced: bool) -> None:
        """Add one, so that it is there when the process is killed right after."""
        self._file.write(f"{ordinal} {due_ns} {acked_ns} {paced:d}\n")
        self._file.flush()


@dataclass(frozen=True)
class Acks:
    """Instants in nanoseconds, int64, in the order of acknowledgement: what the spout saw of the transport.

    ``burst_ns``: of records that were all there at once, as fast as back-pressure let them through. ``due_ns`` and
    ``acked_ns``: of those that came on a schedule. The clocks of two processes are compared after a restart only: on
    Linux ``time.perf_counter_ns`` is CLOCK_MONOTONIC, one for the machine.
    """

    burst_ns: npt.NDArray[np.int64]
    due_ns: npt.NDArray[np.int64]
    acked_ns: npt.NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Acks:
        """Times from the file of the spout; a line that a kill cut short is ignored."""
        text = path.read_text("ascii") if path.exists() else ""
        numbers = [int(word) for line in text.splitlines(keepends=True) if line.endswith("\n") for word in line.split()]
        table = np.array(numbers, np.int64).reshape(-1, _COLUMNS)
        paced = table[:, 3] == 1
        return cls(table[~paced, 2], table[paced, 1], table[paced, 2])

    def __len__(self) -> int:
        return len(self.burst_ns) + len(self.due_ns)

    @property
    def latency_ns(self) -> npt.NDArray[np.int64]:
        """Latency of every paced record, from when it was due to its acknowledgement."""
        return self.acked_ns - self.due_ns

    @property
    def tuples_per_second(self) -> float:
        """Rate of the burst, from the first acknowledgement to the last; 0 for fewer than two."""
        if len(self.burst_ns) < _FEWEST:
            return 0.0
        return (len(self.burst_ns) - 1) * 1e9 / float(self.burst_ns[-1] - self.burst_ns[0])

    def ns_per_record(self, slices: int) -> list[float]:
        """The burst in ``slices`` equal parts, in order: nanoseconds a record in each. The first hold the warm-up.

        Raises:
            MicroflowError: there are fewer records than that.

        >>> at = np.arange(0, 90, 10)
        >>> Acks(at, at[:0], at[:0]).ns_per_record(4)
        [10.0, 10.0, 10.0, 10.0]
        """
        each = (len(self.burst_ns) - 1) // slices
        if each < 1:
            raise MicroflowError(f"{len(self.burst_ns)} records cannot be cut into {slices} slices", hint="send more")
        edges = self.burst_ns[: each * slices + 1 : each]
        return [float(ns) / each for ns in np.diff(edges)]


class FileSpout:
    """Spout of the records of a file, each until it is acknowledged; skips those that the sink already has.

    A record whose line has ``due_ns`` waits: for the acknowledgement of all that have none, and from then on for its
    time (an open loop, that does not wait for the topology). The others are due when they are first emitted.
    """

    def __init__(self, source: Path, done: set[int], acks: AckLog | None = None) -> None:
        with source.open("rb") as lines:
            records = [record for record in map(json.loads, lines) if record["ordinal"] not in done]
        self._records = {record["ordinal"]: json.dumps(record["record"]) for record in records}
        self._waiting = deque(self._records)
        self._schedule = {record["ordinal"]: int(record["due_ns"]) for record in records if "due_ns" in record}
        self._unpaced = len(records) - len(self._schedule)
        self._origin_ns = 0
        self._due: dict[int, int] = {}
        self._acks = acks

    def next(self) -> tuple[str, list[Any]] | None:
        """The next record that is due, a failed one again before new ones."""
        now = time.perf_counter_ns()
        if not self._waiting or not self._is_due(self._waiting[0], now):
            return None
        ordinal = self._waiting.popleft()
        self._due.setdefault(ordinal, now)
        return str(ordinal), [ordinal, self._records[ordinal], "[]"]

    def ack(self, message: str) -> None:
        """Drop it: the sink has it."""
        ordinal = int(message)
        if self._records.pop(ordinal, None) is None:
            return
        self._unpaced -= ordinal not in self._schedule
        if self._acks is not None:
            self._acks.write(ordinal, self._due.pop(ordinal), time.perf_counter_ns(), paced=ordinal in self._schedule)

    def fail(self, message: str) -> None:
        """Emit it again, first."""
        if int(message) in self._records:
            self._waiting.appendleft(int(message))

    def _is_due(self, ordinal: int, now: int) -> bool:
        if ordinal not in self._schedule or ordinal in self._due:
            return True
        if self._unpaced:
            return False
        # A spout that was started again goes on from the first that is left.
        self._origin_ns = self._origin_ns or now - self._schedule[ordinal]
        due = self._origin_ns + self._schedule[ordinal]
        if now < due:
            return False
        self._due[ordinal] = due
        return True


class FileSink:
    """Sink that appends each ordinal's result once; a line that a kill cut short is removed."""

    def __init__(self, results: Path) -> None:
        complete = results.read_bytes() if results.exists() else b""
        complete = complete[: complete.rfind(b"\n") + 1]
        self._seen = {json.loads(line)["ordinal"] for line in complete.splitlines()}
        self._file = results.open("ab")
        self._file.truncate(len(complete))

    def __call__(self, ordinal: int, record: str | None, violations: str) -> None:
        if ordinal in self._seen:
            return
        self._seen.add(ordinal)
        line = {"ordinal": ordinal, "record": record and json.loads(record), "violations": json.loads(violations)}
        self._file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._file.flush()


def work_of(component: str, job: dict[str, Any]) -> Work:
    """Function of a bolt or the sink that processes one tuple.

    Raises:
        KeyError: the topology has no such component.
    """
    if component == "results":
        return _appended(FileSink(Path(job["results"])))
    if component not in {"compliance", "anonymize", "work"}:
        raise KeyError(component)
    settings = MethodSettings(**{**job["method"], "method": Method(job["method"]["method"])})
    key = read_key(settings.key_bits, os.environ) if settings.method is Method.TOKENIZATION else None
    spec = ProcessingSpec(load_schema(job["schema"]), load_policy(job["policy"]), settings, key=key)
    check = None if component == "anonymize" else ComplianceBolt.of(spec)
    anonymize = None if component == "compliance" else AnonymizeBolt.of(spec)

    def work(values: list[Any]) -> list[list[Any]]:
        ordinal, text, found = values
        passing = Passing(ordinal, text and json.loads(text), [Violation(*fields) for fields in json.loads(found)])
        if check is not None and passing.record is not None:
            passing = check(ordinal, passing.record)
        if anonymize is not None:
            passing = anonymize(passing)
        record = None if passing.record is None else json.dumps(passing.record)
        return [[ordinal, record, json.dumps(passing.violations)]]

    return work


def _appended(sink: FileSink) -> Work:
    def work(values: list[Any]) -> list[list[Any]]:
        sink(*values)
        return []

    return work


def read_results(path: Path) -> dict[int, dict[str, Any]]:
    """Complete lines of the sink's file, by ordinal."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {result["ordinal"]: result for result in found}


def main(component: str, job_file: str) -> None:
    """Serve Storm until the pipe closes."""
    job = json.loads(Path(job_file).read_text("utf-8"))
    channel = Channel(sys.stdin, sys.stdout)
    sys.stdout = sys.stderr  # a stray line would break the protocol
    channel.handshake()
    if component == "records":
        acks = AckLog(Path(job["acks"])) if "acks" in job else None
        run_spout(channel, FileSpout(Path(job["source"]), set(read_results(Path(job["results"]))), acks))
    else:
        run_bolt(channel, work_of(component, job))


if __name__ == "__main__":
    main(*sys.argv[1:])
