"""RQ-1 on Apache Storm: what the same bolts cost when a cluster's transport carries every tuple between processes.

A matrix of its own, because Storm is slower by orders of magnitude and wants fewer rows, and because it may be left out
where Java or Storm's jars are not to be had. In process the same rows run beside it in the same blocks.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from microflow.anonymize.keys import KEY_VARIABLE
from microflow.errors import MicroflowError, SetupError
from microflow.experiments.answers import Answer, rounded
from microflow.experiments.arms import row_digest, spec_of
from microflow.experiments.estimates import ratio_of, typical
from microflow.experiments.matrix import Matrix, scale_of
from microflow.experiments.results import IncompleteError, Results
from microflow.experiments.runner import Progress, Skipped, run_matrix
from microflow.experiments.sources import data_checksum, source
from microflow.jvm.java import find_java
from microflow.jvm.maven import jars
from microflow.microflows import Microflow
from microflow.processors import build_processor
from microflow.records import to_batch
from microflow.store.experiments import ExperimentStore
from microflow.storm.flux import TOPOLOGIES
from microflow.storm.shell import read_results
from microflow.storm.trial import StormTrial, storm_trial
from microflow.timing.machine import refuse_unlike
from microflow.timing.schedules import Schedule, poisson
from microflow.timing.trials import Arm, gather

__all__ = ["Skipped", "answer", "beside", "frame", "matrix", "missing", "run", "trial"]

_STORM, _STREAM, _BATCH = "Storm stream", "stream", "batch"
_SLICES = 12
_NS = 1e9


@dataclass(frozen=True, slots=True)
class _Scale:
    """Of ``rows`` the last ``paced`` come on a Poisson schedule at ``load`` records/s; the others are there at once."""

    rows: int
    paced: int
    load: int
    blocks: int
    hybrid: bool = False


_SCALES = {
    "smoke": _Scale(600, 100, 200, 1),
    "quick": _Scale(1_800, 300, 300, 2),
    "paper": _Scale(12_000, 3_000, 300, 4, hybrid=True),
}


def matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Healthcare records, tokenized: batch and stream in process, and the stream topology on Storm (on paper both)."""
    scale = scale_of(_SCALES, profile)
    work = {"data_type": "healthcare", "method": {"method": "tokenization"}, "rows": scale.rows}
    here = work | {"engine": "local", "passes": _SLICES, "released_alike": True}
    storm = work | {"engine": "storm", "paced": scale.paced, "load": scale.load}
    arms = [Arm(name, "microflow.experiments.arms:throughput", here | {"pipeline": name}) for name in (_BATCH, _STREAM)]
    arms += [
        Arm(f"Storm {name}", "microflow.experiments.transport:trial", storm | {"pipeline": name})
        for name in ((_STREAM, "hybrid") if scale.hybrid else (_STREAM,))
    ]
    return Matrix("rq1-storm", tuple(arms), scale.blocks, seed)


def missing() -> str:
    """Why Storm cannot run here; nothing where it can. Jars that are not in the cache yet are fetched."""
    try:
        find_java()
        jars("storm")
    except SetupError as error:
        return str(error)
    return ""


