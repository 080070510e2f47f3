"""CPU seconds and memory, children included."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from microflow.timing.resources import ResourceMeter, ResourceUsage, TreeWatch

BUSY = "import time; block = bytearray(150_000_000)\nwhile time.process_time() < 0.3: pass"


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
