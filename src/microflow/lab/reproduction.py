"""Reproduction: recorded trials run again, beside the record and never into it; differences are listed.

Answers (checksums, counts, figures of privacy and utility) must be the same; numbers with a fraction to nine digits,
because a sum may be taken in another order on another processor. Ratios of times must have intervals that overlap:
that holds for more than 99 of 100 honest repetitions of equally wide 95 % intervals, while a repetition's ratio lies
in the first interval itself in no more than 84 (Cumming and Maillardet, Psychological Methods 11, 2006).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from microflow.errors import MicroflowError, StoreError
from microflow.lab.bundle import import_bundle
from microflow.lab.experiment import Experiment
from microflow.lab.launch import Machine
from microflow.lab.results import IncompleteError, Progress, Results, commit_of, results_or_missing, run_matrix
from microflow.lab.statistics import Estimate
from microflow.store.database import create_database, drop_database
from microflow.store.experiments import ExperimentStore

__all__ = ["Agreement", "Difference", "answers_of", "bundled", "compared", "repeated", "reproduce"]

_DIGITS = 1e-9
_LONGEST = 40


@dataclass(frozen=True, slots=True)
class Difference:
    """Difference between a record and its repetition: ``where`` names the trial or the ratio."""

    experiment: str
    where: str
    recorded: str
    now: str

    def __str__(self) -> str:
        return f"{self.experiment}: {self.where}: recorded {self.recorded}, now {self.now}"


@dataclass(frozen=True, slots=True)
class Agreement:
    """Comparison of one experiment with its record: the number of comparisons, and the differences."""

    experiment: str
    trials: int
    answers: int
    ratios: int
    differences: tuple[Difference, ...]


def reproduce(
    recorded: ExperimentStore,
    again: ExperimentStore,
    profile: str,
    experiments: Sequence[Experiment],
    observer: Callable[[Progress], None] | None = None,
) -> Iterator[Agreement]:
    """Run each experiment of the profile into ``again`` and compare it; ``recorded`` is only read.

    What ``again`` already holds of this commit is kept, so that a run which was stopped continues. An experiment
    whose recording lacks trials of this configuration differs by that.

    Raises:
        MicroflowError: nothing of this profile is recorded, or a trial failed.
    """
    readings = [(experiment, results_or_missing(experiment, profile, recorded)) for experiment in experiments]
    if not any(isinstance(found, Results) for _, found in readings):
        raise MicroflowError(
            f"nothing is recorded of profile {profile!r}", hint="choose the profile that is, or run make experiments"
        )
    for experiment, reading in readings:
        if isinstance(reading, IncompleteError):
            if not experiment.optional:
                lacking = Difference(reading.experiment, "configuration", reading.message, "not run")
                yield Agreement(reading.experiment, 0, 0, 0, (lacking,))
            continue
        # What this machine has the data for.
        matrix = replace(reading.matrix, arms=tuple(arm for arm in reading.matrix.arms if not arm.absent))
        before = Results(matrix, tuple(trial for trial in reading.trials if not trial.planned.arm.absent))
        stale = set(again.trials(before.matrix.experiment)["git"]) - {commit_of(Machine.here())}
        run_matrix(before.matrix, again, force=bool(stale), observer=observer)
        yield compared(experiment, before, Results.read(before.matrix, again))


def compared(question: Experiment, recorded: Results, now: Results) -> Agreement:
    """Hold the same matrix's results against each other."""
    experiment, differences, answers = recorded.matrix.experiment, [], 0
    for before, after in zip(recorded.trials, now.trials, strict=True):
        turn = before.planned
        earlier, again = (answers_of(trial.run.result, question.same) for trial in (before, after))
        answers += len(earlier)
        differences += [
            Difference(experiment, f"{turn.arm.name}, block {turn.block}, {name}", *values)
            for name, *values in _unequal(earlier, again)
        ]
    try:
        ratios, ratios_now = _known(question.ratios(recorded)), _known(question.ratios(now))
    except MicroflowError as refused:
        # Arms that no longer release the same rows have no ratio; the checksums above say which.
        differences.append(Difference(experiment, "ratios", "a comparison", str(refused)))
        return Agreement(experiment, len(now.trials), answers, 0, tuple(differences))
    for name in sorted(ratios.keys() | ratios_now.keys()):
        first, second = ratios.get(name), ratios_now.get(name)
        if first is None or second is None or first.low > second.high or second.low > first.high:
            differences.append(Difference(experiment, name, _said(first), _said(second)))
    return Agreement(experiment, len(now.trials), answers, len(ratios), tuple(differences))


@contextmanager
def repeated(recorded: ExperimentStore, profile: str) -> Iterator[ExperimentStore]:
    """A database of the repetition's own on the same server: dropped at the end, kept when it is cut short."""
    name = _beside(recorded.url, f"again_{profile}")
    try:
        store = ExperimentStore(make_url(recorded.url).set(database=name).render_as_string(hide_password=False))
    except StoreError:
        store = ExperimentStore(create_database(recorded.url, name))
    ended = False
    with store:
        try:
            yield store
            ended = True
        finally:
            if ended or not store.experiments():
                drop_database(recorded.url, name)


@contextmanager
def bundled(server: ExperimentStore, path: Path) -> Iterator[ExperimentStore]:
    """A bundle's trials in a database that lives as long as it is read."""
    name = _beside(server.url, "bundle")
    drop_database(server.url, name)
    try:
        with ExperimentStore(create_database(server.url, name)) as store:
            import_bundle(store, path)
            yield store
    finally:
        drop_database(server.url, name)


def _beside(url: str, suffix: str) -> str:
    database = re.sub(r"\W", "_", make_url(url).database or "microflow", flags=re.ASCII)
    return f"{database[:_LONGEST]}_{suffix}"


def _unequal(earlier: Mapping[str, object], again: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Answers that differ from the record, which may be of an earlier version and not hold all that is asked."""
    for name, value in sorted(earlier.items()):
        if name not in again or not _same(value, again[name]):
            yield name, str(value), str(again.get(name, "nothing"))


def _same(value: object, other: object) -> bool:
    if isinstance(value, float) and isinstance(other, int | float):
        return math.isclose(value, other, rel_tol=_DIGITS, abs_tol=_DIGITS)
    return value == other


def _said(estimate: Estimate | None) -> str:
    return "nothing" if estimate is None else f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def _known(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """The estimates with an interval: one block says nothing about noise."""
    return {name: estimate for name, estimate in found.items() if not math.isnan(estimate.low)}


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
        # Rules in a list are identified by name, which says more than an index.
        value = {item.get("rule", at) if isinstance(item, Mapping) else at: item for at, item in enumerate(value)}
    if not isinstance(value, Mapping):
        return {name: value}
    parts = [_leaves(f"{name}.{key}", part) for key, part in value.items() if key != "rule"]
    return {key: leaf for part in parts for key, leaf in part.items()}
