"""The soak runs whole, for seconds: what it offers comes out once, and what does not is counted."""

import pytest

from benchmarks import soak


def test_each_record_comes_out_once_and_memory_is_watched() -> None:
    lines = {line.name: line for line in soak.soak(0.03, 2_000, broker=False)}
    assert (lines["lost"].value, lines["doubled"].value) == (0, 0)
    assert lines["offered"].value == lines["carried, flat out"].value / 2
    assert lines["released"].value > 0.8 * lines["offered"].value
    assert 20 < lines["memory, first fifth"].value < 2_000
    assert lines["p99 in minute 1"].value > 0
    assert "p99 in minute 2" not in lines
    assert [name for name, line in lines.items() if line.holds is not None] == ["memory, last fifth", "lost", "doubled"]


def test_lost_and_doubled_records_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that swallows some lines and repeats others is found out."""
    monkeypatch.setattr(soak, "_IDLE_S", 1.0)
    receive = soak._Pipes.receive

    def faulty(ends: soak._Pipes) -> list[bytes]:
        return [line for line in receive(ends) for _ in range((1, 0, 2)[soak._number(line).record_id % 3])]

    monkeypatch.setattr(soak._Pipes, "receive", faulty)
    lines = {line.name: line.value for line in soak.soak(0.01, 500, broker=False)}
    assert lines["lost"] > 0
    assert lines["doubled"] > 0
