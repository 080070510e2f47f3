"""Advice: does the setting that `microflow recommend` advises from a sample hold when it is run on the whole file?

For each file and each pair of constraints the advised setting is released in full, attacked again, and judged as
`microflow release` judges: by the upper end of the risk's interval. Beside it stands exhaustive search, which runs
every candidate in full. *Regret* is the part of the utility of its best setting that is not had by the advised one.
`method_advice` and `architecture_advice` are no trials: they say what a person would be advised today, on this machine.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from microflow.advise.capacity import ArchitectureLatency, compare_architectures, preferred
from microflow.advise.recommend import Goals, advise
from microflow.advise.sample import SETTINGS, FileSample, Trials, sample_rows, setting_name
from microflow.advise.search import Candidate, Constraints, search
from microflow.anonymize.contract import MethodSettings
from microflow.assess.attacks import Rate
from microflow.compliance import load_policy
from microflow.datasets import DATA_TYPES, generate
from microflow.descriptors import load_schema
from microflow.engine.service import Service, Workload, measured_costs
from microflow.errors import InputError
from microflow.experiments.work import TOKENS, DataChecksum, shared_data, source, spec_of, write_rows
from microflow.lab.experiment import PREVIEWS, Experiment, Matrix, scale_of
from microflow.lab.report import Answer, Table, design, per_cent, rounded
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.trials import Arm
from microflow.records import microflows
from microflow.schema import Column, DatasetSchema, Dtype, Role
from microflow.sources import Quarantine, read_microflows

__all__ = [
    "ADVICE", "CONSTRAINTS", "SHAPES", "adult_file", "answer", "architecture_advice", "frame", "matrix",
    "method_advice", "shape", "table", "timed_trial", "trial",
]  # fmt: skip

#: Greatest risk and least utility asked for.
CONSTRAINTS = ((0.05, 0.0), (0.09, 0.0), (0.2, 0.0), (0.09, 0.5), (0.2, 0.8), (0.33, 0.9))
_ADULT, _TIME = "adult", "time"
#: Offset of the seed with which a full release is made and attacked: nothing of the advice is used again.
_AGAIN = 1_000

Draw = Callable[[np.random.Generator, int], Sequence[Any] | np.ndarray[Any, Any]]


def _text(values: int, skew: float = 1.0) -> Draw:
    return lambda rng, n: [f"v{place:04}" for place in (values * rng.random(n) ** skew).astype(int)]


def _quasi(name: str, values: int, *, text: bool = False, skew: float = 1.0) -> tuple[Column, Draw]:
    if text:
        return Column(name, Role.QUASI_IDENTIFIER), _text(values, skew)
    column = Column(name, Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=values)
    return column, lambda rng, n: (values * rng.random(n) ** skew).astype(np.int64)


_ILLNESS = (Column("illness", Role.SENSITIVE), _text(12, 2.0))
#: Made-up files by name: their columns, and how the values of each are drawn.
SHAPES: dict[str, tuple[tuple[Column, Draw], ...]] = {
    "even": (_quasi("age", 90), _quasi("region", 50, text=True), _quasi("sex", 2, text=True), _ILLNESS),
    "skewed": (_quasi("age", 90, skew=4), _quasi("income", 100_000, skew=6), _quasi("town", 400, text=True, skew=5),
               _ILLNESS),
    "wide": (*(_quasi(f"answer{place}", 6, text=place % 2 == 0) for place in range(8)), _ILLNESS),
    "coarse": (_quasi("decade", 9), _quasi("sex", 2, text=True), _ILLNESS),
    "fine": (_quasi("latitude", 1_000_000), _quasi("longitude", 1_000_000), _ILLNESS),
    "texts": (_quasi("job", 300, text=True, skew=3), _quasi("town", 1_000, text=True, skew=2), _ILLNESS),
    "persons": ((Column("patient", Role.PERSON), _text(4_000)), _quasi("age", 90), _quasi("ward", 30, text=True),
                _ILLNESS),
}  # fmt: skip


def shape(name: str, rows: int, seed: int) -> tuple[DatasetSchema, list[pa.RecordBatch]]:
    """A made-up file: the same arguments give the same rows."""
    columns, draws = zip(*SHAPES[name], strict=True)
    schema = DatasetSchema(name, tuple(columns), "gdpr")
    rng = np.random.default_rng(seed)
    arrays = [pa.array(draw(rng, rows)).cast(field.type) for draw, field in zip(draws, schema.arrow, strict=True)]
    return schema, [flow.rows for flow in microflows([pa.RecordBatch.from_arrays(arrays, schema=schema.arrow)])]


def adult_file() -> Path | None:
    """UCI Adult from ``MICROFLOW_ADULT`` or a ``shared/data`` folder beside the project; ``None`` without it."""
    path = shared_data("MICROFLOW_ADULT", "adult.csv")
    return path if path.is_file() else None


def _file(name: str, rows: int, seed: int) -> tuple[DatasetSchema, list[pa.RecordBatch]]:
    """A file's rows.

    Raises:
        InputError: it is Adult, which is not at hand.
    """
    if name in SHAPES:
        return shape(name, rows, seed)
    schema = load_schema(name)
    if name in DATA_TYPES:
        return schema, [batch.rows for batch in generate(name, rows, seed)]
    path = adult_file()
    if path is None:
        raise InputError("UCI Adult is not at hand", hint="MICROFLOW_ADULT names its file")
    return schema, [flow.rows for flow in read_microflows(path, schema, quarantine=Quarantine())]


def trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Advise on files for every pair of constraints, and run every candidate in full; a target for a fresh process.

    Args:
        config: ``files``, ``rows`` of each, ``sampled`` (rows that advice may look at), ``seed``.

    Returns:
        ``pairs``: for each file and pair of constraints what was advised, what came of it in full, and what exhaustive
        search finds; ``data_checksum``.
    """
    pairs, checksum = [], DataChecksum()
    for name in config["files"]:
        schema, batches = _file(name, config["rows"], config["seed"])
        for batch in batches:
            checksum.add(batch)
        pairs += [{"file": name, **pair} for pair in _pairs(schema, batches, config["sampled"], config["seed"])]
    return {"pairs": pairs, "data_checksum": checksum.hexdigest()}


