"""Throughput: how fast are batch, stream and hybrid on one core, when they do the same work and give the same rows?"""

from __future__ import annotations

from microflow.engine import PIPELINES
from microflow.experiments.work import PASS, TOKENS, arms_by_type, seconds_of_passes
from microflow.lab.experiment import Experiment, Matrix, Plot, Precision, ratios_to, scale_of
from microflow.lab.report import (
    Answer,
    Table,
    comparison_cells,
    design,
    family,
    pure_or_not,
    ratio_text,
    rounded,
    with_interval,
)
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import Analysis, compare, typical

__all__ = ["THROUGHPUT", "analyses", "answer", "frame", "matrix", "table"]

_AGAIN, _IDENTITY = "batch again", "identity"
_NS = 1e9
#: Data types, rows, passes, blocks and precision.
_SCALES: dict[str, tuple[tuple[str, ...], int, int, int, Precision | None]] = {
    "smoke": (("healthcare",), 2_000, 3, 2, None),
    "quick": (("healthcare",), 8_000, 4, 2, None),
    "paper": (("healthcare", "financial"), 40_000, 4, 6, Precision(0.05, "batch", most=7)),
}


def matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Every pipeline, the batch once more (A/A), and the identity: what the engine itself costs. One core each."""
    data_types, rows, passes, blocks, precision = scale_of(_SCALES, profile)
    work = {"engine": "local", "method": TOKENS, "rows": rows, "passes": passes, "released_alike": True}
    named: dict[str, dict[str, object]] = {name: work | {"pipeline": name} for name in PIPELINES}
    as_it_is = {"method": {"method": "identity"}, "released_alike": False}
    named |= {_AGAIN: named["batch"], _IDENTITY: named["batch"] | as_it_is}
    arms = arms_by_type(data_types, "microflow.experiments.work:throughput", named)
    return Matrix("rq1-throughput", arms, blocks, seed, precision=precision)


def analyses(results: Results) -> dict[str, Analysis]:
    """Analysis by data type: every arm's time per record beside the batch's, and the noise floor."""
    return {data_type: compare(samples, "batch", _AGAIN) for data_type, samples in results.samples.items()}


def frame(results: Results) -> Frame:
    """Records per second of pure processing: columns as `microflow.figures.charts` wants them, batch first."""
    rows = []
    for data_type, analysis in analyses(results).items():
        for arm, blocks in results.samples[data_type].items():
            if arm != _AGAIN:
                rate = typical(blocks).inverse(_NS)
                rows.append((data_type, arm, arm, rate.value, rate.low, rate.high, analysis.noise_floor))
    return data_frame(rows, ["data_type", "arm", "look", "rate", "low", "high", "noise_floor"])


def table(results: Results) -> Table:
    """Records per second, and each arm's time beside the batch's."""
    found = analyses(results)
    rows = []
    for row in frame(results).to_dict("records"):
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


def answer(results: Results) -> Answer:
    """Rate of each pipeline on the first data type."""
    data_type, analysis = next(iter(analyses(results).items()))
    rates = frame(results).set_index(["data_type", "arm"]).loc[data_type]["rate"].to_dict()
    numbers = {f"rq1 {data_type} {arm} rate": rounded(rate) for arm, rate in rates.items()}
    numbers["rq1 stream over batch"] = ratio_text(analysis["stream"].ratio)
    numbers["rq1 hybrid over batch"] = ratio_text(analysis["hybrid"].ratio)
    numbers["rq1 noise floor"] = f"{100 * analysis.noise_floor:.1f} %"
    numbers["rq1 margin"] = f"±{analysis.margin:.0%}"
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
    matrix=matrix,
    frame=frame,
    answer=answer,
    seconds=seconds_of_passes,
    same=PASS,
    tables={"throughput": table},
    plot=Plot(
        "throughput",
        "throughput",
        "Throughput of the pure phase on one core by pipeline, with 95 % intervals over blocks; the band is what an "
        "A/A comparison of batch with itself cannot tell apart.",
    ),
    ratios=ratios_to("batch"),
)
