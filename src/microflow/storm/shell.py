"""What Storm starts for each component: ``python -m microflow.storm.shell COMPONENT JOB``.

``JOB`` is a JSON file: ``schema`` and ``policy`` (names or paths), ``method`` (the fields of `MethodSettings`),
``source`` (JSON Lines of ``{"ordinal": ..., "record": ...}``), ``results`` (JSON Lines that the sink appends to) and,
where the transport is measured, ``acks`` (which the spout appends to; see `microflow.storm.acks`). The token key is not
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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.keys import read_key
from microflow.compliance import Violation, load_policy
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt, Passing
from microflow.storm.acks import AckLog

__all__ = ["Channel", "FileSink", "FileSpout", "Tuple", "read_results", "run_bolt", "run_spout", "work_of"]

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tuple:
    """One tuple as it arrived: ``id`` for acking, the component it came from, and its values."""

    id: str
    component: str
    stream: str
    values: list[Any]


class Channel:
    """One side of the conversation; reads blocking, writes flushed once per answer."""

    def __init__(self, inward: TextIO, outward: TextIO) -> None:
        self._inward = inward
        self._outward = outward

    def handshake(self) -> Message:
        """Read the configuration, leave the PID file, answer with the PID; returns the configuration."""
        setup = self.read()
        pid = os.getpid()
        Path(setup["pidDir"], str(pid)).touch()
        self.send({"pid": pid})
        configuration: Message = setup["conf"]
        return configuration

    def read(self) -> Message:
        """The next message.

        Raises:
            EOFError: the worker closed the pipe: there is no more work.
        """
        lines = []
        while (line := self._inward.readline()) != "end\n":
            if not line:
                raise EOFError
            lines.append(line)
        message: Message = json.loads("".join(lines))
        return message

    def send(self, *messages: Message) -> None:
        """Write messages and flush once: several a flush is what makes the pipe fast."""
        self._outward.write("".join(f"{json.dumps(message, separators=(',', ':'))}\nend\n" for message in messages))
        self._outward.flush()


def run_bolt(channel: Channel, work: Callable[[Tuple], Sequence[list[Any]]]) -> None:
    """Serve tuples until the pipe closes: emit what ``work`` returns, anchored, and ack; on an error fail the tuple."""
    while True:
        try:
            message = channel.read()
        except EOFError:
            return
        if message["stream"] == "__heartbeat":
            channel.send({"command": "sync"})
            continue
        received = Tuple(message["id"], message["comp"], message["stream"], message["tuple"])
        try:
            emitted = work(received)
        except Exception as error:  # noqa: BLE001 - Storm must hear of any failure, and replay
            log = {"command": "log", "msg": f"{type(error).__name__} in a bolt", "level": 4}
            channel.send(log, {"command": "fail", "id": received.id})
            continue
        emit = {"command": "emit", "anchors": [received.id], "need_task_ids": False}
        channel.send(*(emit | {"tuple": values} for values in emitted), {"command": "ack", "id": received.id})


def run_spout(channel: Channel, spout: FileSpout) -> None:
    """Answer ``next``, ``ack`` and ``fail`` until the pipe closes."""
    while True:
        try:
            message = channel.read()
        except EOFError:
            return
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


Work = Callable[[Tuple], Sequence[list[Any]]]


class FileSpout:
    """Emits the records of a file, each until it is acknowledged; skips those that the sink already has.

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
    """Appends each ordinal's result once; a line that a kill cut short is taken back."""

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
    """What a bolt or the sink does with one tuple.

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

    def work(received: Tuple) -> list[list[Any]]:
        ordinal, text, found = received.values
        passing = Passing(ordinal, text and json.loads(text), [Violation(*fields) for fields in json.loads(found)])
        if check is not None and passing.record is not None:
            passing = check(ordinal, passing.record)
        if anonymize is not None:
            passing = anonymize(passing)
        record = None if passing.record is None else json.dumps(passing.record)
        return [[ordinal, record, json.dumps(passing.violations)]]

    return work


def _appended(sink: FileSink) -> Work:
    def work(received: Tuple) -> list[list[Any]]:
        sink(*received.values)
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
