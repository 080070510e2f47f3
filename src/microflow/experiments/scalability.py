"""Scalability: how does time grow with volume, does memory, and what do more cores bring?"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from microflow.experiments import cores
from microflow.experiments.answers import Answer, rounded
from microflow.experiments.estimates import PowerLaw, fit_power_law
from microflow.experiments.matrix import Matrix, grid, scale_of
from microflow.experiments.results import Results
from microflow.processors import PIPELINES
from microflow.store.experiments import ExperimentStore
from microflow.timing.trials import Arm

__all__ = ["answer", "laws", "matrices", "scaling_frame", "volumes"]

_TARGET = "microflow.experiments.arms:volume"
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class _Scale:
    rows: tuple[int, ...]
    blocks: int


_SCALES = {
    "smoke": _Scale((1_000, 4_000), 1),
    "quick": _Scale((5_000, 15_000, 45_000, 135_000), 1),
    "paper": _Scale((10_000, 100_000, 1_000_000, 10_000_000), 1),
}


def matrices(profile: str) -> tuple[Matrix, ...]:
    """Everything this question runs."""
    return volumes(profile), cores.matrix(profile)


def volumes(profile: str, *, seed: int = 1) -> Matrix:
    """Each pipeline at several volumes of healthcare records, one pass over streamed input."""
    scale = scale_of(_SCALES, profile)
    work = {"engine": "local", "data_type": "healthcare", "method": {"method": "tokenization"}}
    arms = [
        Arm(f"{cell['pipeline']} of {cell['rows']:,}", _TARGET, work | cell)
        for cell in grid(pipeline=PIPELINES, rows=scale.rows)
    ]
    return Matrix("scalability", tuple(arms), scale.blocks, seed, timeout_s=3_600)


def laws(results: Results) -> dict[str, PowerLaw]:
    """By pipeline: pure seconds as a power of the number of rows."""
    frame = _trials(results)
    return {name: fit_power_law(own["rows"], own["seconds"]) for name, own in _by_pipeline(frame)}


def scaling_frame(results: Results) -> pd.DataFrame:
    """Every trial with its pipeline's fit, as `microflow.figures.scaling` wants it."""
    frame, fits = _trials(results), laws(results)
    return frame.assign(
        scale=frame["arm"].map(lambda arm: fits[arm].scale),
        exponent=frame["arm"].map(lambda arm: fits[arm].exponent.value),
        exponent_low=frame["arm"].map(lambda arm: fits[arm].exponent.low),
        exponent_high=frame["arm"].map(lambda arm: fits[arm].exponent.high),
    )


def answer(profile: str, store: ExperimentStore) -> Answer:
    """The exponents, and what more rows did to the peak of memory."""
    results = Results.read(volumes(profile), store)
    fits, frame = laws(results), _trials(results)
    peaks = frame[frame["arm"] == "batch"].groupby("rows")["peak_rss_bytes"].median()
    few, many = int(peaks.index[0]), int(peaks.index[-1])
    low, high = float(peaks.iloc[0]), float(peaks.iloc[-1])
    numbers = {f"scaling {arm} exponent": f"{fit.exponent.value:.2f}" for arm, fit in fits.items()}
    numbers["scaling batch memory growth"] = f"{round(100 * (high / low - 1))} %"
    numbers["scaling batch peak MiB"] = f"{high / _MIB:.0f}"
    exponents = ", ".join(f"{arm} {fit.exponent.value:.2f}" for arm, fit in fits.items())
    sentence = (
        f"Pure processing grows with the number of records to the power of {exponents} (1 is proportional), and from "
        f"{rounded(few)} to {rounded(many)} records the batch's peak memory changes by "
        f"{numbers['scaling batch memory growth']}, to {numbers['scaling batch peak MiB']} MiB."
    )
    return Answer(sentence, numbers)


def _trials(results: Results) -> pd.DataFrame:
    """One row a trial: ``arm`` (the pipeline), ``rows``, ``seconds``, ``peak_rss_bytes``."""
    frame = results.frame
    seconds = frame["samples"].map(lambda values: float(values[0]))
    named = frame.assign(arm=frame["pipeline"], seconds=seconds)
    return named.sort_values("arm", key=lambda names: names.map(PIPELINES.index), kind="stable")[
        ["arm", "rows", "seconds", "peak_rss_bytes"]
    ]


def _by_pipeline(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(name), own) for name, own in frame.groupby("arm", sort=False)]