def _pairs(schema: DatasetSchema, batches: list[pa.RecordBatch], sampled: int, seed: int) -> Iterator[dict[str, Any]]:
    policy, whole = load_policy(schema.policy), pa.concat_batches(batches)
    advisor = Trials(sample_rows(batches, schema, most=sampled, seed=seed), policy)
    fresh = Trials(FileSample(schema, whole, whole.num_rows), policy, seed=seed + _AGAIN)
    full = {setting: fresh.attempt(setting, whole.num_rows) for setting in SETTINGS if not fresh.refusal(setting)}
    for max_risk, min_utility in CONSTRAINTS:
        passing = {s: 1 - t.loss for s, t in full.items() if t.risk[2] <= max_risk and 1 - t.loss >= min_utility}
        best = max(passing, key=lambda setting: passing[setting], default=None)
        advised = search(advisor, Constraints(max_risk, min_utility)).advised
        yield {"max_risk": max_risk, "min_utility": min_utility, **_judged(advised, best, passing)}


def _judged(
    advised: Candidate | None, best: MethodSettings | None, passing: Mapping[MethodSettings, float]
) -> dict[str, Any]:
    """Judgement of the advice: does it hold, and at what regret; to decline is right where nothing passes."""
    named = None if advised is None else advised.settings
    had = 0.0 if named is None else passing.get(named, 0.0)
    regret = 0.0 if best is None else max(1 - had / passing[best], 0.0)
    return {
        "advised": None if named is None else setting_name(named),
        "best": None if best is None else setting_name(best),
        "holds": named in passing if named is not None else best is None,
        "declined": named is None,
        "regret": regret,
    }


