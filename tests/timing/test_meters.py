"""Meters: the histogram against exact percentiles, CPU seconds and memory with those of children."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from microflow.timing.meters import LatencyRecorder, LatencySummary, ResourceMeter, ResourceUsage, TreeWatch

BUSY = "import time; block = bytearray(150_000_000)\nwhile time.process_time() < 0.3: pass"


def recorded(values: np.ndarray) -> LatencyRecorder:
    recorder = LatencyRecorder()
    recorder.record_many(values)
    return recorder


@given(hnp.arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 4 * 10**12)))
@settings(max_examples=60)
def test_arrays_and_single_values_fill_the_same_cells(values: np.ndarray) -> None:
    """`record_many` is `record`, faster: from zero to beyond the histogram's hour."""
    one_by_one = LatencyRecorder()
    for value in values.tolist():
        one_by_one.record(value)
    assert recorded(values).summary() == one_by_one.summary()


@pytest.mark.parametrize("scale", [1e3, 1e6, 1e9])
def test_percentiles_are_right_to_three_digits(scale: float) -> None:
    """The sorted values are the oracle, over six orders of magnitude."""
    values = (np.random.default_rng(2).lognormal(0, 2, 49_999) * scale).astype(np.int64)
    summary = recorded(values).summary()
    found = np.array([summary.p50_ns, summary.p90_ns, summary.p99_ns, summary.p999_ns])
    # Definitions of a percentile differ by one rank; the histogram may lie anywhere between, and off by a cell.
    ranks = np.ceil(np.array([0.5, 0.9, 0.99, 0.999]) * len(values)).astype(int)
    assert (found >= np.sort(values)[ranks - 2] * 0.999).all()
    assert (found <= np.sort(values)[ranks] * 1.001 + 64).all()
    assert summary.max_ns == values.max()
    assert summary.count == 49_999


def test_nothing_recorded_is_zero() -> None:
    """An empty histogram does not invent a latency."""
    recorder = recorded(np.empty(0, np.int64))
    assert recorder.summary() == LatencySummary(0, 0.0, 0, 0, 0, 0, 0)


def test_the_meter_sees_own_work_and_that_of_children() -> None:
    """A busy child that has been waited for is on the bill, in CPU seconds and in memory."""
    meter = ResourceMeter()
    subprocess.run([sys.executable, "-c", BUSY], check=True)
    usage = meter.usage()
    assert usage.cpu_s >= 0.3
    assert usage.peak_rss_bytes >= usage.rss_before_bytes + 150_000_000
    assert usage.wall_s > 0


def test_the_watch_sees_living_grandchildren() -> None:
    """Workers of workers are found while they live; their CPU time stays counted when they are gone."""
    worker = BUSY + "\ntime.sleep(0.5)"
    shell = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, worker]
    script = f"import subprocess; subprocess.run({shell!r})"
    process = subprocess.Popen([sys.executable, "-c", script])
    watch = TreeWatch(process.pid)
    while process.poll() is None:
        watch.sample()
        time.sleep(0.02)
    watch.sample()
    assert watch.cpu_s >= 0.25
    assert watch.peak_rss_bytes >= 150_000_000


def test_bytes_per_record_is_growth() -> None:
    """What was there before the work is not charged to its records; nothing divides by zero."""
    usage = ResourceUsage(wall_s=1, cpu_s=1, peak_rss_bytes=3_000, rss_before_bytes=1_000)
    assert usage.bytes_per_record(100) == pytest.approx(20)
    assert usage.bytes_per_record(0) == 0
    assert ResourceUsage(1, 1, 500, 1_000).bytes_per_record(10) == 0
