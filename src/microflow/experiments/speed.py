"""Speed of methods: what does each setting of each method cost beside no method at all?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microflow.engine import PIPELINES
from microflow.experiments.work import PASS, seconds_of_passes
from microflow.lab.experiment import PREVIEWS, Experiment, Matrix, Precision, ratios_to, scale_of
from microflow.lab.report import (
    Answer,
    Table,
    design,
    from_to,
    method_name,
    pure_or_not,
    ratio_text,
    rounded,
    with_spread,
)
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import typical
from microflow.lab.trials import Arm

__all__ = ["IDENTITY", "K_ANONYMITY", "SETTINGS", "SPEED", "TYPICAL", "Setting", "answer", "frame", "matrix", "table"]

_NS = 1e9
IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Setting:
    """One method with its parameter: ``label`` names it in figures, ``fields`` are those of `MethodSettings`."""

    method: str
    label: str
    fields: dict[str, Any]

    @property
    def cell(self) -> dict[str, Any]:
        """Part of a trial's configuration that describes this setting."""
        return {"method": {"method": self.method, **self.fields}, "setting": self.label}


K_ANONYMITY = tuple(Setting("k_anonymity", f"k={k}", {"k": k}) for k in (3, 5, 10, 15))
SETTINGS = (
    *K_ANONYMITY,
    # Beside k: distinct l-diversity and t-closeness of every sensitive column (distance between distributions).
    Setting("k_anonymity", "k=5, l=3", {"k": 5, "l_diversity": 3}),
    Setting("k_anonymity", "k=5, t=0.3", {"k": 5, "t_closeness": 0.3}),
    *(Setting("differential_privacy", f"ε={epsilon:g}", {"epsilon": epsilon}) for epsilon in (0.1, 0.5, 1.0, 2.0)),
    *(Setting("tokenization", f"{bits} bits", {"key_bits": bits}) for bits in (128, 256, 512)),
)
#: One of each method.
TYPICAL = tuple(setting for setting in SETTINGS if setting.label in {"k=5", "ε=1", "256 bits"})


#: Settings that run on batch, those that run on the other pipelines too, rows, blocks and precision.
_SCALES: dict[str, tuple[Sequence[Setting], Sequence[Setting], int, int, Precision | None]] = {
    "smoke": (TYPICAL, TYPICAL[:1], 2_000, 2, None),
    "quick": (SETTINGS, TYPICAL[:1], 5_000, 1, None),
    "paper": (SETTINGS, (*K_ANONYMITY[1::2], *TYPICAL[1:], SETTINGS[-1]), 15_000, 6, Precision(0.05, IDENTITY, most=7)),
}


def matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Every setting on the batch pipeline, some elsewhere, and the identity as what is left without a method."""
    settings, elsewhere, rows, blocks, precision = scale_of(_SCALES, profile)
    work = {"engine": "local", "data_type": "healthcare", "rows": rows, "passes": 3, "released_alike": False}
    cells: dict[str, dict[str, Any]] = {
        f"{setting.method} {setting.label}, {pipeline}": setting.cell | {"pipeline": pipeline}
        for pipeline in PIPELINES
        for setting in (settings if pipeline == "batch" else elsewhere)
    }
    cells[IDENTITY] = {"method": {"method": IDENTITY}, "setting": "", "pipeline": "batch"}
    target = "microflow.experiments.work:throughput"
    arms = tuple(Arm(f"{rows:,} rows: {name}", target, work | cell) for name, cell in cells.items())
    return Matrix("rq2-speed", arms, blocks, seed, precision=precision, side_by_side=profile in PREVIEWS)


def frame(results: Results) -> Frame:
    """Records per second by setting, pipeline and volume, the identity last of each volume.

    Columns ``arm``, ``method``, ``setting``, ``pipeline``, ``rows``, ``rate``, ``low``, ``high``.
    """
    found = []
    for arm in results.matrix.arms:
        config, (group, _, name) = arm.config, arm.name.rpartition(": ")
        rate = typical(results.samples[group][name]).inverse(_NS)
        place = (config["method"]["method"], config["setting"], config["pipeline"], config["rows"])
        found.append((arm.name, *place, rate.value, rate.low, rate.high))
    return data_frame(found, ["arm", "method", "setting", "pipeline", "rows", "rate", "low", "high"])


def table(results: Results) -> Table:
    """Records/s of every setting by pipeline and volume, and its time beside the identity's on batch."""
    speeds, beside = frame(results), ratios_to(IDENTITY)(results)
    places = list(dict.fromkeys(zip(speeds["pipeline"], speeds["rows"], strict=True)))
    rates: dict[str, dict[tuple[str, int], str]] = defaultdict(dict)
    ratios: dict[str, str] = {}
    for row in speeds.to_dict("records"):
        name = method_name(row["method"], row["setting"])
        rates[name][row["pipeline"], row["rows"]] = with_spread(row["rate"], row["low"], row["high"])
        if row["pipeline"] == "batch" and (ratio := beside.get(f"{row['arm']} beside {IDENTITY}")):
            ratios.setdefault(name, ratio_text(ratio))
    rows = [[name, *(cells.get(place, "") for place in places), ratios.get(name, "1")] for name, cells in rates.items()]
    first = speeds["rows"].iloc[0]
    return Table(
        ["setting", *(f"{pipeline}, {count:,} rows" for pipeline, count in places), "time beside identity"],
        rows,
        "Records/s of pure processing on one core by pipeline and volume; ± is half the 95 % interval over blocks. The "
        f"ratio is of times on batch at {first:,} rows. Keys of 128 and 256 bits are AES-CMAC over whole columns, 512 "
        "bits HMAC-SHA-512 value by value: that ratio is also one of vectors to a loop. Conversion between rows and "
        f"columns is outside the clock for every arm. Purity: {pure_or_not(results)}. {design(results)}.",
    )


def answer(results: Results) -> Answer:
    """Cost of each method on the batch pipeline."""
    speeds = frame(results)
    home = speeds[(speeds["pipeline"] == "batch") & (speeds["rows"] == speeds["rows"].iloc[0])]
    numbers = {f"rq2 {row['method']} {row['setting']} rate": rounded(row["rate"]) for row in home.to_dict("records")}
    said = []
    for method, own in home.groupby("method", sort=False):
        rates = from_to(*(rounded(float(own["rate"].agg(end))) for end in ("min", "max")))
        said.append(f"{method_name(str(method))} {rates}")
    return Answer(
        f"On one core, batch processes so many healthcare records/s by method, over its settings: {'; '.join(said)} "
        "(identity: check and remedy alone).",
        numbers,
    )


SPEED = Experiment(
    name="rq2-speed",
    asks="What does each method cost in time?",
    notebook="rq2",
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=seconds_of_passes,
    same=PASS,
    tables={"pipelines": table},
    ratios=ratios_to(IDENTITY),
)