def timed_trial(config: Mapping[str, Any]) -> dict[str, Any]:
    """Advise on a CSV file of ``rows`` generated records: ``samples`` (seconds), ``cpu_seconds``, and the advice."""
    with tempfile.TemporaryDirectory(prefix="microflow-advice-") as folder:
        path = Path(folder) / "records.csv"
        checksum = write_rows(path, {"data_type": config["file"], "seed": config["seed"]}, config["rows"])
        began, spent = time.perf_counter(), sum(os.times()[:4])
        found = advise(path, config["file"], Constraints(), Goals())
        seconds, spent = time.perf_counter() - began, sum(os.times()[:4]) - spent
    advised = None if found.advised is None else setting_name(found.advised.settings)
    return {
        "samples": [seconds], "cpu_seconds": spent, "advised": advised, "sampled": found.sampled,
        "data_checksum": checksum, "pairs": [],
    }  # fmt: skip


_ALL: dict[str, tuple[str, ...]] = {"generated": DATA_TYPES, "made up": tuple(SHAPES), _ADULT: (_ADULT,)}
#: Files, rows of each, rows that advice may look at, rows of the timed file.
_SCALES: dict[str, tuple[dict[str, tuple[str, ...]], int, int, int]] = {
    "smoke": ({"made up": ("even", "persons")}, 1_000, 500, 2_000),
    "quick": (_ALL, 6_000, 2_000, 20_000),
    "paper": (_ALL, 100_000, 20_000, 1_000_000),
}


def matrix(profile: str) -> Matrix:
    """Files by where they come from, UCI Adult among them where it is at hand, and one whose advice is timed."""
    groups, rows, sampled, timed_rows = scale_of(_SCALES, profile)
    work = {"rows": rows, "sampled": sampled}
    arms = [
        Arm(name, f"{__name__}:trial", {"files": list(files), **work}, absent=name == _ADULT and adult_file() is None)
        for name, files in groups.items()
    ]
    arms.append(Arm(_TIME, f"{__name__}:timed_trial", {"file": "healthcare", "rows": timed_rows}))
    return Matrix("advice", tuple(arms), 1, side_by_side=profile in PREVIEWS)


def _seconds(config: Mapping[str, Any]) -> float:
    return float(
        len(config["files"]) * (2.5 + 1.2e-4 * config["rows"]) if "files" in config else 10 + 5e-5 * config["rows"]
    )


def frame(results: Results) -> Frame:
    """One row a file and pair of constraints: what was advised, whether it holds, its regret."""
    return data_frame([pair for trial in results.trials for pair in trial.run.result["pairs"]])


def _summary(pairs: Frame) -> tuple[Rate, float, float]:
    """Number of pairs that hold, and mean and greatest regret of these."""
    regret = pairs[pairs["holds"]]["regret"]
    return Rate.of(int(pairs["holds"].sum()), len(pairs)), float(regret.mean()), float(regret.max())


