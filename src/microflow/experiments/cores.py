"""Scaling in cores: Spark's fixed cost of a job, and its rate beyond it, on one worker thread, two, and more.

A job costs the same whatever it holds, until it holds much: so times are fitted by a line through several volumes, of
which the height is the fixed cost and the slope the cost of a record. The local engine runs beside it in each trial.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from microflow.errors import SetupError
from microflow.experiments.answers import Answer, rounded
from microflow.experiments.arms import spec_of
from microflow.experiments.estimates import Estimate, typical
from microflow.experiments.matrix import Matrix, scale_of
from microflow.experiments.results import Results
from microflow.experiments.runner import Progress, Skipped, run_matrix
from microflow.experiments.sources import data_checksum, source
from microflow.jvm.java import find_java
from microflow.microflows import Microflow, microflows
from microflow.processors import Processor, build_processor
from microflow.store.experiments import ExperimentStore
from microflow.timing.clock import PhaseClock
from microflow.timing.machine import refuse_unlike
from microflow.timing.trials import Arm

__all__ = ["answer", "frame", "matrix", "missing", "run", "trial"]


@dataclass(frozen=True, slots=True)
class _Scale:
    cores: tuple[int, ...]
    volumes: tuple[int, ...]
    passes: int
    blocks: int


_SCALES = {
    "smoke": _Scale((1,), (1_000, 2_000), 1, 1),
    "quick": _Scale((1, 2), (25_000, 100_000), 2, 1),
    "paper": _Scale((1, 2, 4), (10_000, 100_000, 1_000_000, 10_000_000), 1, 2),
}


def matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Spark on so many threads of this machine, each trial at all volumes; one that lacks the cores shows it."""
    scale = scale_of(_SCALES, profile)
    work = {
        "data_type": "healthcare", "method": {"method": "tokenization"}, "volumes": list(scale.volumes),
        "passes": scale.passes,
    }  # fmt: skip
    arms = [Arm(f"{cores} cores", f"{__name__}:trial", work | {"cores": cores}) for cores in scale.cores]
    return Matrix("cores", tuple(arms), scale.blocks, seed, timeout_s=7_200)


def missing() -> str:
    """Why Spark cannot run here; nothing where it can."""
    try:
        find_java()
    except SetupError as error:
        return str(error)
    return ""


def run(profile: str, store: ExperimentStore, *, force: bool = False) -> Progress | Skipped:
    """Run the matrix, or say why Spark cannot run here."""
    wanted = matrix(profile)
    if reason := missing():
        return Skipped(wanted.experiment, reason)
    return run_matrix(wanted, store, force=force)


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Jobs of growing volume in one Spark session of ``cores`` threads, after one that is thrown away.

    Returns:
        ``action_s``: of each volume, the seconds from the submission of each pass to its last persisted result.
        ``samples``: pure nanoseconds per record of the local engine, one value a pass over the smallest volume.
        ``data_checksum``: of the smallest volume, which the others repeat.
    """
    from microflow.processors.batch import SparkBatchProcessor
    from microflow.processors.spark_session import spark_session

    spec, (smallest, second, *_) = spec_of(config), sorted(config["volumes"])
    flows = list(source(config, smallest))
    spark = SparkBatchProcessor(spec, spark_session(f"local[{config['cores']}]"))
    _pure_ns(spark, _repeated(flows, second // smallest))  # the JVM compiles while it is busy
    action_s: dict[int, list[float]] = {rows: [] for rows in config["volumes"]}
    local: list[float] = []
    for _ in range(config["passes"]):
        for rows, seconds in action_s.items():
            _pure_ns(spark, _repeated(flows, rows // smallest))
            seconds.append(spark.action_ns / 1e9)
        local.append(_pure_ns(build_processor(spec), flows) / smallest)
    return {"action_s": list(action_s.values()), "samples": local, "data_checksum": data_checksum(flows)}


def frame(results: Results) -> pd.DataFrame:
    """By number of cores, medians over blocks with Student's t intervals.

    Columns: ``cores``; ``fixed_s``; ``rate``, ``low``, ``high`` (records/s beyond the fixed cost); ``local`` (records/s
    of the local engine, on one core); ``share``, ``share_low``, ``share_high``: the rate over so many times the local.

    Raises:
        MicroflowError: the trials ran on unlike machines.
    """
    refuse_unlike(one.run.machine for one in results.trials)
    found = []
    for arm in results.matrix.arms:
        own = [one.run.result for one in results.trials if one.planned.arm == arm]
        lines = [_line(arm.config["volumes"], result["action_s"]) for result in own]
        local = [1e9 / float(np.median(result["samples"])) for result in own]
        rate = typical([[1 / slope] for _, slope in lines])
        cores: int = arm.config["cores"]
        share = typical([[1 / slope / (cores * one)] for (_, slope), one in zip(lines, local, strict=True)])
        fixed_s = float(np.median([height for height, _ in lines]))
        found.append((cores, fixed_s, *_parts(rate), float(np.median(local)), *_parts(share)))
    columns = ["cores", "fixed_s", "rate", "low", "high", "local", "share", "share_low", "share_high"]
    return pd.DataFrame(found, columns=columns)


def answer(profile: str, store: ExperimentStore) -> Answer:
    """What a Spark job costs at least, and what a core more brings."""
    rows = frame(Results.read(matrix(profile), store)).to_dict("records")
    last = rows[-1]
    numbers = {"cores spark fixed s": rounded(last["fixed_s"]), "cores local rate": rounded(last["local"])}
    numbers |= {f"cores {row['cores']} spark rate": rounded(row["rate"]) for row in rows}
    rates = ", ".join(f"{rounded(row['rate'])} records/s on {row['cores']}" for row in rows)
    sentence = (
        f"A Spark job costs {numbers['cores spark fixed s']} s in any case; beyond that, by number of cores, it "
        f"processes {rates}, transport and files included, beside {numbers['cores local rate']} of pure processing by "
        "the local engine on one."
    )
    return Answer(sentence, numbers)


def _pure_ns(processor: Processor, flows: Iterable[Microflow]) -> int:
    clock = PhaseClock()
    for _ in processor.process(flows, clock):
        pass
    return clock.pure_ns


def _repeated(flows: list[Microflow], times: int) -> Iterator[Microflow]:
    """The same rows again and again; made as they are read."""
    return microflows(flow.rows for _ in range(times) for flow in flows)


def _line(rows: list[int], action_s: list[list[float]]) -> tuple[float, float]:
    """Height (s) and slope (s per record) of the line through the fastest pass of each volume.

    Relative errors are alike at every volume, so each counts by the inverse of its time.
    """
    times = np.array([min(passes) for passes in action_s])
    slope, height = np.polyfit(rows, times, 1, w=1 / times)
    return float(height), float(slope)


def _parts(one: Estimate) -> tuple[float, float, float]:
    return one.value, one.low, one.high
