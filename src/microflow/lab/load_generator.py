"""Load generator: another process that announces arrivals on time, whatever the system under test does.

Standard input brings the schedule (a count, then nanoseconds, all native int64), later the origin on the machine-wide
monotonic clock. Standard output carries ``b"R"`` when ready, then, as time passes, the number of records that have
arrived so far (int64; each message replaces those before it). A full pipe drops a message rather than delay the next:
nothing the system does can slow the load. When standard input closes, the lags of all announcements follow (int64).

It imports next to nothing: what it needs, it needs on time.
"""

from __future__ import annotations

import os
import sys
import time
from array import array
from bisect import bisect_right
from collections.abc import Sequence

__all__ = ["INT", "main"]

#: Bytes of one number.
INT = 8
#: A sleeping process wakes up late by about this long; it wakes that much earlier and spins.
_SPIN_NS = 120_000


def main() -> None:
    """Announce the arrivals of the schedule on standard input."""
    stdin = sys.stdin.buffer
    count = _number(stdin.read(INT))
    schedule = array("q", stdin.read(count * INT))
    os.write(1, b"R")
    origin = _number(stdin.read(INT))
    os.set_blocking(1, False)
    lags = _announce(schedule, origin)
    stdin.read()
    os.set_blocking(1, True)
    with os.fdopen(1, "wb") as stdout:
        stdout.write(lags.tobytes())


def _announce(schedule: Sequence[int], origin: int) -> array[int]:
    """Send the number of arrivals whenever it grows; returns how late each announcement was, in nanoseconds."""
    lags = array("q")
    sent, delivered = 0, True
    while sent < len(schedule):
        now = _wait_until(origin + schedule[sent])
        lags.append(now - origin - schedule[sent])
        sent = bisect_right(schedule, now - origin, lo=sent)
        delivered = _send(sent)
    while not delivered:
        time.sleep(0.001)
        delivered = _send(sent)
    return lags


def _wait_until(instant: int) -> int:
    now = time.perf_counter_ns()
    if instant - now > _SPIN_NS:
        time.sleep((instant - now - _SPIN_NS) / 1e9)
    while (now := time.perf_counter_ns()) < instant:
        pass
    return now


def _send(arrived: int) -> bool:
    try:
        os.write(1, arrived.to_bytes(INT, sys.byteorder))
    except BlockingIOError:
        return False
    return True


def _number(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder)


if __name__ == "__main__":
    main()