def table(results: Results) -> Table:
    """Success and regret, file by file, and of all."""
    found = frame(results)
    rows = []
    for name, pairs in [*found.groupby("file", sort=False), ("all files", found)]:
        rate, mean, worst = _summary(pairs)
        missed = pairs[~pairs["holds"]]
        why = ", ".join(sorted({f"{row.max_risk:g}/{row.min_utility:g}" for row in missed.itertuples()})) or "–"
        held = f"{rate.successes} of {rate.attempts}"
        rows.append([str(name), held, str(int(pairs["declined"].sum())), per_cent(mean), per_cent(worst), why])
    work = results.matrix.arms[0].config
    adult = "" if any(arm.name == _ADULT for arm in results.matrix.arms) else " UCI Adult was not at hand."
    return Table(
        ["file", "holds", "declined", "mean regret", "greatest", "missed (risk/utility)"],
        rows,
        f"Advice from {work['sampled']:,} rows of files with {work['rows']:,} (Adult as it is), under "
        f"{len(CONSTRAINTS)} pairs of constraints, held against every one of {len(SETTINGS)} settings run in full and "
        "attacked anew. It holds where the release passes, or where none can and none is advised. Regret is the part "
        f"of the best passing setting's utility that is not had, where the advice holds.{adult} {design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Share of correct advice, its loss beside an exhaustive search, and its duration."""
    rate, mean, worst = _summary(frame(results))
    timed = next(trial for trial in results.trials if trial.planned.arm.name == _TIME)
    rows, cpu = timed.planned.arm.config["rows"], float(timed.run.result["cpu_seconds"])
    seconds = float(timed.run.result["samples"][0])
    files = frame(results)["file"].nunique()
    numbers = {
        "advice success": per_cent(rate.value), "advice pairs": str(rate.attempts), "advice regret": per_cent(mean),
        "advice greatest regret": per_cent(worst), "advice seconds": f"{seconds:.0f}", "advice cpu": f"{cpu:.0f}",
    }  # fmt: skip
    return Answer(
        f"What is advised from a sample holds on the whole file in {rate.successes} of {rate.attempts} pairs of "
        f"{files} files and constraints ({per_cent(rate.value)} [{per_cent(rate.low)}, {per_cent(rate.high)}]); its "
        f"utility is {per_cent(mean)} below the best's on average, {per_cent(worst)} at most. Advice for {rows:,} rows "
        f"takes {seconds:.0f} s ({cpu:.0f} s of CPU).",
        numbers,
        f"The setting advised from a sample also passes on the whole file in {per_cent(rate.value)} "
        f"[{per_cent(rate.low)}, {per_cent(rate.high)}] of {rate.attempts} cases.",
    )


ADVICE = Experiment(
    name="advice",
    asks="Does the advised setting hold on the whole file?",
    notebook="rq2",
    matrix=matrix,
    frame=frame,
    answer=answer,
    same=("pairs", "data_checksum"),
    tables={"advice": table},
    seconds=_seconds,
    optional=True,
)


_ADVISED_ROWS = {"smoke": 400, "quick": 1_000, "paper": 4_000}
_SERVED_ROWS = 20_000
_LATENCY_MS = 250.0
_MOST_WORKERS = 64


def method_advice(profile: str) -> Answer:
    """The setting that keeps most information under the default limit of risk, and why (RQ-2)."""
    rows = scale_of(_ADVISED_ROWS, profile)
    with tempfile.TemporaryDirectory(prefix="microflow-") as folder:
        file = Path(folder) / "records.csv"
        write_rows(file, {"data_type": "healthcare", "seed": 1}, rows)
        found = advise(file, "healthcare", Constraints(), Goals())
    return Answer(f"Recommended for {rows:,} healthcare records: {' '.join(found.reasons())}").of(profile)


def architecture_advice(profile: str) -> Answer:
    """The architecture that keeps up and is done first, by how many records arrive (RQ-1).

    Where one worker cannot keep up with any, it says how many can that share the records evenly.
    """
    config = {"data_type": "healthcare", "method": TOKENS, "seed": 1}
    spec, rows = spec_of(config), pa.concat_batches([flow.rows for flow in source(config, _SERVED_ROWS)])
    costs = measured_costs(Service(spec, Workload(rows)))

    def advised(rate: float) -> ArchitectureLatency | None:
        return preferred(compare_architectures(spec, rows, rate, costs=costs), _LATENCY_MS)

    said = [_architecture(rate, advised) for rate in (1_000.0, 20_000.0, 200_000.0)]
    return Answer(
        "Recommended where records arrive one by one, by the lowest p99 that this machine's costs give in simulated "
        f"time, within {_LATENCY_MS:g} ms: {'; '.join(said)}. A file that is there as a whole goes to batch."
    ).of(profile)


def _architecture(rate: float, advised: Callable[[float], ArchitectureLatency | None]) -> str:
    """Architecture for this rate; where none keeps up, the number of workers that would, each with its part of it."""
    arrive = f"at {rounded(rate)} records/s"
    for workers in range(1, _MOST_WORKERS + 1):
        chosen = advised(rate / workers)
        if chosen is None:
            continue
        named = f"{chosen.pipeline} ({rounded(chosen.p99_ms)} ms"
        if workers == 1:
            return f"{arrive} {named})"
        return f"{arrive} no architecture keeps up with one worker on this machine, {workers} would as {named} each)"
    return f"{arrive} no architecture keeps up, not even with {_MOST_WORKERS} workers like this machine's"
