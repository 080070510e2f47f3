"""Storm's multilang protocol: how a bolt or spout in Python speaks with a Storm worker over stdin and stdout.

Every message is JSON followed by a line ``end``. The handshake names a folder for the PID file; a spout answers each
``next``, ``ack`` and ``fail`` with ``sync``; a bolt acks or fails each tuple and answers heartbeats with ``sync``.
Source: Apache Storm, "Multi-Lang Protocol" (storm.apache.org, version 2.8).

Delivery: at least once. A tuple is acked after its results were emitted, anchored to it, so that Storm replays what a
killed process had not finished; the sink makes it effectively once by record id. Nothing but class names of errors and
record ids is written to Storm's log: a tuple may hold personal data.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

__all__ = ["Channel", "Spout", "Tuple", "run_bolt", "run_spout", "standard_channel"]

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tuple:
    """One tuple as it arrived: ``id`` for acking, the component it came from, and its values."""

    id: str
    component: str
    stream: str
    values: list[Any]


class Spout(Protocol):
    """A replayable source."""

    def next(self) -> tuple[str, list[Any]] | None:
        """The next message id with its tuple, or ``None`` when there is nothing to emit now."""
        ...

    def ack(self, message: str) -> None:
        """The tuple tree of this message is complete."""
        ...

    def fail(self, message: str) -> None:
        """The tuple tree of this message failed or timed out: emit it again."""
        ...


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
            EOFError: the worker closed the pipe; there is nobody left to work for.
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
            channel.send(_log(f"{type(error).__name__} in a bolt"), {"command": "fail", "id": received.id})
            continue
        channel.send(*(_emit(values, received.id) for values in emitted), {"command": "ack", "id": received.id})


def run_spout(channel: Channel, spout: Spout) -> None:
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


def standard_channel() -> Channel:
    """The channel of a process that Storm started; a stray ``print`` would break the protocol, so it goes to stderr."""
    channel = Channel(sys.stdin, sys.stdout)
    sys.stdout = sys.stderr
    return channel


def _emit(values: list[Any], anchor: str) -> Message:
    return {"command": "emit", "tuple": values, "anchors": [anchor], "need_task_ids": False}


def _log(text: str) -> Message:
    return {"command": "log", "msg": text, "level": 4}
