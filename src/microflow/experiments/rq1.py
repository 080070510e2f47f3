"""RQ-1: how do batch, stream and hybrid compare when they do the same work and give the same rows?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from microflow.experiments import detection, sustained, transport
from microflow.experiments.answers import Answer, rounded
from microflow.experiments.estimates import typical
from microflow.experiments.matrix import Matrix, Precision, scale_of
from microflow.experiments.results import Results
from microflow.processors import PIPELINES
from microflow.store.experiments import ExperimentStore
from microflow.timing.comparisons import Analysis, compare
from microflow.timing.statistics import Blocks
from microflow.timing.trials import Arm, gather

__all__ = [
    "PIPELINES", "analyses", "answer", "burst_frame", "bursts", "latency", "latency_frame", "matrices", "throughput",
    "throughput_frame",
]  # fmt: skip

_ARMS = "microflow.experiments.arms:"
_TOKENS = {"method": "tokenization"}
_AGAIN, _IDENTITY, _SPARK = "batch again", "identity", "Spark batch"
_NS = 1e9
#: A backlog that grows by more than this part of the load is not sustained; short runs cannot tell less from noise.
_SLOPE = 0.05


@dataclass(frozen=True, slots=True)
class _Scale:
    data_types: tuple[str, ...]
    rows: int
    passes: int
    blocks: int
    spark: tuple[str, ...]
    loads: tuple[int, ...]
    seconds: float
    latency_blocks: int
    burst_seconds: float
    precision: Precision | None = None


_TYPES = ("healthcare", "financial")
_SCALES = {
    "smoke": _Scale(_TYPES[:1], 2_000, 3, 2, (), (4_000, 16_000), 0.4, 1, 1.0),
    "quick": _Scale(_TYPES, 20_000, 4, 3, _TYPES[:1], (2_000, 16_000, 64_000, 256_000), 0.6, 2, 3.0),
    "paper": _Scale(
        _TYPES, 100_000, 5, 6, _TYPES, (1_000, 4_000, 16_000, 32_000, 64_000, 128_000, 256_000),
        2.0, 4, 10.0, Precision(0.02, "batch", most=8),
    ),
}  # fmt: skip


def matrices(profile: str) -> tuple[Matrix, ...]:
    """Everything this question runs."""
    speeds = throughput(profile), transport.matrix(profile)
    return detection.matrix(profile), *speeds, latency(profile), sustained.matrix(profile), bursts(profile)


def throughput(profile: str, *, seed: int = 1) -> Matrix:
    """Every pipeline, the batch once more (A/A), the identity (what the engine itself costs), and Spark."""
    scale = scale_of(_SCALES, profile)
    work = {"engine": "local", "method": _TOKENS, "rows": scale.rows, "passes": scale.passes, "released_alike": True}
    named = {name: work | {"pipeline": name} for name in PIPELINES}
    as_it_is = {"method": {"method": "identity"}, "released_alike": False}
    named |= {_AGAIN: named["batch"], _IDENTITY: named["batch"] | as_it_is}
    arms = _for_each_type(scale.data_types, "throughput", named)
    arms += _for_each_type(scale.spark, "throughput", {_SPARK: named["batch"] | {"engine": "spark"}})
    return Matrix("rq1-throughput", arms, scale.blocks, seed, precision=scale.precision)


def latency(profile: str, *, seed: int = 1) -> Matrix:
    """Every pipeline at several offered loads."""
    scale = scale_of(_SCALES, profile)
    work = {"method": _TOKENS, "loads": list(scale.loads), "seconds": scale.seconds}
    named = {name: work | {"pipeline": name} for name in PIPELINES}
    return Matrix("rq1-latency", _for_each_type(scale.data_types, "open_loop", named), scale.latency_blocks, seed)


def bursts(profile: str, *, seed: int = 1) -> Matrix:
    """Every pipeline under a load that jumps tenfold for a fifth of each second."""
    work = {
        "method": _TOKENS,
        "rate": 12_000,
        "peak_rate": 120_000,
        "seconds": scale_of(_SCALES, profile).burst_seconds,
    }
    named = {name: work | {"pipeline": name} for name in PIPELINES}
    return Matrix("rq1-bursts", _for_each_type(("healthcare",), "burst", named), 1, seed)


def _for_each_type(data_types: Sequence[str], target: str, named: dict[str, dict[str, object]]) -> tuple[Arm, ...]:
    return tuple(
        Arm(f"{data_type}: {name}", f"{_ARMS}{target}", config | {"data_type": data_type})
        for data_type in data_types
        for name, config in named.items()
    )


def _samples(results: Results, data_type: str) -> dict[str, Blocks]:
    """Steady samples by arm of one data type; refuses arms that read or released other rows."""
    trials = results.where(lambda config: config["data_type"] == data_type)
    found = gather(trials)
    return {arm.name.partition(": ")[2]: found[arm.name] for arm in results.matrix.arms if arm.name in found}


def _types(results: Results) -> list[str]:
    return list(dict.fromkeys(arm.config["data_type"] for arm in results.matrix.arms))


def analyses(results: Results) -> dict[str, Analysis]:
    """By data type: every arm's time per record beside the batch's, and the noise floor."""
    return {kind: compare(_samples(results, kind), "batch", _AGAIN) for kind in _types(results)}


def throughput_frame(results: Results) -> pd.DataFrame:
    """Records per second of pure processing: columns as `microflow.figures.throughput` wants them, batch first."""
    rows = []
    for data_type, analysis in analyses(results).items():
        for arm, blocks in _samples(results, data_type).items():
            if arm == _AGAIN:
                continue
            rate = typical(blocks).inverse(_NS)
            look = "spark" if arm == _SPARK else arm
            rows.append((data_type, arm, look, rate.value, rate.low, rate.high, analysis.noise_floor))
    return pd.DataFrame(rows, columns=["data_type", "arm", "look", "rate", "low", "high", "noise_floor"])


def latency_frame(results: Results) -> pd.DataFrame:
    """Latency by offered load: medians over blocks, p99 with its range, as `microflow.figures.latency` wants them.

    Loads at which some block served nothing after its warm-up have no latency and are left out.
    """
    rows = [
        (trial.planned.arm.config["data_type"], trial.planned.arm.config["pipeline"], *values)
        for trial in sorted(results.trials, key=lambda trial: results.matrix.arms.index(trial.planned.arm))
        for values in zip(
            *(trial.run.result[name] for name in ("load", "p50_ns", "p99_ns", "slope", "unserved")), strict=True
        )
    ]
    frame = pd.DataFrame(rows, columns=["data_type", "arm", "load", "p50", "p99", "slope", "unserved"])
    found = frame.groupby(["data_type", "arm", "load"], sort=False).agg(
        worst=("p99", "min"), p50=("p50", "median"), p99=("p99", "median"), low=("p99", "min"), high=("p99", "max"),
        slope=("slope", "median"), unserved=("unserved", "max"),
    )  # fmt: skip
    found = found[found["worst"] > 0].reset_index()
    milliseconds = {"p50": "p50_ms", "p99": "p99_ms", "low": "p99_low_ms", "high": "p99_high_ms"}
    for name, in_ms in milliseconds.items():
        found[in_ms] = found[name] / 1e6
    found["sustained"] = (found["unserved"] == 0) & (found["slope"] <= _SLOPE)
    return found[["data_type", "arm", "load", *milliseconds.values(), "sustained"]]


def burst_frame(results: Results) -> pd.DataFrame:
    """What arrived and how it was served, slice by slice, as `microflow.figures.burst` wants it."""
    frames = [
        pd.DataFrame({name: trial.run.result[name] for name in ("time_s", "offered", "size", "p99_ns")}).assign(
            arm=trial.planned.arm.config["pipeline"]
        )
        for trial in sorted(results.trials, key=lambda trial: PIPELINES.index(trial.planned.arm.config["pipeline"]))
    ]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(p99_ms=frame["p99_ns"] / 1e6).drop(columns="p99_ns")


def answer(profile: str, store: ExperimentStore) -> Answer:
    """Which pipeline is how fast, and how late, on the first data type."""
    speeds = Results.read(throughput(profile), store)
    data_type = _types(speeds)[0]
    rates = throughput_frame(speeds).set_index(["data_type", "arm"]).loc[data_type]["rate"].to_dict()
    analysis = analyses(speeds)[data_type]
    stream = analysis["stream"]
    curves = latency_frame(Results.read(latency(profile), store))
    lowest = curves[(curves["data_type"] == data_type) & (curves["load"] == curves["load"].min())]
    late = lowest.set_index("arm")["p99_ms"].to_dict()
    numbers = {f"rq1 {data_type} {arm} rate": rounded(rate) for arm, rate in rates.items()}
    numbers |= {f"rq1 {data_type} {arm} low load latency ms": rounded(value) for arm, value in late.items()}
    numbers["rq1 stream over batch"] = f"{rounded(stream.ratio)} [{rounded(stream.low)}, {rounded(stream.high)}]"
    numbers["rq1 noise floor"] = f"{100 * analysis.noise_floor:.1f} %"
    waits = ", ".join(f"{arm} {rounded(late[arm])} ms" for arm in PIPELINES if arm in late)
    kept_up = sustained.said(sustained.frame(Results.read(sustained.matrix(profile), store)))
    numbers |= {f"rq1 {arm} sustained": rate for arm, rate in kept_up.items()}
    keeps_up = ", ".join(f"{arm} {rate}" for arm, rate in kept_up.items())
    sentence = (
        f"On {data_type} records batch processes {rounded(rates['batch'])} records/s, hybrid "
        f"{rounded(rates['hybrid'])} and stream {rounded(rates['stream'])} (stream takes "
        f"{numbers['rq1 stream over batch']} times the batch's time; noise floor {numbers['rq1 noise floor']}), while "
        f"at the lowest offered load 99 of 100 records are done within: {waits}. With 99 of 100 within "
        f"{sustained.P99_MS} ms and no growing backlog, records/s that may arrive are: {keeps_up}."
    )
    return Answer(sentence, numbers)
