"""Apache Storm: what the same bolts cost when a cluster's transport carries every tuple between processes.

An experiment of its own, because Storm is slower by orders of magnitude and wants fewer rows, and because it may be
left out where Java or Storm's jars are not to be had. In process the same rows run beside it in the same blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from microflow.engine import build_processor
from microflow.errors import MicroflowError, SetupError
from microflow.experiments.work import TOKENS, data_checksum, row_digest, seconds_of_passes, source, spec_of
from microflow.jvm import missing_java
from microflow.lab.arrivals import poisson
from microflow.lab.experiment import Experiment, Matrix, ratios_to, scale_of
from microflow.lab.report import Answer, Table, design, pure_or_not, ratio_text, rounded, short, with_interval
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import ratio_of, typical
from microflow.lab.trials import Arm
from microflow.records import Microflow, to_batch

__all__ = ["STORM", "answer", "frame", "matrix", "table", "trial"]

_STORM, _ONE_BOLT, _STREAM, _BATCH = "Storm stream", "Storm, one bolt", "stream", "batch"
_SLICES = 12
_NS = 1e9
#: Rows, of which the last so many come on a Poisson schedule, at so many a second, and the others are there at once;
#: blocks; topologies.
_SCALES = {
    "smoke": (600, 100, 200, 1, 1),
    "quick": (1_500, 300, 300, 1, 1),
    "paper": (8_000, 2_000, 300, 5, 2),
}


def matrix(profile: str) -> Matrix:
    """Healthcare records, tokenized: batch and stream in process, and on Storm; on paper there also as one bolt."""
    rows, paced, load, blocks, topologies = scale_of(_SCALES, profile)
    work = {"data_type": "healthcare", "method": TOKENS, "rows": rows}
    here = work | {"engine": "local", "passes": _SLICES, "released_alike": True}
    storm = work | {"engine": "storm", "paced": paced, "load": load}
    arms = [Arm(name, "microflow.experiments.work:throughput", here | {"pipeline": name}) for name in (_BATCH, _STREAM)]
    arms += [
        Arm(name, f"{__name__}:trial", storm | {"topology": topology})
        for name, topology in ((_STORM, "stream"), (_ONE_BOLT, "one-bolt"))[:topologies]
    ]
    return Matrix("rq1-storm", tuple(arms), blocks)


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Rows through Storm's ``LocalCluster``, all at once for its rate, and then on a schedule for its latency.

    Returns:
        ``samples``: nanoseconds per record in slices of the burst, from one acknowledgement to another, in order:
        wall time with the transport. ``latency_ns``: of each paced record, from when it was due to its
        acknowledgement. Checksums as `microflow.experiments.work.throughput` gives them, over what came out of Storm.

    Raises:
        MicroflowError: a row is missing or differs from the in-process run's.
        SetupError: Storm did not start, or not once and for all.
    """
    from microflow.storm.local import TOPOLOGIES, storm_trial
    from microflow.storm.shell import read_results

    spec, flows = spec_of(config), list(source(config, config["rows"]))
    records = [row for flow in flows for row in flow.rows.to_pylist()]
    # Exactly ``paced`` arrivals: twice the time they need, cut.
    paced, load = config["paced"], config["load"]
    schedule = poisson(load, 2 * paced / load, config["seed"])[:paced]
    with tempfile.TemporaryDirectory(prefix="microflow-storm-", ignore_cleanup_errors=True) as name:
        found = storm_trial(
            Path(name), spec, config["data_type"], spec.schema.policy, records,
            schedule=schedule, topology=TOPOLOGIES[config["topology"]],
        )  # fmt: skip
        results = read_results(Path(name) / "results.jsonl")
    if not found.equal or found.rows_out != found.rows_in:
        raise MicroflowError("Storm's rows are not the in-process run's", hint="microflow storm run shows how many")
    if found.starts > 1 or len(found.acks) != found.rows_in:
        raise SetupError("Storm's run was disturbed, its times mean nothing", hint="run the experiment again")
    return {
        "samples": found.acks.ns_per_record(_SLICES),
        "latency_ns": found.acks.latency_ns.tolist(),
        "rows_in": found.rows_in,
        "rows_out": found.rows_out,
        "violations": sum(len(result["violations"]) for result in results.values()),
        "data_checksum": data_checksum(flows),
        "output_checksum": _output_checksum(flows, results, build_processor(spec, _STREAM).output_schema),
    }


