"""What the spout sees of the transport: when each record was due, and when Storm acknowledged it.

Both instants are ``time.perf_counter_ns`` of the spout's process, so the clocks of two processes are never compared
(after a restart they are: on Linux that clock is CLOCK_MONOTONIC, one for the machine). An acknowledgement comes when
the sink has written the record and the news has travelled back to the spout: what is measured is what Storm calls
complete latency, and never less than the time to the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from microflow.errors import MicroflowError

__all__ = ["AckLog", "Acks"]

_COLUMNS = 4
_FEWEST = 2


class AckLog:
    """Appends one line an acknowledgement: ordinal, due, acknowledged (nanoseconds), 1 if it was paced."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="ascii")

    def write(self, ordinal: int, due_ns: int, acked_ns: int, *, paced: bool) -> None:
        """Add one, so that it is there when the process is killed right after."""
        self._file.write(f"{ordinal} {due_ns} {acked_ns} {paced:d}\n")
        self._file.flush()


@dataclass(frozen=True)
class Acks:
    """Instants in nanoseconds, int64, in the order of acknowledgement.

    ``burst_ns``: of records that were all there at once, as fast as back-pressure let them through. ``due_ns`` and
    ``acked_ns``: of those that came on a schedule.
    """

    burst_ns: npt.NDArray[np.int64]
    due_ns: npt.NDArray[np.int64]
    acked_ns: npt.NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Acks:
        """What the spout has written; a line that a kill cut short does not count."""
        text = path.read_text("ascii") if path.exists() else ""
        numbers = [int(word) for line in text.splitlines(keepends=True) if line.endswith("\n") for word in line.split()]
        table = np.array(numbers, np.int64).reshape(-1, _COLUMNS)
        paced = table[:, 3] == 1
        return cls(table[~paced, 2], table[paced, 1], table[paced, 2])

    def __len__(self) -> int:
        return len(self.burst_ns) + len(self.due_ns)

    @property
    def latency_ns(self) -> npt.NDArray[np.int64]:
        """Of every paced record, from when it was due to its acknowledgement."""
        return self.acked_ns - self.due_ns

    @property
    def tuples_per_second(self) -> float:
        """Of the burst, from the first acknowledgement to the last; 0 for fewer than two."""
        if len(self.burst_ns) < _FEWEST:
            return 0.0
        return (len(self.burst_ns) - 1) * 1e9 / float(self.burst_ns[-1] - self.burst_ns[0])

    def ns_per_record(self, slices: int) -> list[float]:
        """The burst in ``slices`` equal parts, in order: nanoseconds a record in each. The first hold the warm-up.

        Raises:
            MicroflowError: there are fewer records than that.

        >>> at = np.arange(0, 90, 10)
        >>> Acks(at, at[:0], at[:0]).ns_per_record(4)
        [10.0, 10.0, 10.0, 10.0]
        """
        each = (len(self.burst_ns) - 1) // slices
        if each < 1:
            raise MicroflowError(f"{len(self.burst_ns)} records cannot be cut into {slices} slices", hint="send more")
        edges = self.burst_ns[: each * slices + 1 : each]
        return [float(ns) / each for ns in np.diff(edges)]
