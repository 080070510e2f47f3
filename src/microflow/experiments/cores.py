"""Scaling: what do more records cost, and what do more cores bring?

Records: each pipeline and each method is given growing volumes, generated as they are read, so that the process's peak
memory shows what the engine holds.

Cores: a line is fitted through Spark jobs of several volumes, from file to file: its height is the fixed cost of a job,
its slope the cost of a record on so many cores. The local engine's pure time is taken in each trial beside it.
"""

from __future__ import annotations

import math
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.tokenization import KEY_VARIABLE
from microflow.engine import PIPELINES, build_processor
from microflow.experiments.work import TOKENS, data_checksum, source, spec_of
from microflow.jvm import missing_java
from microflow.lab.experiment import PREVIEWS, Experiment, Matrix, Plot, scale_of
from microflow.lab.launch import cores_here
from microflow.lab.report import (
    UNKNOWN,
    Answer,
    Table,
    design,
    pure_or_not,
    ratio_text,
    rounded,
    short,
    sparkline,
    with_interval,
)
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import Estimate, PowerLaw, fit_power_law, typical
from microflow.lab.trials import Arm
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.records import Microflow
from microflow.sinks.writers import open_writer
from microflow.sources.splits import SPLIT_BYTES
from microflow.timing.clock import PhaseClock

__all__ = [
    "CORES", "SCALING", "cores_answer", "cores_frame", "cores_matrix", "cores_table", "laws", "scaling_answer",
    "scaling_frame", "scaling_matrix", "scaling_table", "trial",
]  # fmt: skip

#: What runs at every volume: all pipelines with tokens, and every method on batch.
_WORKS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *((name, name, TOKENS) for name in PIPELINES),
    ("batch, k-anonymity", "batch", {"method": "k_anonymity", "k": 5}),
    ("batch, differential privacy", "batch", {"method": "differential_privacy", "epsilon": 1.0}),
)
#: Volumes and blocks.
_VOLUME_SCALES: dict[str, tuple[tuple[int, ...], int]] = {
    "smoke": ((1_000, 4_000), 1),
    "quick": ((2_000, 8_000, 32_000), 1),
    "paper": ((10_000, 50_000, 250_000, 1_000_000), 3),
}


def scaling_matrix(profile: str) -> Matrix:
    """Each pipeline and each method at several volumes of healthcare records, one pass over streamed input."""
    volumes, blocks = scale_of(_VOLUME_SCALES, profile)
    work = {"engine": "local", "data_type": "healthcare"}
    arms = [
        Arm(
            f"{name} of {rows:,}",
            "microflow.experiments.work:volume",
            work | {"work": name, "pipeline": pipeline, "method": method, "rows": rows},
        )
        for name, pipeline, method in _WORKS
        for rows in volumes
    ]
    return Matrix("scalability", tuple(arms), blocks, timeout_s=3_600, side_by_side=profile in PREVIEWS)


def _trials(results: Results) -> Frame:
    """One row a trial, in the order of `_WORKS`: ``arm``, ``rows``, ``seconds``, ``mib`` (peak of memory)."""
    frame, order = results.frame, [name for name, _, _ in _WORKS]
    found = frame.assign(arm=frame["work"], seconds=frame["samples"].str[0], mib=frame["peak_rss_bytes"] / 2**20)
    found = found.sort_values("arm", key=lambda names: names.map(order.index), kind="stable")
    return found[["arm", "rows", "seconds", "mib"]].astype({"seconds": float})


def laws(results: Results) -> dict[str, PowerLaw]:
    """Power law of each pipeline or method: pure seconds by number of rows."""
    groups = _trials(results).groupby("arm", sort=False)
    return {str(name): fit_power_law(own["rows"], own["seconds"]) for name, own in groups}


def scaling_frame(results: Results) -> Frame:
    """Every trial with its arm's fit, as `microflow.figures.charts` wants it."""
    fits = [(arm, law.scale, *law.exponent) for arm, law in laws(results).items()]
    columns = ["arm", "scale", "exponent", "exponent_low", "exponent_high"]
    return _trials(results).merge(data_frame(fits, columns), on="arm")


def scaling_table(results: Results) -> Table:
    """Table by arm: the exponent with its interval, and the effect of the volume on rate and memory."""
    found = _trials(results)
    found = found.assign(rate=found["rows"] / found["seconds"])
    rows = []
    for arm, law in laws(results).items():
        own = found[found["arm"] == arm].groupby("rows")[["rate", "mib"]].median()
        rows.append([arm, _exponent(law.exponent), _course(own["rate"].tolist()), _course(own["mib"].tolist())])
    volumes, runs = sorted(found["rows"].unique()), results.matrix.blocks
    return Table(
        ["arm", "exponent", "records/s", "peak memory, MiB"],
        rows,
        f"Time grows with the number of records to the power of the exponent (95 % interval; {runs} run"
        f"{'s' * (runs != 1)} of each of {len(volumes)} volumes). Arms without a method's name tokenize. Bars begin at "
        f"zero, one a volume from {short(volumes[0])} to {short(volumes[-1])} records; first and last are written out. "
        f"Purity: {pure_or_not(results)}. {design(results)}.",
    )


