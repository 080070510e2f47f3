"""Spout and sink: replay on one side, each ordinal once on the other, also over a crash."""

from __future__ import annotations

import json
from pathlib import Path

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
