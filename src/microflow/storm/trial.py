"""One run on Storm beside one in this process: the rows must be equal before any rate is worth a look."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.engine.bolts import AnonymizeBolt, ComplianceBolt, Passing
from microflow.engine.contract import ProcessingSpec
from microflow.engine.topology import STREAM_TOPOLOGY, Topology
from microflow.schema import Record
from microflow.storm.acks import Acks
from microflow.storm.local import prepare, run_local
from microflow.storm.shell import read_results

__all__ = ["StormTrial", "storm_trial"]


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
