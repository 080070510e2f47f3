"""The multilang protocol, spoken with a scripted worker."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

from microflow.storm.multilang import Channel, Tuple, run_bolt, run_spout


def conversation(*messages: dict[str, Any]) -> io.StringIO:
    return io.StringIO("".join(f"{json.dumps(message)}\nend\n" for message in messages))


def answers(outward: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(part) for part in outward.getvalue().split("\nend\n") if part]


def tuple_message(identity: str, *values: Any) -> dict[str, Any]:
    return {"id": identity, "comp": "records", "stream": "default", "task": 1, "tuple": list(values)}


def test_the_handshake_leaves_a_pid_file_and_answers_with_the_pid(tmp_path: Path) -> None:
    """Storm kills components by that file."""
    outward = io.StringIO()
    channel = Channel(conversation({"pidDir": str(tmp_path), "conf": {"a": 1}, "context": {}}), outward)
    assert channel.handshake() == {"a": 1}
    assert answers(outward) == [{"pid": os.getpid()}]
    assert (tmp_path / str(os.getpid())).exists()


def test_a_bolt_emits_anchored_and_then_acks() -> None:
    """In the other order a crash between the two would lose the result."""
    outward = io.StringIO()
    run_bolt(Channel(conversation(tuple_message("7", 3)), outward), lambda one: [[one.values[0] * 2]])
    emit, ack = answers(outward)
    assert emit == {"command": "emit", "tuple": [6], "anchors": ["7"], "need_task_ids": False}
    assert ack == {"command": "ack", "id": "7"}


def test_a_failing_bolt_fails_its_tuple_and_serves_the_next_without_telling_the_value() -> None:
    """The tuple is replayed; Storm's log gets the error's class, never what the record held."""

    def work(one: Tuple) -> list[list[Any]]:
        if one.values == ["secret"]:
            raise ValueError("secret")
        return []

    outward = io.StringIO()
    run_bolt(Channel(conversation(tuple_message("1", "secret"), tuple_message("2", "fine")), outward), work)
    log, fail, ack = answers(outward)
    assert (fail, ack) == ({"command": "fail", "id": "1"}, {"command": "ack", "id": "2"})
    assert log["command"] == "log"
    assert "secret" not in outward.getvalue()


def test_heartbeats_are_answered() -> None:
    """A bolt that does not answer is killed by its worker."""
    outward = io.StringIO()
    beat = tuple_message("1") | {"stream": "__heartbeat"}
    run_bolt(Channel(conversation(beat), outward), lambda _: [[1]])
    assert answers(outward) == [{"command": "sync"}]


class Scripted:
    def __init__(self) -> None:
        self.heard: list[str] = []

    def next(self) -> tuple[str, list[Any]] | None:
        return ("5", ["x"]) if not self.heard else None

    def ack(self, message: str) -> None:
        self.heard.append(f"ack {message}")

    def fail(self, message: str) -> None:
        self.heard.append(f"fail {message}")


def test_a_spout_syncs_after_every_command_and_hears_acks_and_fails() -> None:
    """Without a sync Storm waits for ever."""
    outward, spout = io.StringIO(), Scripted()
    commands = [{"command": "next"}, {"command": "ack", "id": "5"}, {"command": "fail", "id": "6"}, {"command": "next"}]
    run_spout(Channel(conversation(*commands), outward), spout)
    assert spout.heard == ["ack 5", "fail 6"]
    assert [one["command"] for one in answers(outward)] == ["emit", "sync", "sync", "sync", "sync"]
