"""RQ-2: how do eleven settings of three methods compare in speed, in privacy under attack, and in utility?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from microflow.experiments import privacy_utility
from microflow.experiments.answers import Answer, method_name, per_cent, rounded
from microflow.experiments.estimates import typical
from microflow.experiments.matrix import Matrix, Precision, scale_of
from microflow.experiments.results import Results
from microflow.store.experiments import ExperimentStore
from microflow.timing.trials import Arm, gather

__all__ = ["SETTINGS", "Setting", "answer", "matrices", "privacy", "speed", "speed_frame"]

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


SETTINGS = (
    *(Setting("k_anonymity", f"k={k}", {"k": k}) for k in (3, 5, 10, 15)),
    *(Setting("differential_privacy", f"ε={epsilon:g}", {"epsilon": epsilon}) for epsilon in (0.1, 0.5, 1.0, 2.0)),
    *(Setting("tokenization", f"{bits} bits", {"key_bits": bits}) for bits in (128, 256, 512)),
)


@dataclass(frozen=True, slots=True)
class _Scale:
    settings: Sequence[Setting]
    rows: int
    passes: int
    blocks: int
    attacked_rows: int
    attempts: int
    attacked_blocks: int
    precision: Precision | None = None


_SCALES = {
    "smoke": _Scale(SETTINGS[1::4], 2_000, 3, 2, 500, 100, 1),
    "quick": _Scale(SETTINGS, 10_000, 3, 3, 2_000, 300, 1),
    "paper": _Scale(SETTINGS, 1_000_000, 5, 6, 50_000, 2_000, 5, Precision(0.02, _REFERENCE, most=20)),
}


def matrices(profile: str) -> tuple[Matrix, ...]:
    """Everything this question runs."""
    return speed(profile), privacy(profile)


def speed(profile: str, *, seed: int = 1) -> Matrix:
    """Every setting on the batch pipeline, and the identity as what is left without a method."""
    scale = scale_of(_SCALES, profile)
    work = {
        "pipeline": "batch", "engine": "local", "data_type": "healthcare", "rows": scale.rows, "passes": scale.passes,
        "released_alike": False,
    }  # fmt: skip
    cells = {f"{one.method} {one.label}": one.cell for one in scale.settings}
    cells[_REFERENCE] = {"method": {"method": _REFERENCE}, "setting": ""}
    arms = tuple(Arm(name, "microflow.experiments.arms:throughput", work | cell) for name, cell in cells.items())
    return Matrix("rq2-speed", arms, scale.blocks, seed, precision=scale.precision)


def privacy(profile: str) -> Matrix:
    """Every setting released once and attacked."""
    scale = scale_of(_SCALES, profile)
    cells = [one.cell for one in scale.settings]
    return privacy_utility.matrix(
        "rq2-privacy", cells, rows=scale.attacked_rows, attempts=scale.attempts, blocks=scale.attacked_blocks
    )


def speed_frame(results: Results) -> pd.DataFrame:
    """Records per second by setting: columns ``method``, ``setting``, ``rate``, ``low``, ``high``; identity last."""
    samples = gather(results.trials)
    rows = []
    for arm in results.matrix.arms:
        rate = typical(samples[arm.name]).inverse(_NS)
        rows.append((arm.config["method"]["method"], arm.config["setting"], rate.value, rate.low, rate.high))
    return pd.DataFrame(rows, columns=["method", "setting", "rate", "low", "high"])


def answer(profile: str, store: ExperimentStore) -> Answer:
    """What each method costs, leaves to an attacker and loses."""
    speeds = speed_frame(Results.read(speed(profile), store))
    attacked = privacy_utility.frontier_frame(Results.read(privacy(profile), store))
    numbers = {f"rq2 {row['method']} {row['setting']} rate": rounded(row["rate"]) for row in speeds.to_dict("records")}
    for row in attacked.to_dict("records"):
        numbers[f"rq2 {row['method']} {row['setting']} risk"] = per_cent(row["risk"])
        numbers[f"rq2 {row['method']} {row['setting']} loss"] = f"{row['loss']:.2f}"
    said = []
    for method, own in attacked.groupby("method", sort=False):
        rates, risks, losses = speeds[speeds["method"] == method]["rate"], own["risk"], own["loss"]
        said.append(
            f"{method_name(str(method))} processes {_range(rates, rounded)} records/s, lets an attacker link "
            f"{_range(risks, per_cent)} of the records above chance and loses {_range(losses, '{:.2f}'.format)}"
        )
    return Answer(f"{'; '.join(said)} (0 nothing, 1 all).", numbers)


def _range(values: pd.Series[float], say: Callable[[float], str]) -> str:
    low, high = say(float(values.min())), say(float(values.max()))
    return low if low == high else f"{low} to {high}"
