"""Speed: how fast are batch, stream and hybrid on one core, and what does each setting of each method cost?

Pipelines do the same work and give the same rows, and stand beside the batch; methods stand beside no method at all.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from microflow.engine import PIPELINES
from microflow.experiments.work import PASS, TOKENS, arms_by_type, seconds_of_passes
from microflow.lab.experiment import PREVIEWS, Experiment, Matrix, Plot, Precision, ratios_to, scale_of
from microflow.lab.report import (
    Answer,
    Table,
    comparison_cells,
    design,
    family,
    from_to,
    method_name,
    pure_or_not,
    ratio_text,
    rounded,
    with_interval,
    with_spread,
)
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import MARGIN, Analysis, compare, typical
from microflow.lab.trials import Arm

__all__ = [
    "IDENTITY", "K_ANONYMITY", "SETTINGS", "SPEED", "THROUGHPUT", "TYPICAL", "Setting", "analyses", "method_answer",
    "method_frame", "method_matrix", "method_table", "pipeline_answer", "pipeline_frame", "pipeline_matrix",
    "pipeline_table",
]  # fmt: skip

IDENTITY = "identity"
_AGAIN = "batch again"
_TARGET = "microflow.experiments.work:throughput"
_NS = 1e9
#: Data types, rows, passes, blocks and precision.
_PIPELINE_SCALES: dict[str, tuple[tuple[str, ...], int, int, int, Precision | None]] = {
    "smoke": (("healthcare",), 2_000, 3, 2, None),
    "quick": (("healthcare",), 8_000, 4, 2, None),
    "paper": (("healthcare", "financial"), 40_000, 4, 6, Precision(0.05, "batch", most=7)),
}


def pipeline_matrix(profile: str) -> Matrix:
    """Every pipeline, the batch once more (A/A), and the identity: what the engine itself costs. One core each."""
    data_types, rows, passes, blocks, precision = scale_of(_PIPELINE_SCALES, profile)
    work = {"engine": "local", "method": TOKENS, "rows": rows, "passes": passes, "released_alike": True}
    named: dict[str, dict[str, object]] = {name: work | {"pipeline": name} for name in PIPELINES}
    as_it_is = {"method": {"method": "identity"}, "released_alike": False}
    named |= {_AGAIN: named["batch"], IDENTITY: named["batch"] | as_it_is}
    arms = arms_by_type(data_types, _TARGET, named)
    return Matrix("rq1-throughput", arms, blocks, precision=precision)


def analyses(results: Results) -> dict[str, Analysis]:
    """Analysis by data type: every arm's time per record beside the batch's, and the noise floor."""
    return {data_type: compare(samples, "batch", _AGAIN) for data_type, samples in results.samples.items()}


def pipeline_frame(results: Results) -> Frame:
    """Records per second of pure processing: columns as `microflow.figures.charts` wants them, batch first."""
    rows = []
    for data_type, analysis in analyses(results).items():
        for arm, blocks in results.samples[data_type].items():
            if arm != _AGAIN:
                rate = typical(blocks).inverse(_NS)
                rows.append((data_type, arm, arm, *rate, analysis.noise_floor))
    return data_frame(rows, ["data_type", "arm", "look", "rate", "low", "high", "noise_floor"])


def pipeline_table(results: Results) -> Table:
    """Records per second, and each arm's time beside the batch's."""
    found = analyses(results)
    rows = []
    for row in pipeline_frame(results).to_dict("records"):
        rate = with_interval(row["rate"], row["low"], row["high"])
        beside = ["1", "", "", "reference"] if row["arm"] == "batch" else []
        rows.append(
            [row["data_type"], row["arm"], rate, *(beside or comparison_cells(found[row["data_type"]][row["arm"]]))]
        )
    families = "; ".join(f"{kind}: {family(analysis)}" for kind, analysis in found.items())
    return Table(
        ["data", "pipeline", "records/s", "time beside batch", "p different", "p equivalent", "answer"],
        rows,
        "Pure processing on one core, rows in memory as Arrow before and after; conversion between rows and columns is "
        f"outside the clock for every arm. Purity: {pure_or_not(results)}. Intervals are 95 % over blocks. {families}. "
        f"{design(results)}.",
    )


def pipeline_answer(results: Results) -> Answer:
    """Rate of each pipeline on the first data type."""
    data_type, analysis = next(iter(analyses(results).items()))
    rates = pipeline_frame(results).set_index(["data_type", "arm"]).loc[data_type]["rate"].to_dict()
    numbers = {f"rq1 {data_type} {arm} rate": rounded(rate) for arm, rate in rates.items()}
    numbers["rq1 stream over batch"] = ratio_text(analysis["stream"].ratio)
    numbers["rq1 hybrid over batch"] = ratio_text(analysis["hybrid"].ratio)
    numbers["rq1 noise floor"] = f"{100 * analysis.noise_floor:.1f} %"
    numbers["rq1 margin"] = f"±{MARGIN:.0%}"
    sentence = (
        f"On {data_type} records one core processes {rounded(rates['batch'])} records/s in batch, "
        f"{rounded(rates['hybrid'])} in hybrid and {rounded(rates['stream'])} as a stream; beside the batch's time, "
        f"the stream's is {analysis['stream'].verdict} ({numbers['rq1 stream over batch']}) and the hybrid's "
        f"{analysis['hybrid'].verdict} ({numbers['rq1 hybrid over batch']}; margin {numbers['rq1 margin']}, noise "
        f"floor {numbers['rq1 noise floor']}). All three released the same rows, by a checksum over every value. "
        f"Purity: {pure_or_not(results)}."
    )
    headline = (
        f"On one core and with the same rows released, the stream takes {numbers['rq1 stream over batch']} of the "
        f"batch's time, the hybrid {numbers['rq1 hybrid over batch']}."
    )
    return Answer(sentence, numbers, headline)


THROUGHPUT = Experiment(
    name="rq1-throughput",
    asks="Batch, stream or hybrid?",
    notebook="rq1",
    matrix=pipeline_matrix,
    frame=pipeline_frame,
    answer=pipeline_answer,
    seconds=seconds_of_passes,
    same=PASS,
    tables={"throughput": pipeline_table},
    plot=Plot(
        "throughput",
        "throughput",
        "Throughput of the pure phase on one core by pipeline, with 95 % intervals over blocks; the band is what an "
        "A/A comparison of batch with itself cannot tell apart.",
    ),
    ratios=ratios_to("batch"),
)


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
_METHOD_SCALES: dict[str, tuple[Sequence[Setting], Sequence[Setting], int, int, Precision | None]] = {
    "smoke": (TYPICAL, TYPICAL[:1], 2_000, 2, None),
    "quick": (SETTINGS, TYPICAL[:1], 5_000, 1, None),
    "paper": (SETTINGS, (*K_ANONYMITY[1::2], *TYPICAL[1:], SETTINGS[-1]), 15_000, 6, Precision(0.05, IDENTITY, most=7)),
}


def method_matrix(profile: str) -> Matrix:
    """Every setting on the batch pipeline, some elsewhere, and the identity as what is left without a method."""
    settings, elsewhere, rows, blocks, precision = scale_of(_METHOD_SCALES, profile)
    work = {"engine": "local", "data_type": "healthcare", "rows": rows, "passes": 3, "released_alike": False}
    cells: dict[str, dict[str, Any]] = {
        f"{setting.method} {setting.label}, {pipeline}": setting.cell | {"pipeline": pipeline}
        for pipeline in PIPELINES
        for setting in (settings if pipeline == "batch" else elsewhere)
    }
    cells[IDENTITY] = {"method": {"method": IDENTITY}, "setting": "", "pipeline": "batch"}
    arms = tuple(Arm(f"{rows:,} rows: {name}", _TARGET, work | cell) for name, cell in cells.items())
    return Matrix("rq2-speed", arms, blocks, precision=precision, side_by_side=profile in PREVIEWS)


def method_frame(results: Results) -> Frame:
    """Records per second by setting, pipeline and volume, the identity last of each volume.

    Columns ``arm``, ``method``, ``setting``, ``pipeline``, ``rows``, ``rate``, ``low``, ``high``.
    """
    found = []
    for arm in results.matrix.arms:
        config, (group, _, name) = arm.config, arm.name.rpartition(": ")
        rate = typical(results.samples[group][name]).inverse(_NS)
        place = (config["method"]["method"], config["setting"], config["pipeline"], config["rows"])
        found.append((arm.name, *place, *rate))
    return data_frame(found, ["arm", "method", "setting", "pipeline", "rows", "rate", "low", "high"])


def method_table(results: Results) -> Table:
    """Records/s of every setting by pipeline and volume, and its time beside the identity's on batch."""
    speeds, beside = method_frame(results), ratios_to(IDENTITY)(results)
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


def method_answer(results: Results) -> Answer:
    """Cost of each method on the batch pipeline."""
    speeds = method_frame(results)
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
    matrix=method_matrix,
    frame=method_frame,
    answer=method_answer,
    seconds=seconds_of_passes,
    same=PASS,
    tables={"pipelines": method_table},
    ratios=ratios_to(IDENTITY),
)
