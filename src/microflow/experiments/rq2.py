"""RQ-2: how do eleven settings of three methods compare in speed, in privacy under attack, and in utility?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from microflow.experiments.answers import Answer, rounded
from microflow.experiments.estimates import typical
from microflow.experiments.matrix import Matrix, scale_of
from microflow.experiments.results import Results
from microflow.store.experiments import ExperimentStore
from microflow.timing.trials import Arm, gather

__all__ = ["SETTINGS", "Setting", "answer", "matrices", "speed", "speed_frame"]

_NS = 1e9
_REFERENCE = "identity"


@dataclass(frozen=True, slots=True)
class Setting:
    """One method with its parameter: ``label`` names it in figures, ``fields`` are those of `MethodSettings`."""

    method: str
    label: str
    fields: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """What a trial is told."""
        return {"method": self.method, **self.fields}


SETTINGS = (
    *(Setting("k_anonymity", f"k={k}", {"k": k}) for k in (3, 5, 10, 15)),
    *(Setting("differential_privacy", f"ε={epsilon}", {"epsilon": epsilon}) for epsilon in (0.1, 0.5, 1.0, 2.0)),
    *(Setting("tokenization", f"{bits} bits", {"key_bits": bits}) for bits in (128, 256, 512)),
)


@dataclass(frozen=True, slots=True)
class _Scale:
    settings: Sequence[Setting]
    rows: int
    passes: int
    blocks: int


_SCALES = {
    "smoke": _Scale(SETTINGS[1::4], 2_000, 3, 2),
    "quick": _Scale(SETTINGS, 20_000, 3, 3),
    "paper": _Scale(SETTINGS, 1_000_000, 5, 15),
}


def matrices(profile: str) -> tuple[Matrix, ...]:
    """Everything this question runs."""
    return (speed(profile),)


def speed(profile: str, *, seed: int = 1) -> Matrix:
    """Every setting on the batch pipeline, and the identity as what is left without a method."""
    scale = scale_of(_SCALES, profile)
    work = {
        "pipeline": "batch", "engine": "local", "data_type": "healthcare", "rows": scale.rows, "passes": scale.passes,
        "released_alike": False,
    }  # fmt: skip
    cells = {f"{one.method} {one.label}": {"method": one.config, "setting": one.label} for one in scale.settings}
    cells[_REFERENCE] = {"method": {"method": _REFERENCE}, "setting": ""}
    arms = tuple(Arm(name, "microflow.experiments.arms:throughput", work | cell) for name, cell in cells.items())
    return Matrix("rq2-speed", arms, scale.blocks, seed)


def speed_frame(results: Results) -> pd.DataFrame:
    """Records per second by setting: columns ``method``, ``setting``, ``rate``, ``low``, ``high``; identity last."""
    samples = gather(results.trials)
    rows = []
    for arm in results.matrix.arms:
        rate = typical(samples[arm.name]).inverse(_NS)
        rows.append((arm.config["method"]["method"], arm.config["setting"], rate.value, rate.low, rate.high))
    return pd.DataFrame(rows, columns=["method", "setting", "rate", "low", "high"])


def answer(profile: str, store: ExperimentStore) -> Answer:
    """The fastest and the slowest setting of each method."""
    frame = speed_frame(Results.read(speed(profile), store))
    numbers = {f"rq2 {row['method']} {row['setting']} rate": rounded(row["rate"]) for row in frame.to_dict("records")}
    costs = []
    for method, rates in frame[frame["method"] != _REFERENCE].groupby("method", sort=False)["rate"]:
        slow, fast = rounded(float(rates.min())), rounded(float(rates.max()))
        costs.append(f"{str(method).replace('_', ' ')} {slow if len(rates) == 1 else f'{slow} to {fast}'} records/s")
    base = rounded(float(frame.set_index("method")["rate"][_REFERENCE]))
    return Answer(f"On the batch pipeline {'; '.join(costs)}; without any method {base}.", numbers)
