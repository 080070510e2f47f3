"""One run on Storm beside one in this process: the rows must be equal before any rate is worth a look."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt
from microflow.processors.contract import ProcessingSpec
from microflow.processors.topology import STREAM_TOPOLOGY, Topology
from microflow.schema import Record
from microflow.storm.local import prepare, run_local
from microflow.storm.shell import read_results

__all__ = ["StormTrial", "storm_trial"]


@dataclass(frozen=True, slots=True)
class StormTrial:
    """What went in and came out, whether it equals the in-process run, and both rates in records a second.

    ``storm_rate`` counts from the first result to the last: it is the transport's and the bolts' cost, not start-up.
    """

    topology: str
    rows_in: int
    rows_out: int
    equal: bool
    storm_rate: float
    in_process_rate: float
    starts: int


def storm_trial(
    folder: Path,
    spec: ProcessingSpec,
    schema: str,
    policy: str,
    records: Sequence[Record],
    *,
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
        topology: What to run.
        meanwhile: Called now and then with the number of results; tests use it to kill things.
    """
    job = prepare(folder, spec, schema, policy, enumerate(records))
    compliance, anonymize = ComplianceBolt.of(spec), AnonymizeBolt.of(spec)
    started = time.perf_counter_ns()
    expected = [anonymize(compliance(ordinal, record)) for ordinal, record in enumerate(records)]
    here = (time.perf_counter_ns() - started) / 1e9
    run = run_local(job, len(records), topology, meanwhile=meanwhile)
    results = read_results(folder / "results.jsonl")
    equal = all(results.get(one.ordinal, {}).get("record") == one.record for one in expected)
    rate_here = len(records) / here
    return StormTrial(topology.name, len(records), len(results), equal, run.tuples_per_second, rate_here, run.starts)
