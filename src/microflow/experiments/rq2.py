"""RQ-2: how do eleven settings of three methods compare in speed, in privacy under attack, and in utility?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from microflow.experiments import privacy_utility
from microflow.experiments.answers import Answer, method_name, per_cent, rounded
from microflow.experiments.estimates import typical
from microflow.experiments.matrix import Matrix, Precision, scale_of
from microflow.experiments.results import Results
from microflow.processors import PIPELINES
from microflow.store.experiments import ExperimentStore
from microflow.timing.trials import Arm, by_group, gather

__all__ = ["SETTINGS", "Setting", "answer", "matrices", "methods_frame", "privacy", "speed", "speed_frame"]

_NS = 1e9
_REFERENCE = "identity"


@dataclass(frozen=True, slots=True)
class Setting:
    """One method with its parameter: ``label`` names it in figures, ``fields`` are those of `MethodSettings`."""

    method: str
    label: str
    fields: dict[str, Any]

    @property
    def cell(self) -> dict[str, Any]:
        """Its part of a trial's configuration."""
        return {"method": {"method": self.method, **self.fields}, "setting": self.label}


_K_ANONYMITY = tuple(Setting("k_anonymity", f"k={k}", {"k": k}) for k in (3, 5, 10, 15))
SETTINGS = (
    *_K_ANONYMITY,
    *(Setting("differential_privacy", f"ε={epsilon:g}", {"epsilon": epsilon}) for epsilon in (0.1, 0.5, 1.0, 2.0)),
    *(Setting("tokenization", f"{bits} bits", {"key_bits": bits}) for bits in (128, 256, 512)),
)
#: One of each method: k=5, ε=1, 256 bits.
_TYPICAL = (SETTINGS[1], SETTINGS[6], SETTINGS[9])


@dataclass(frozen=True, slots=True)
class _Scale:
    """What is measured, and how often.

    ``settings`` run on the batch pipeline at the first of ``volumes``; ``elsewhere`` also on other pipelines or at
    other volumes, and, with ``crossed``, at every volume on every pipeline; ``streamed`` are attacked in their form for
    streams.
    """

    settings: Sequence[Setting]
    elsewhere: Sequence[Setting]
    volumes: tuple[int, ...]
    crossed: bool
    passes: int
    blocks: int
    streamed: Sequence[Setting]
    attacked_rows: int
    attempts: int
    attacked_blocks: int
    precision: Precision | None = None


_SCALES = {
    "smoke": _Scale(SETTINGS[1::4], SETTINGS[1:2], (2_000,), False, 3, 2, _K_ANONYMITY[1:2], 500, 100, 1),
    "quick": _Scale(SETTINGS, _TYPICAL, (10_000, 40_000), False, 3, 2, _K_ANONYMITY, 2_000, 300, 1),
    "paper": _Scale(
        SETTINGS, SETTINGS, (60_000, 10_000), True, 3, 6, _K_ANONYMITY, 10_000, 1_000, 3,
        Precision(0.02, _REFERENCE, most=7),
    ),
}  # fmt: skip


def matrices(profile: str) -> tuple[Matrix, ...]:
    """Everything this question runs."""
    return speed(profile), privacy(profile)


def speed(profile: str, *, seed: int = 1) -> Matrix:
    """Every setting on the batch pipeline, some elsewhere, and the identity as what is left without a method."""
    scale = scale_of(_SCALES, profile)
    work = {"engine": "local", "data_type": "healthcare", "passes": scale.passes, "released_alike": False}
    arms = tuple(
        Arm(f"{cell['rows']:,} rows: {name}", "microflow.experiments.arms:throughput", work | cell)
        for name, cell in _speed_cells(scale)
    )
    return Matrix("rq2-speed", arms, scale.blocks, seed, precision=scale.precision)