def _exponent(found: Estimate) -> str:
    interval = "" if np.isnan(found.low) else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{found.value:.2f}{interval}"


def _course(values: Sequence[float]) -> str:
    """First value, bars, last value. From zero, so that what hardly changes looks like it."""
    return f"{short(values[0])} {sparkline(values, low=0)} {short(values[-1])}"


def scaling_answer(results: Results) -> Answer:
    """The exponents, and what more rows did to the peak of memory, by pipeline and method."""
    fits, found = laws(results), _trials(results)
    numbers = {f"scaling {arm} exponent": _exponent(fit.exponent) for arm, fit in fits.items()}
    growth = {}
    for arm, own in found.groupby("arm", sort=False):
        peaks = own.groupby("rows")["mib"].median()
        growth[arm] = f"{round(100 * (peaks.iloc[-1] / peaks.iloc[0] - 1))} % to {peaks.iloc[-1]:.0f} MiB"
        numbers[f"scaling {arm} memory"] = growth[arm]
    few, many = rounded(float(found["rows"].min())), rounded(float(found["rows"].max()))
    exponents = ", ".join(f"{arm} {_exponent(fit.exponent)}" for arm, fit in fits.items())
    memory = ", ".join(f"{arm} {factor}" for arm, factor in growth.items())
    return Answer(
        f"From {few} to {many} records pure processing grows with their number to the power of {exponents} (1 is "
        f"proportional; 95 % intervals), and peak memory changes by: {memory}.",
        numbers,
    )


SCALING = Experiment(
    name="scalability",
    asks="What do more records cost?",
    notebook="scalability",
    matrix=scaling_matrix,
    frame=scaling_frame,
    answer=scaling_answer,
    seconds=lambda config: (
        0.4 + float(config["rows"]) * {"batch": 8e-6, "stream": 2.6e-5, "hybrid": 1.4e-5}[config["pipeline"]]
    ),
    same=("rows_processed", "data_checksum"),
    tables={"scaling": scaling_table},
    plot=Plot(
        "scaling",
        "scaling",
        "Pure processing time by volume, with fitted exponents and their 95 % intervals; arms without a method's name "
        "tokenize.",
    ),
    ratios=lambda results: {f"exponent of {arm}": law.exponent for arm, law in laws(results).items()},
)


#: Numbers of cores, volumes and blocks.
_CORE_SCALES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "smoke": ((1,), (1_000, 2_000), 1),
    "quick": ((1, 2), (20_000, 80_000), 1),
    "paper": ((1, 2, 4, 8, 16), (20_000, 200_000, 1_000_000), 5),
}


