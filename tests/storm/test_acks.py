"""What the spout saw, read back: rates of the burst, latencies of what came on a schedule, nothing of half a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from microflow.errors import MicroflowError
from microflow.storm.shell import AckLog, Acks

EMPTY = np.empty(0, np.int64)


def test_burst_and_schedule_are_told_apart_and_half_a_line_is_not_read(tmp_path: Path) -> None:
    """The rate is that of the burst alone, the latency that of paced records alone, each from when it was due."""
    path = tmp_path / "acks.txt"
    log = AckLog(path)
    for ordinal in range(5):
        log.write(ordinal, 0, 1_000_000_000 + ordinal * 250_000_000, paced=False)
    log.write(6, 5_000, 9_000, paced=True)
    log.write(5, 4_000, 9_500, paced=True)
    with path.open("a") as file:
        file.write("7 6000 99")
    acks = Acks.read(path)
    assert len(acks) == 7
    assert acks.tuples_per_second == 4.0
    assert acks.latency_ns.tolist() == [4_000, 5_500]


def test_slices_are_equal_and_keep_their_order() -> None:
    """A slow start stays in the first slices, where the warm-up rule can see it; a remainder is dropped at the end."""
    at = np.cumsum([0, *[30] * 4, *[10] * 9])
    assert Acks(at, EMPTY, EMPTY).ns_per_record(3) == [30.0, 10.0, 10.0]


def test_too_few_records_give_no_rate() -> None:
    """One acknowledgement is no rate, and slices of less than a record are refused."""
    assert Acks(EMPTY, EMPTY, EMPTY).tuples_per_second == 0.0
    with pytest.raises(MicroflowError, match="cannot be cut"):
        Acks(np.arange(4), EMPTY, EMPTY).ns_per_record(4)


def test_no_file_is_no_acknowledgement(tmp_path: Path) -> None:
    """A topology that never got as far has none."""
    assert len(Acks.read(tmp_path / "acks.txt")) == 0