def _output_checksum(flows: list[Microflow], results: Mapping[int, Mapping[str, Any]], schema: pa.Schema) -> str:
    digest = 0
    for flow in flows:
        rows = {n: results[n]["record"] for n in range(flow.first_row, flow.first_row + len(flow))}
        kept = {n: record for n, record in rows.items() if record is not None}
        digest ^= row_digest(to_batch(kept.values(), schema), np.fromiter(kept, np.int64, len(kept)))
    return f"{digest:016x}"


def _seconds(config: Mapping[str, Any]) -> float:
    if config["engine"] == "local":
        return seconds_of_passes(config)
    return 7.5 + float(config["rows"]) / 4_000 + float(config["paced"]) / float(config["load"])


def frame(results: Results) -> Frame:
    """Results by arm: records/s, time beside the stream of the same blocks, latency in ms.

    Columns: ``data_type``, ``arm``, ``look``; ``rate``, ``low``, ``high`` (records/s); ``over_stream`` (`Estimate`);
    ``load`` (records/s), ``p50_ms``, ``p99_ms`` (over all blocks; nan in process).
    """
    samples, rows = results.samples[""], []
    for arm in results.matrix.arms:
        own = samples[arm.name]
        rate = typical(own).inverse(_NS)
        p50, p99 = np.nan, np.nan
        if "load" in arm.config:
            latencies = np.concatenate([result["latency_ns"] for result in results.of(arm)])
            p50, p99 = (np.percentile(latencies, (50, 99)) / 1e6).tolist()
        rows.append({
            "data_type": arm.config["data_type"], "arm": arm.name, "look": arm.config["engine"],
            "rate": rate.value, "low": rate.low, "high": rate.high, "over_stream": ratio_of(own, samples[_STREAM]),
            "load": arm.config.get("load", np.nan), "p50_ms": p50, "p99_ms": p99,
        })  # fmt: skip
    return data_frame(rows)


def table(results: Results) -> Table:
    """Rate, time beside the stream's and latency of every arm."""
    found = frame(results).to_dict("records")
    load = next(row["load"] for row in found if not np.isnan(row["load"]))
    rows = []
    for row in found:
        beside = "1" if row["arm"] == _STREAM else ratio_text(row["over_stream"])
        latency = ["" if np.isnan(row[name]) else f"{row[name]:.1f}" for name in ("p50_ms", "p99_ms")]
        rows.append([row["arm"], with_interval(row["rate"], row["low"], row["high"]), beside, *latency])
    return Table(
        ["engine", "records/s", "time beside stream", "p50 (ms)", "p99 (ms)"],
        rows,
        "The same rows in process (pure processing on one core) and on Apache Storm (wall time from acknowledgement to "
        f"acknowledgement, its processes on all cores, warm-up cut; {pure_or_not(results)}); latency from due to "
        f"acknowledged at {short(load)} records/s, which come as they come (Poisson). Intervals are 95 % over blocks. "
        f"{design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Rate and latency of Storm's transport."""
    storm = frame(results).set_index("arm").loc[_STORM].to_dict()
    said = {"rate": "rate", "load": "load", "p50 ms": "p50_ms", "p99 ms": "p99_ms"}
    numbers = {f"rq1 storm {name}": rounded(storm[column]) for name, column in said.items()}
    numbers["rq1 storm over stream"] = ratio_text(storm["over_stream"])
    sentence = (
        f"On Apache Storm, in one JVM, the same bolts process {numbers['rq1 storm rate']} records/s of wall time; the "
        f"stream's pure time in process for the same rows is exceeded {numbers['rq1 storm over stream']}: the price of "
        f"transport and processes. At {numbers['rq1 storm load']} records/s half of the records are acknowledged "
        f"{numbers['rq1 storm p50 ms']} ms after they were due, 99 of 100 within {numbers['rq1 storm p99 ms']} ms."
    )
    return Answer(sentence, numbers)


STORM = Experiment(
    name="rq1-storm",
    asks="What does a cluster's transport cost?",
    notebook="rq1",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=_seconds,
    same=("violations", "output_checksum", "data_checksum"),
    tables={"storm": table},
    ratios=ratios_to(_BATCH),
    missing=partial(missing_java, "storm"),
    optional=True,
)