def cores_matrix(profile: str) -> Matrix:
    """Spark on so many threads of this machine, each trial at all volumes; never on more than there are cores."""
    wanted, volumes, blocks = scale_of(_CORE_SCALES, profile)
    work = {"data_type": "healthcare", "method": TOKENS, "volumes": list(volumes), "passes": 1}
    arms = [
        Arm(f"{cores} cores", f"{__name__}:trial", work | {"cores": cores}) for cores in wanted if cores <= cores_here()
    ]
    return Matrix("cores", tuple(arms), blocks, timeout_s=7_200)


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Jobs of growing volume in one Spark session of ``cores`` threads, after one that is thrown away.

    Returns:
        ``action_s``: of each volume, the seconds of each pass from file to file.
        ``samples``: pure nanoseconds per record of the local engine, one value a pass over the smallest volume.
        ``data_checksum``: of the smallest volume, which the others repeat.
        ``evidence``: what the guards of all executors saw, a document for each job.
    """
    from microflow.engine.spark_pool import spark_session

    spec, (smallest, second, *_) = spec_of(config), sorted(config["volumes"])
    flows = list(source(config, smallest))
    spark_session(f"local[{config['cores']}]")
    os.environ[KEY_VARIABLE] = secrets.token_hex(32)
    action_s: dict[int, list[float]] = {rows: [] for rows in config["volumes"]}
    local: list[float] = []
    evidence = []
    with tempfile.TemporaryDirectory(prefix="microflow-") as folder:
        files = {rows: _repeated(flows, rows // smallest, Path(folder, f"{rows}.parquet")) for rows in action_s}
        _spark_job(files[second], config)  # the JVM compiles while it is busy
        for _ in range(config["passes"]):
            for rows, seconds in action_s.items():
                metrics = _spark_job(files[rows], config)
                seconds.append(metrics["timing_separation"]["wall"])
                evidence.append(metrics["research_benefits"]["timing_contamination"])
            clock = PhaseClock()
            for _ in build_processor(spec).process(flows, clock):
                pass
            local.append(clock.pure_ns / smallest)
    return {
        "action_s": list(action_s.values()),
        "samples": local,
        "data_checksum": data_checksum(flows),
        "evidence": evidence,
    }


def _spark_job(file: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    job = JobSpec(
        input=file,
        output=file.with_suffix(".released.parquet"),
        schema=config["data_type"],
        method=MethodSettings(Method(config["method"]["method"])),
        engine="spark",
        split_bytes=SPLIT_BYTES,
        overwrite=True,
    )
    return PipelineOrchestrator(None).run(job)


def _repeated(flows: list[Microflow], times: int, file: Path) -> Path:
    """A file of the same rows again and again, their record ids counted on."""
    position = 0
    with open_writer(file, flows[0].rows.schema) as writer:
        for flow in (flow for _ in range(times) for flow in flows):
            numbered = pa.array(range(position, position + len(flow)), flow.rows.schema.field(0).type)
            writer.write(flow.rows.set_column(0, flow.rows.schema.field(0), numbered))
            position += len(flow)
    return file


def cores_frame(results: Results) -> Frame:
    """Medians over blocks by number of cores, with Student's t intervals.

    Columns: ``cores``; ``fixed_s``; ``rate``, ``low``, ``high`` (records/s beyond the fixed cost, all cores together);
    ``local`` (records/s of pure processing by the local engine on one core); ``beside`` (`Estimate`: Spark's time per
    record and core over the local engine's). Rates and ``beside`` are nan where a block's larger job was no slower than
    its smaller one: the volumes are too small for what else this machine did.
    """
    found = []
    for arm in results.matrix.arms:
        own = results.of(arm)
        lines = [_line(arm.config["volumes"], result["action_s"]) for result in own]
        local = [float(np.median(result["samples"])) / 1e9 for result in own]
        cores: int = arm.config["cores"]
        rate = beside = Estimate(math.nan, math.nan, math.nan)
        if min(slope for _, slope in lines) > 0:
            rate = typical([[1 / slope] for _, slope in lines])
            beside = typical([[cores * slope / local_ns] for (_, slope), local_ns in zip(lines, local, strict=True)])
        fixed_s = float(np.median([height for height, _ in lines]))
        found.append((cores, fixed_s, *rate, 1 / float(np.median(local)), beside))
    return data_frame(found, ["cores", "fixed_s", "rate", "low", "high", "local", "beside"])


def _line(rows: list[int], action_s: list[list[float]]) -> tuple[float, float]:
    """Height (s) and slope (s per record) of the line through the fastest pass of each volume.

    Relative errors are alike at every volume, so each counts by the inverse of its time.
    """
    times = np.array([min(passes) for passes in action_s])
    slope, height = np.polyfit(rows, times, 1, w=1 / times)
    return float(height), float(slope)


def cores_table(results: Results) -> Table:
    """Spark's fixed cost and its rate beyond it, by number of cores."""
    rows = [
        [
            str(row["cores"]),
            f"{row['fixed_s']:.2f}",
            UNKNOWN if math.isnan(row["rate"]) else with_interval(row["rate"], row["low"], row["high"]),
            ratio_text(row["beside"]),
        ]
        for row in cores_frame(results).to_dict("records")
    ]
    return Table(
        ["cores", "a job, s", "records/s beyond", "core time beside local"],
        rows,
        "Spark on one machine, never on more cores than it has: what a job costs whatever it holds, the rate beyond it "
        "(files and transport included), and a record's time on a core over that of the local engine's pure "
        f"processing, which has neither files nor transport in it. Intervals are 95 % over blocks. Purity: "
        f"{pure_or_not(results)}. {design(results)}.",
    )


def cores_answer(results: Results) -> Answer:
    """Fixed cost of a Spark job, and the rate of one core."""
    rows = cores_frame(results).to_dict("records")
    last = rows[-1]
    numbers = {"cores spark fixed s": rounded(last["fixed_s"]), "cores local rate": rounded(last["local"])}
    speeds = {row["cores"]: UNKNOWN if math.isnan(row["rate"]) else rounded(row["rate"]) for row in rows}
    numbers |= {f"cores {cores} spark rate": speed for cores, speed in speeds.items()}
    numbers |= {f"cores {row['cores']} spark beside local": ratio_text(row["beside"]) for row in rows}
    rates = ", ".join(
        f"at a rate {speed} on {cores}" if speed == UNKNOWN else f"{speed} records/s on {cores}"
        for cores, speed in speeds.items()
    )
    sentence = (
        f"A Spark job costs {numbers['cores spark fixed s']} s in any case, its session running already; beyond that, "
        f"by number of cores, it processes {rates}, files and transport included. A record's time on a core over the "
        f"local engine's pure time, which has neither: {ratio_text(rows[0]['beside'])}."
    )
    return Answer(sentence, numbers)


CORES = Experiment(
    name="cores",
    asks="What do more cores bring?",
    notebook="scalability",
    matrix=cores_matrix,
    frame=cores_frame,
    answer=cores_answer,
    seconds=lambda config: 6.5 + float(sum(config["volumes"])) * config["passes"] * 1e-5,
    same=("data_checksum",),
    tables={"cores": cores_table},
    ratios=lambda results: {
        f"Spark on {row['cores']} cores beside local": row["beside"] for row in cores_frame(results).to_dict("records")
    },
    missing=missing_java,
    optional=True,
)