def run(profile: str, store: ExperimentStore, *, force: bool = False) -> Progress | Skipped:
    """Run the matrix, or say why Storm cannot run or will not start; everything else of RQ-1 does without it.

    Raises:
        MicroflowError: Storm ran, and what came out is not to be recorded.
    """
    wanted = matrix(profile)
    if reason := missing():
        return Skipped(wanted.experiment, reason)
    try:
        return run_matrix(wanted, store, force=force)
    except SetupError as error:
        return Skipped(wanted.experiment, str(error))


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rows through Storm's ``LocalCluster``, all at once for its rate, and then on a schedule for its latency.

    Returns:
        ``samples``: nanoseconds per record in slices of the burst, from one acknowledgement to another, in order:
        wall time with the transport. ``latency_ns``: of each paced record, from when it was due to its
        acknowledgement. Checksums as `microflow.experiments.arms.throughput` gives them, over what came out of Storm.

    Raises:
        MicroflowError: a row is missing or differs from the in-process run's.
        SetupError: Storm did not start, or not once and for all.
    """
    spec, flows = spec_of(config), list(source(config, config["rows"]))
    if spec.key:
        os.environ[KEY_VARIABLE] = spec.key.hex()
    records = [row for flow in flows for row in flow.rows.to_pylist()]
    with tempfile.TemporaryDirectory(prefix="microflow-storm-", ignore_cleanup_errors=True) as name:
        found = storm_trial(
            Path(name), spec, config["data_type"], spec.schema.policy, records,
            schedule=_schedule(config), topology=TOPOLOGIES[config["pipeline"]],
        )  # fmt: skip
        results = read_results(Path(name) / "results.jsonl")
    _require_whole(found)
    return {
        "samples": found.acks.ns_per_record(_SLICES),
        "latency_ns": found.acks.latency_ns.tolist(),
        "rows_in": found.rows_in,
        "rows_out": found.rows_out,
        "violations": sum(len(one["violations"]) for one in results.values()),
        "data_checksum": data_checksum(flows),
        "output_checksum": _output_checksum(flows, results, build_processor(spec, _STREAM).output_schema),
    }


def frame(results: Results) -> pd.DataFrame:
    """By arm: records/s, time beside batch and stream of the same blocks, latency in ms.

    Columns: ``data_type``, ``arm``, ``look``; ``rate``, ``low``, ``high`` (records/s); ``over_batch`` and
    ``over_stream`` (`Estimate`); ``load`` (records/s), ``p50_ms``, ``p99_ms`` (over all blocks; nan in process).
    """
    samples, rows = gather(results.trials), []
    for arm in results.matrix.arms:
        own = samples[arm.name]
        rate = typical(own).inverse(_NS)
        rows.append({
            "data_type": arm.config["data_type"], "arm": arm.name, "look": arm.config["engine"],
            "rate": rate.value, "low": rate.low, "high": rate.high,
            "over_batch": ratio_of(own, samples[_BATCH]), "over_stream": ratio_of(own, samples[_STREAM]),
            "load": arm.config.get("load", np.nan), **_latency(results, arm),
        })  # fmt: skip
    return pd.DataFrame(rows)


def beside(others: Results, profile: str, store: ExperimentStore) -> pd.DataFrame:
    """Storm's rows of `frame`, to stand beside those of other trials; none where it has not been measured.

    Raises:
        MicroflowError: the others ran on an unlike machine.
    """
    try:
        own = Results.read(matrix(profile), store)
    except IncompleteError:
        return pd.DataFrame()
    refuse_unlike(trial.run.machine for trial in (*others.trials, *own.trials))
    found = frame(own)
    return found[found["look"] == "storm"]


def answer(profile: str, store: ExperimentStore) -> Answer:
    """How fast, and how late, Storm's transport is."""
    found = frame(Results.read(matrix(profile), store))
    storm = next(row for row in found.to_dict("records") if row["arm"] == _STORM)
    numbers = {
        "rq1 storm rate": rounded(storm["rate"]),
        "rq1 storm load": rounded(storm["load"]),
        "rq1 storm p50 ms": rounded(storm["p50_ms"]),
        "rq1 storm p99 ms": rounded(storm["p99_ms"]),
        "rq1 storm over stream": rounded(storm["over_stream"].value),
    }
    sentence = (
        f"On Apache Storm, in one JVM, the same bolts process {numbers['rq1 storm rate']} records/s, "
        f"{numbers['rq1 storm over stream']} times the stream's time in process for the same rows: the transport's "
        f"price. At {numbers['rq1 storm load']} records/s half of the records are acknowledged "
        f"{numbers['rq1 storm p50 ms']} ms after they were due, 99 of 100 within {numbers['rq1 storm p99 ms']} ms."
    )
    return Answer(sentence, numbers)


def _schedule(config: Mapping[str, Any]) -> Schedule:
    """Exactly ``paced`` arrivals: twice the time they need, cut."""
    return poisson(config["load"], 2 * config["paced"] / config["load"], config["seed"])[: config["paced"]]


def _require_whole(found: StormTrial) -> None:
    if not found.equal or found.rows_out != found.rows_in:
        raise MicroflowError("Storm's rows are not the in-process run's", hint="microflow storm run shows how many")
    if found.starts > 1 or len(found.acks) != found.rows_in:
        raise SetupError("Storm's run was disturbed, its times mean nothing", hint="run the experiment again")


def _output_checksum(flows: list[Microflow], results: Mapping[int, Mapping[str, Any]], schema: pa.Schema) -> str:
    digest = 0
    for released, ordinals in _released(flows, results, schema):
        digest ^= row_digest(released, ordinals)
    return f"{digest:016x}"


def _released(
    flows: list[Microflow], results: Mapping[int, Mapping[str, Any]], schema: pa.Schema
) -> Iterator[tuple[pa.RecordBatch, Any]]:
    for flow in flows:
        rows = {n: results[n]["record"] for n in range(flow.first_row, flow.first_row + len(flow))}
        kept = {n: record for n, record in rows.items() if record is not None}
        yield to_batch(kept.values(), schema), np.fromiter(kept, np.int64, len(kept))


def _latency(results: Results, arm: Arm) -> dict[str, float]:
    found = [one.run.result["latency_ns"] for one in results.trials if one.planned.arm == arm and "load" in arm.config]
    if not found:
        return {"p50_ms": np.nan, "p99_ms": np.nan}
    p50, p99 = np.percentile(np.concatenate(found), (50, 99)) / 1e6
    return {"p50_ms": float(p50), "p99_ms": float(p99)}
