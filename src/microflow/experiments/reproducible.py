"""What has to come out again when an experiment is run again: its answers exactly, its ratios within intervals.

Absolute times are not among them: they are those of a machine and of an hour. What one block says of a burst
(`microflow.experiments.rq1.bursts`) has no interval, and nothing to be held to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from microflow.experiments import (
    contamination,
    cores,
    detection,
    rq1,
    rq2,
    scalability,
    sustained,
    transport,
    whole_job,
)
from microflow.experiments.estimates import Estimate, ratio_of
from microflow.experiments.intrusions import CLEAN
from microflow.experiments.matrix import Matrix
from microflow.experiments.results import Results
from microflow.timing.trials import Trial, by_group, gather

__all__ = ["REPRODUCIBLE", "Reproducible", "answers_of", "beside"]

_NOTHING_SERVED = -1.0


@dataclass(frozen=True, slots=True)
class Reproducible:
    """One experiment: ``answers`` are dotted names in a trial's result that speed has no part in.

    ``ratios`` gives what was measured side by side, by name, with intervals; nothing where the profile is too small
    to have any. What is ``optional`` need not have been recorded: it wants more than Python and PostgreSQL.
    """

    matrix: Callable[[str], Matrix]
    answers: tuple[str, ...]
    ratios: Callable[[Results], Mapping[str, Estimate]]
    optional: bool = False


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


def beside(trials: Iterable[Trial], reference: str) -> dict[str, Estimate]:
    """Every arm's time over the reference's of its group, which its name may begin with."""
    samples = gather(trials)
    found = {}
    for name, blocks in samples.items():
        group, _, arm = name.rpartition(": ")
        base = f"{group}: {reference}" if group else reference
        if arm != reference:
            found[f"{name} beside {reference}"] = ratio_of(blocks, samples[base])
    return _with_intervals(found)


def _with_intervals(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """One block says nothing about noise."""
    return {name: one for name, one in found.items() if not math.isnan(one.low)}


def _pipelines(results: Results) -> dict[str, Estimate]:
    return _by_group(results, "batch")


def _methods(results: Results) -> dict[str, Estimate]:
    return _by_group(results, "identity")


def _by_group(results: Results, reference: str) -> dict[str, Estimate]:
    """Groups of different data did not read the same rows, and need not: each is compared by itself."""
    found: dict[str, Estimate] = {}
    for own in by_group(results.trials).values():
        found |= beside(own, reference)
    return found


def _beside_batch(results: Results) -> dict[str, Estimate]:
    return beside(results.trials, "batch")


def _intrusions(results: Results) -> dict[str, Estimate]:
    return beside(results.trials, CLEAN)


def _exponents(results: Results) -> dict[str, Estimate]:
    return _with_intervals({f"exponent of {arm}": law.exponent for arm, law in scalability.laws(results).items()})


def _waits(results: Results) -> dict[str, Estimate]:
    """p99 at the lowest load beside the batch's; at higher ones a machine may be at its end, which is no ratio."""
    lowest: dict[str, list[list[float]]] = {}
    for trial in sorted(results.trials, key=lambda trial: trial.planned.block):
        lowest.setdefault(trial.planned.arm.name, []).append([trial.run.result["p99_ns"][0]])
    found = {}
    for name, blocks in lowest.items():
        kind, _, arm = name.partition(": ")
        reference = lowest[f"{kind}: batch"]
        if arm != "batch" and np.min([*blocks, *reference]) > _NOTHING_SERVED:
            found[f"{kind}: p99 of {arm} beside batch"] = ratio_of(blocks, reference)
    return _with_intervals(found)


def _shares(results: Results) -> dict[str, Estimate]:
    rows = cores.frame(results).to_dict("records")
    found = {
        f"Spark on {row['cores']} cores beside local": Estimate(row["share"], row["share_low"], row["share_high"])
        for row in rows
    }
    return _with_intervals(found)


def _none(_: Results) -> dict[str, Estimate]:
    return {}


_DATA = ("data_checksum",)
# Of the guard's evidence its judgement only: how often bystanders' threads called, and the kernel switched, is chance.
_PASS = ("pure", "violations", "output_checksum", *_DATA)
_RISKS = ("linkage", "singling_out", "loss", "gcp", "kept", "k", "suppressed", "delay_p50", "delay_max", *_DATA)
_COUNTS = ("total_records", "released", "suppressed", "quarantined", "violations_found")
_JOB = ("purity.is_pure", *(f"counts.{name}" for name in _COUNTS), *_DATA)

REPRODUCIBLE = (
    Reproducible(detection.matrix, ("rules", *_DATA), _none),
    Reproducible(whole_job.matrix, _JOB, _beside_batch),
    Reproducible(contamination.matrix, ("records", "output_checksum", *_DATA), _intrusions),
    Reproducible(rq1.throughput, _PASS, _pipelines),
    Reproducible(transport.matrix, ("violations", "output_checksum", *_DATA), _beside_batch, optional=True),
    Reproducible(rq1.latency, ("load", *_DATA), _waits),
    Reproducible(sustained.matrix, _DATA, _none),
    Reproducible(rq2.speed, _PASS, _methods),
    Reproducible(rq2.privacy, _RISKS, _none),
    Reproducible(scalability.volumes, ("rows_processed", *_DATA), _exponents),
    Reproducible(cores.matrix, _DATA, _shares, optional=True),
)
