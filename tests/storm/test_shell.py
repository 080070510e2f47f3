"""The multilang protocol, spoken with a scripted worker; spout and sink: replay, and each ordinal once over a crash."""

from __future__ import annotations

import io
import json
import os
import time
from pathlib import Path
from typing import Any

from microflow.storm.shell import (
    AckLog,
    Acks,
    Channel,
    FileSink,
    FileSpout,
    read_results,
    run_bolt,
    run_spout,
)


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
    run_bolt(Channel(conversation(tuple_message("7", 3)), outward), lambda values: [[values[0] * 2]])
    emit, ack = answers(outward)
    assert emit == {"command": "emit", "tuple": [6], "anchors": ["7"], "need_task_ids": False}
    assert ack == {"command": "ack", "id": "7"}


def test_a_failing_bolt_fails_its_tuple_and_serves_the_next_without_telling_the_value() -> None:
    """The tuple is replayed; Storm's log gets the error's class, never what the record held."""

    def work(values: list[Any]) -> list[list[Any]]:
        if values == ["secret"]:
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


def source(folder: Path, count: int) -> Path:
    path = folder / "source.jsonl"
    path.write_text("".join(json.dumps({"ordinal": n, "record": {"n": n}}) + "\n" for n in range(count)))
    return path


def test_a_failed_tuple_comes_again_and_an_acked_one_does_not(tmp_path: Path) -> None:
    """At least once: what is not acked is replayed, first."""
    spout = FileSpout(source(tmp_path, 3), set())
    assert [spout.next(), spout.next()] == [("0", [0, '{"n": 0}', "[]"]), ("1", [1, '{"n": 1}', "[]"])]
    spout.fail("0")
    spout.ack("1")
    spout.fail("1")
    assert [emitted and emitted[0] for emitted in (spout.next(), spout.next(), spout.next())] == ["0", "2", None]


def test_a_restarted_spout_skips_what_the_sink_has(tmp_path: Path) -> None:
    """A restart costs the tuples on their way, not the whole run."""
    spout = FileSpout(source(tmp_path, 3), {0, 2})
    assert spout.next() == ("1", [1, '{"n": 1}', "[]"])
    assert spout.next() is None


def paced(folder: Path, due: list[int | None]) -> FileSpout:
    lines = [{"ordinal": n, "record": {}} | ({} if at is None else {"due_ns": at}) for n, at in enumerate(due)]
    path = folder / "source.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return FileSpout(path, set(), AckLog(folder / "acks.txt"))


def test_paced_records_wait_for_the_burst_and_then_for_their_time(tmp_path: Path) -> None:
    """An open loop behind a burst: latency of what is paced owes nothing to what was there at once."""
    hour = 3_600_000_000_000
    spout = paced(tmp_path, [None, 0, hour])
    assert spout.next() is not None
    assert spout.next() is None, "the burst is not through"
    spout.ack("0")
    emitted = spout.next()
    assert emitted is not None
    assert emitted[0] == "1"
    assert spout.next() is None, "due in an hour"
    spout.ack("1")
    assert len(Acks.read(tmp_path / "acks.txt")) == 2


def test_latency_counts_from_when_a_record_was_due(tmp_path: Path) -> None:
    """Also if the topology asks late, or the record had to be emitted twice (no coordinated omission)."""
    spout = paced(tmp_path, [0, 1_000_000])
    assert spout.next() is not None
    time.sleep(0.02)
    assert spout.next() is not None
    spout.fail("1")
    assert spout.next() is not None
    for ordinal in ("0", "1"):
        spout.ack(ordinal)
    acks = Acks.read(tmp_path / "acks.txt")
    assert acks.due_ns[1] - acks.due_ns[0] == 1_000_000
    assert acks.latency_ns[1] >= 19_000_000


def test_an_acknowledgement_counts_once(tmp_path: Path) -> None:
    """A record that timed out and was acknowledged twice is one record."""
    spout = paced(tmp_path, [None, None])
    assert spout.next() is not None
    spout.ack("0")
    spout.ack("0")
    assert len(Acks.read(tmp_path / "acks.txt")) == 1


def test_the_sink_writes_every_ordinal_once_and_takes_back_half_a_line(tmp_path: Path) -> None:
    """Effectively once: replays and a kill in the middle of a write leave no trace."""
    results = tmp_path / "results.jsonl"
    sink = FileSink(results)
    sink(0, '{"n": 0}', "[]")
    sink(0, '{"n": 0}', "[]")
    with results.open("ab") as file:
        file.write(b'{"ordinal": 1, "rec')
    again = FileSink(results)
    for ordinal in (0, 1):
        again(ordinal, None, "[]")
    assert results.read_bytes().count(b"\n") == 2
    assert read_results(results)[0]["record"] == {"n": 0}
    assert read_results(results)[1]["record"] is None
