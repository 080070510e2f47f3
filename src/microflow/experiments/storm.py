"""Apache Storm: what the same bolts cost when a cluster's transport carries every tuple between processes.

An experiment of its own, because Storm is slower by orders of magnitude and wants fewer rows, and because it may be
left out where Java or Storm's jars are not to be had. In process the same rows run beside it in the same blocks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from microflow.engine import build_processor
from microflow.errors import MicroflowError, SetupError
from microflow.experiments.work import TOKENS, data_checksum, row_digest, seconds_of_passes, source, spec_of
from microflow.lab.arrivals import Schedule, poisson
from microflow.lab.experiment import Experiment, Matrix, ratios_to, scale_of
from microflow.lab.report import Answer, Table, design, pure_or_not, ratio_text, rounded, short, with_interval
from microflow.lab.trials import Arm, gather
from microflow.records import Microflow, to_batch

if TYPE_CHECKING:
    import pandas as pd

    from microflow.lab.results import Results
    from microflow.storm.local import StormTrial

__all__ = ["STORM", "answer", "frame", "matrix", "missing", "table", "trial"]

_STORM, _ONE_BOLT, _STREAM, _BATCH = "Storm stream", "Storm, one bolt", "stream", "batch"
_SLICES = 12
_NS = 1e9


@dataclass(frozen=True, slots=True)
class _Scale:
    """Of ``rows`` the last ``paced`` come on a Poisson schedule at ``load`` records/s; the others are there at once."""

    rows: int
    paced: int
    load: int
    blocks: int
    one_bolt: bool = False


_SCALES = {
    "smoke": _Scale(600, 100, 200, 1),
    "quick": _Scale(1_500, 300, 300, 1),
    "paper": _Scale(8_000, 2_000, 300, 5, one_bolt=True),
}


def matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Healthcare records, tokenized: batch and stream in process, and on Storm; on paper there also as one bolt."""
    scale = scale_of(_SCALES, profile)
    work = {"data_type": "healthcare", "method": TOKENS, "rows": scale.rows}
    here = work | {"engine": "local", "passes": _SLICES, "released_alike": True}
    storm = work | {"engine": "storm", "paced": scale.paced, "load": scale.load}
    arms = [Arm(name, "microflow.experiments.work:throughput", here | {"pipeline": name}) for name in (_BATCH, _STREAM)]
    arms += [
        Arm(name, f"{__name__}:trial", storm | {"topology": topology})
        for name, topology in ((_STORM, "stream"), (_ONE_BOLT, "one-bolt"))[: 1 + scale.one_bolt]
    ]
    return Matrix("rq1-storm", tuple(arms), scale.blocks, seed)


def missing() -> str:
    """Why Storm cannot run here; nothing where it can. Jars that are not in the cache yet are fetched."""
    from microflow.jvm import find_java, jars

    try:
        find_java()
        jars("storm")
    except SetupError as error:
        return str(error)
    return ""


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
    with tempfile.TemporaryDirectory(prefix="microflow-storm-", ignore_cleanup_errors=True) as name:
        found = storm_trial(
            Path(name), spec, config["data_type"], spec.schema.policy, records,
            schedule=_schedule(config), topology=TOPOLOGIES[config["topology"]],
        )  # fmt: skip
        results = read_results(Path(name) / "results.jsonl")
    _require_whole(found)
    return {
        "samples": found.acks.ns_per_record(_SLICES),
        "latency_ns": found.acks.latency_ns.tolist(),
        "rows_in": found.rows_in,
        "rows_out": found.rows_out,
        "violations": sum(len(result["violations"]) for result in results.values()),
        "data_checksum": data_checksum(flows),
        "output_checksum": _output_checksum(flows, results, build_processor(spec, _STREAM).output_schema),
    }


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


def _seconds(config: Mapping[str, Any]) -> float:
    if config["engine"] == "local":
        return seconds_of_passes(config)
    return 7.5 + float(config["rows"]) / 4_000 + float(config["paced"]) / float(config["load"])


def frame(results: Results) -> pd.DataFrame:
    """By arm: records/s, time beside the stream of the same blocks, latency in ms.

    Columns: ``data_type``, ``arm``, ``look``; ``rate``, ``low``, ``high`` (records/s); ``over_stream`` (`Estimate`);
    ``load`` (records/s), ``p50_ms``, ``p99_ms`` (over all blocks; nan in process).
    """
    import pandas as pd

    from microflow.lab.statistics import ratio_of, typical

    samples, rows = gather(results.trials), []
    for arm in results.matrix.arms:
        own = samples[arm.name]
        rate = typical(own).inverse(_NS)
        rows.append({
            "data_type": arm.config["data_type"], "arm": arm.name, "look": arm.config["engine"],
            "rate": rate.value, "low": rate.low, "high": rate.high, "over_stream": ratio_of(own, samples[_STREAM]),
            "load": arm.config.get("load", np.nan), **_latency(results, arm),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _latency(results: Results, arm: Arm) -> dict[str, float]:
    found = [result["latency_ns"] for result in results.of(arm) if "load" in arm.config]
    if not found:
        return {"p50_ms": np.nan, "p99_ms": np.nan}
    p50, p99 = np.percentile(np.concatenate(found), (50, 99)) / 1e6
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


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
    """How fast, and how late, Storm's transport is."""
    storm = next(row for row in frame(results).to_dict("records") if row["arm"] == _STORM)
    numbers = {
        "rq1 storm rate": rounded(storm["rate"]),
        "rq1 storm load": rounded(storm["load"]),
        "rq1 storm p50 ms": rounded(storm["p50_ms"]),
        "rq1 storm p99 ms": rounded(storm["p99_ms"]),
        "rq1 storm over stream": ratio_text(storm["over_stream"]),
    }
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
    missing=missing,
    optional=True,
)
