"""A trial on Storm: records in, acknowledgements timed.

Both instants are ``time.perf_counter_ns`` of the spout's process, so the clocks of two processes are never compared
(after a restart they are: on Linux that clock is CLOCK_MONOTONIC, one for the machine). An acknowledgement comes when
the sink has written the record and the news has travelled back to the spout: what is measured is what Storm calls
complete latency, and never less than the time to the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.errors import MicroflowError
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt, Passing
from microflow.processors.contract import ProcessingSpec
from microflow.processors.topology import STREAM_TOPOLOGY, Topology
from microflow.schema import Record
from microflow.storm.local import prepare, run_local
from microflow.storm.shell import read_results

__all__ = ["AckLog", "Acks", "StormTrial", "storm_trial"]


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


@dataclass(frozen=True, slots=True)
class StormTrial:
    """What went in and came out, whether it equals the in-process run, and what either way costs.

    ``acks`` says when Storm was done with each record; the same bolts did ``in_process_rate`` records a second here.
    """

    topology: str
    rows_in: int
    rows_out: int
    equal: bool
    in_process_rate: float
    acks: Acks
    starts: int


def storm_trial(
    folder: Path,
    spec: ProcessingSpec,
    schema: str,
    policy: str,
    records: Sequence[Record],
    *,
    schedule: npt.NDArray[np.int64] | None = None,
    topology: Topology = STREAM_TOPOLOGY,
    meanwhile: Callable[[int], None] | None = None,
) -> StormTrial:
    """Run records through Storm and through the same bolts here.

    Args:
        folder: Where source, results and Storm's log go; a new one for every trial.
        spec: The work; its method must be record-wise.
        schema: Name or path of the data set descriptor, for the workers to load.
        policy: Name or path of the policy, likewise.
        records: What the spout emits, in order.
        schedule: When the last of them arrive, counted from when the others are through; by default all are there.
        topology: What to run.
        meanwhile: Called now and then with the number of results; tests use it to kill things.
    """
    job = prepare(folder, spec, schema, policy, records, schedule=schedule)
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    started = time.perf_counter_ns()
    expected = [anonymize(compliance(ordinal, record)) for ordinal, record in enumerate(records)]
    rate_here = len(records) * 1e9 / (time.perf_counter_ns() - started)
    run = run_local(job, len(records), topology, meanwhile=meanwhile)
    results = read_results(folder / "results.jsonl")
    equal = all(_is_equal(results.get(one.ordinal), one) for one in expected)
    return StormTrial(topology.name, len(records), len(results), equal, rate_here, run.acks, run.starts)


def _is_equal(result: dict[str, Any] | None, expected: Passing) -> bool:
    """Released record and violations, as JSON carries them (tuples become lists)."""
    return result is not None and (
        result["record"] == expected.record and result["violations"] == [list(one) for one in expected.violations]
    )
