"""What has to come out again when an experiment is run again: its answers exactly, its ratios within intervals.

Absolute times are not among them: they are those of a machine and of an hour. What one block says of a burst
(`microflow.experiments.rq1.bursts`) has no interval, and nothing to be held to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from microflow.experiments import contamination, detection, rq1, rq2, scalability, transport, whole_job
from microflow.experiments.estimates import Estimate
from microflow.experiments.matrix import Matrix
from microflow.experiments.results import Results
from microflow.timing.statistics import Comparison, compare, log_ratio
from microflow.timing.trials import gather

__all__ = ["REPRODUCIBLE", "Reproducible", "answers_of"]

_FEWEST_BLOCKS = 2
_LEAST = 0.0


@dataclass(frozen=True, slots=True)
class Reproducible:
    """One experiment: ``answers`` are dotted names in a trial's result that speed has no part in.

    ``ratios`` gives what was measured side by side, by name, with intervals; nothing where the profile is too small
    to have any.
    """

    matrix: Callable[[str], Matrix]
    answers: tuple[str, ...]
    ratios: Callable[[Results], Mapping[str, Estimate]]


def answers_of(result: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, object]:
    """The single values under these names; what is not there is not in it.

    >>> answers_of({"counts": {"released": 9}, "rules": [{"rule": "name", "hits": 2}]}, ("counts.released", "rules"))
    {'counts.released': 9, 'rules.name.hits': 2}
    """
    found: dict[str, object] = {}
    for name in names:
        value: Any = result
        for step in name.split("."):
            value = value.get(step, {}) if isinstance(value, Mapping) else {}
        found |= _leaves(name, value)
    return found


def _leaves(name: str, value: Any) -> dict[str, object]:
    if isinstance(value, list):
        # A list of rules is told apart by their names, which say more than a place in a list.
        value = {one.get("rule", at) if isinstance(one, Mapping) else at: one for at, one in enumerate(value)}
    if not isinstance(value, Mapping):
        return {name: value}
    parts = [_leaves(f"{name}.{key}", part) for key, part in value.items() if key != "rule"]
    return {key: leaf for part in parts for key, leaf in part.items()}


def _beside(one: Comparison, prefix: str = "") -> tuple[str, Estimate]:
    return f"{prefix}{one.arm} beside {one.reference}", Estimate(one.ratio, one.low, one.high)


def _pipelines(results: Results) -> dict[str, Estimate]:
    analyses = rq1.analyses(results)
    return dict(_beside(one, f"{kind}: ") for kind, found in analyses.items() for one in found.comparisons)


def _methods(results: Results) -> dict[str, Estimate]:
    return dict(_beside(one) for one in compare(gather(results.trials), "identity").comparisons)


def _beside_batch(results: Results) -> dict[str, Estimate]:
    if results.matrix.blocks < _FEWEST_BLOCKS:
        return {}
    return dict(_beside(one) for one in compare(gather(results.trials), "batch").comparisons)


def _intrusions(results: Results) -> dict[str, Estimate]:
    return {
        f"{one.work}: {one.arm} beside clean": Estimate(one.ratio, one.low, one.high)
        for one in contamination.penalties(results.trials)
    }


def _exponents(results: Results) -> dict[str, Estimate]:
    found = {f"exponent of {arm}": law.exponent for arm, law in scalability.laws(results).items()}
    return {name: one for name, one in found.items() if not math.isnan(one.low)}


def _waits(results: Results) -> dict[str, Estimate]:
    """p99 at the lowest load beside the batch's; at higher ones a machine may be at its end, which is no ratio."""
    if results.matrix.blocks < _FEWEST_BLOCKS:
        return {}
    lowest: dict[str, list[list[float]]] = {}
    for trial in sorted(results.trials, key=lambda trial: trial.planned.block):
        lowest.setdefault(trial.planned.arm.name, []).append([trial.run.result["p99_ns"][0]])
    found = {}
    for name, blocks in lowest.items():
        kind, _, arm = name.partition(": ")
        reference = lowest[f"{kind}: batch"]
        if arm != "batch" and np.min([*blocks, *reference]) > _LEAST:
            ratio = log_ratio(blocks, reference)
            low, value, high = np.exp([ratio.low, ratio.mean, ratio.high]).tolist()
            found[f"{kind}: p99 of {arm} beside batch"] = Estimate(value, low, high)
    return found


def _none(_: Results) -> dict[str, Estimate]:
    return {}


_PASS = ("pure", "violations", "data_checksum", "output_checksum")
_RISKS = ("linkage", "singling_out", "loss", "gcp", "kept", "k", "suppressed")
_COUNTS = ("total_records", "released", "suppressed", "quarantined", "violations_found")

REPRODUCIBLE = (
    Reproducible(detection.matrix, ("rules",), _none),
    Reproducible(whole_job.matrix, ("purity.is_pure", *(f"counts.{name}" for name in _COUNTS)), _beside_batch),
    Reproducible(contamination.matrix, ("records", "data_checksum", "output_checksum"), _intrusions),
    Reproducible(rq1.throughput, _PASS, _pipelines),
    Reproducible(transport.matrix, ("violations", "data_checksum", "output_checksum"), _beside_batch),
    Reproducible(rq1.latency, ("load",), _waits),
    Reproducible(rq2.speed, _PASS, _methods),
    Reproducible(rq2.privacy, _RISKS, _none),
    Reproducible(scalability.volumes, ("rows_processed",), _exponents),
)
