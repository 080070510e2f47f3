"""Spout and sink: replay on one side, each ordinal once on the other, also over a crash."""

from __future__ import annotations

import json
import time
from pathlib import Path

from microflow.storm.acks import AckLog, Acks
from microflow.storm.shell import FileSink, FileSpout, read_results


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