def _speed_cells(scale: _Scale) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of an arm among those of its volume, and what distinguishes it; each volume ends with the identity."""
    for rows in scale.volumes:
        for pipeline in PIPELINES:
            away = (pipeline != "batch") + (rows != scale.volumes[0])
            for one in scale.settings if not away else scale.elsewhere if away == 1 or scale.crossed else ():
                yield f"{one.method} {one.label}, {pipeline}", one.cell | {"pipeline": pipeline, "rows": rows}
        yield _REFERENCE, {"method": {"method": _REFERENCE}, "setting": "", "pipeline": "batch", "rows": rows}


def privacy(profile: str) -> Matrix:
    """Every setting released once and attacked.

    What works record by record releases the same rows on every pipeline; k-anonymity does not, and is attacked in its
    form for streams as well.
    """
    scale = scale_of(_SCALES, profile)
    cells = [one.cell | {"pipeline": "batch"} for one in scale.settings]
    cells += [one.cell | {"pipeline": "stream"} for one in scale.streamed]
    return privacy_utility.matrix(
        "rq2-privacy", cells, rows=scale.attacked_rows, attempts=scale.attempts, blocks=scale.attacked_blocks
    )


def speed_frame(results: Results) -> pd.DataFrame:
    """Records per second by setting, pipeline and volume, the identity last of each volume.

    Columns ``method``, ``setting``, ``pipeline``, ``rows``, ``rate``, ``low``, ``high``.
    """
    samples = {name: own for group in by_group(results.trials).values() for name, own in gather(group).items()}
    found = []
    for arm in results.matrix.arms:
        config = arm.config
        rate = typical(samples[arm.name]).inverse(_NS)
        place = (config["method"]["method"], config["setting"], config["pipeline"], config["rows"])
        found.append((*place, rate.value, rate.low, rate.high))
    return pd.DataFrame(found, columns=["method", "setting", "pipeline", "rows", "rate", "low", "high"])


def methods_frame(speeds: pd.DataFrame, attacked: pd.DataFrame) -> pd.DataFrame:
    """What was attacked, each beside its speed at the first volume (NaN where that was not measured)."""
    here = speeds[speeds["rows"] == speeds["rows"].iloc[0]]
    forms = [privacy_utility.form_of(*one) for one in zip(here["method"], here["pipeline"], strict=True)]
    return attacked.merge(here.assign(method=forms), on=["method", "setting"], how="left")


def answer(profile: str, store: ExperimentStore) -> Answer:
    """What each method costs, leaves to an attacker and loses."""
    speeds = speed_frame(Results.read(speed(profile), store))
    attacked = privacy_utility.frontier_frame(Results.read(privacy(profile), store))
    both = methods_frame(speeds, attacked)
    numbers = {}
    for row in both.to_dict("records"):
        if pd.notna(row["rate"]):
            numbers[f"rq2 {row['method']} {row['setting']} rate"] = rounded(row["rate"])
        numbers[f"rq2 {row['method']} {row['setting']} risk"] = per_cent(row["risk"])
        numbers[f"rq2 {row['method']} {row['setting']} loss"] = f"{row['loss']:.2f}"
        if row["delay_p50"] > 0:
            numbers[f"rq2 {row['method']} {row['setting']} delay records"] = rounded(row["delay_p50"])
    said = []
    for method, own in both.groupby("method", sort=False):
        rates, risks, losses = own["rate"].dropna(), own["risk"], own["loss"]
        first = f"processes {_range(rates, rounded)} records/s, " if len(rates) else ""
        said.append(
            f"{method_name(str(method))} {first}lets an attacker link "
            f"{_range(risks, per_cent)} of the records above chance and loses {_range(losses, '{:.2f}'.format)}"
        )
    return Answer(f"{'; '.join(said)} (0 nothing, 1 all).", numbers)


def _range(values: pd.Series[float], say: Callable[[float], str]) -> str:
    low, high = say(float(values.min())), say(float(values.max()))
    return low if low == high else f"{low} to {high}"
