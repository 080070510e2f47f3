"""Scaling: how does time grow with the number of records, and does memory?

Each pipeline and each method is given growing volumes, generated as they are read, so that the process's peak memory
shows what the engine holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from microflow.engine import PIPELINES
from microflow.experiments.work import TOKENS
from microflow.lab.experiment import PREVIEWS, Experiment, Matrix, Plot, scale_of
from microflow.lab.report import Answer, Table, design, pure_or_not, rounded, short, sparkline
from microflow.lab.results import Frame, Results, data_frame
from microflow.lab.statistics import Estimate, PowerLaw, fit_power_law
from microflow.lab.trials import Arm

__all__ = ["SCALING", "laws", "scaling_frame", "scaling_matrix"]

#: What runs at every volume: all pipelines with tokens, and every method on batch.
_WORKS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    *((name, name, TOKENS) for name in PIPELINES),
    ("batch, k-anonymity", "batch", {"method": "k_anonymity", "k": 5}),
    ("batch, differential privacy", "batch", {"method": "differential_privacy", "epsilon": 1.0}),
)
#: Volumes and blocks.
_SCALES: dict[str, tuple[tuple[int, ...], int]] = {
    "smoke": ((1_000, 4_000), 1),
    "quick": ((2_000, 8_000, 32_000), 1),
    "paper": ((10_000, 50_000, 250_000, 1_000_000), 3),
}


def scaling_matrix(profile: str, *, seed: int = 1) -> Matrix:
    """Each pipeline and each method at several volumes of healthcare records, one pass over streamed input."""
    volumes, blocks = scale_of(_SCALES, profile)
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
    return Matrix("scalability", tuple(arms), blocks, seed, timeout_s=3_600, side_by_side=profile in PREVIEWS)


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
    fits = [
        (arm, law.scale, law.exponent.value, law.exponent.low, law.exponent.high) for arm, law in laws(results).items()
    ]
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
