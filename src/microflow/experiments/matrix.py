"""The experiment matrix as data: arms, blocks and a seed, and for each cell a hash that names its configuration."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from microflow.errors import MicroflowError
from microflow.timing.trials import Arm, Planned, plan

__all__ = ["PROFILES", "Matrix", "Precision", "config_hash", "grid", "scale_of"]

T = TypeVar("T")

#: How long everything may take: seconds (the notebooks' own test), minutes (`make experiments`), an hour (for print).
PROFILES = ("smoke", "quick", "paper")


@dataclass(frozen=True, slots=True)
class Precision:
    """How narrow the interval of every arm's log-ratio to ``reference`` must be: ± ``half_width``, 0.02 is ±2 %.

    ``most`` is as many blocks as there may be. Arms named ``group: arm`` are compared within their group.
    """

    half_width: float
    reference: str
    most: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every arm once in each of ``blocks`` blocks, in random order; ``seed`` decides order and data.

    With a ``precision`` these blocks are a pilot, and their noise decides how many follow; see
    `microflow.experiments.repetitions`.
    """

    experiment: str
    arms: tuple[Arm, ...]
    blocks: int
    seed: int = 1
    timeout_s: float = 600
    precision: Precision | None = None

    def cells(self) -> dict[str, Planned]:
        """Configuration hash to turn, in the order in which they run."""
        return {config_hash(self.experiment, turn): turn for turn in plan(self.arms, self.blocks, self.seed)}


def config_hash(experiment: str, turn: Planned) -> str:
    """SHA-256 over what decides a trial's result. The position in its block is chance, and not part of it.

    >>> one, two = (Planned(Arm("a", "m:f", {"rows": rows}), 0, 0, 7) for rows in (10, 20))
    >>> config_hash("rq1", one) == config_hash("rq1", two)
    False
    """
    arm = turn.arm
    decisive = {
        "experiment": experiment,
        "arm": arm.name,
        "target": arm.target,
        "config": arm.config,
        "block": turn.block,
        "seed": turn.seed,
    }
    return hashlib.sha256(json.dumps(decisive, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def grid(**axes: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """Every combination of the axes' values, the last axis fastest.

    >>> list(grid(k=[3, 5], data_type=["iot"]))
    [{'k': 3, 'data_type': 'iot'}, {'k': 5, 'data_type': 'iot'}]
    """
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def scale_of(scales: Mapping[str, T], profile: str) -> T:
    """The sizes of a profile.

    Raises:
        MicroflowError: there is no such profile.
    """
    if profile not in scales:
        raise MicroflowError(f"no profile {profile!r}", hint=f"profiles are: {', '.join(scales)}")
    return scales[profile]
