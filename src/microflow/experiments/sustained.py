"""Sustainable throughput: the highest offered load that each pipeline keeps up with, found by bisection.

Throughput of a file says how fast work can be; this says how much may arrive. See `microflow.timing.sustainable`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from microflow.experiments.answers import rounded
from microflow.experiments.estimates import Estimate, typical
from microflow.experiments.matrix import Matrix, scale_of
from microflow.processors import PIPELINES
from microflow.timing.machine import refuse_unlike
from microflow.timing.trials import Arm

if TYPE_CHECKING:
    import pandas as pd

    from microflow.experiments.results import Results

__all__ = ["P99_MS", "frame", "matrix", "said"]

#: The objective: long enough for a microflow of 1,000 to fill at the lowest load.
P99_MS = 250
_LOW, _HIGH = 20_000, 2_000_000


@dataclass(frozen=True, slots=True)
class _Scale:
    """Short runs cannot tell a small slope from noise."""

    seconds: float
    slope: float
    blocks: int


_SCALES = {"smoke": _Scale(0.5, 0.1, 1), "quick": _Scale(0.5, 0.1, 1), "paper": _Scale(2.0, 0.05, 3)}


def matrix(profile: str, *, seed: int = 1) -> Matrix:
    """The three pipelines on healthcare records, tokenized."""
    scale = scale_of(_SCALES, profile)
    search = {"low": _LOW, "high": _HIGH, "p99_ms": P99_MS, "seconds": scale.seconds, "slope": scale.slope}
    work = {"data_type": "healthcare", "method": {"method": "tokenization"}, **search}
    arms = [Arm(name, "microflow.experiments.arms:sustainable", work | {"pipeline": name}) for name in PIPELINES]
    return Matrix("rq1-sustained", tuple(arms), scale.blocks, seed)


def frame(results: Results) -> pd.DataFrame:
    """Sustained records per second: columns ``pipeline``, ``rate``, ``low``, ``high`` (95 %, over blocks), ``bounded``.

    ``rate`` is 0 where some block sustained no load at all; where ``bounded`` is false, more than that was possible.

    Raises:
        MicroflowError: the trials ran on unlike machines.
    """
    import pandas as pd

    refuse_unlike(trial.run.machine for trial in results.trials)
    rows = []
    for arm in results.matrix.arms:
        own = [trial.run.result for trial in results.trials if trial.planned.arm == arm]
        found = [result["rate"] for result in own]
        rate = typical([[value] for value in found]) if min(found) > 0 else Estimate(0.0, 0.0, max(found))
        rows.append((arm.name, rate.value, rate.low, rate.high, all(result["bounded"] for result in own)))
    return pd.DataFrame(rows, columns=["pipeline", "rate", "low", "high", "bounded"])


def said(found: pd.DataFrame) -> dict[str, str]:
    """The rates of a `frame` by pipeline, as a sentence says them."""
    columns = (found[name].tolist() for name in ("pipeline", "rate", "bounded"))
    return {
        pipeline: rounded(rate) if bounded else f"at least {rounded(rate)}"
        for pipeline, rate, bounded in zip(*columns, strict=True)
    }
