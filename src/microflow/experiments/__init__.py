"""Research questions: a module for each, and the list of the experiments.

A module holds the matrix of an experiment, its trial (where it has one of its own), its analysis, table, figure,
answer, and what must come out again when it is repeated. Everything that runs, draws, writes, repeats or audits
experiments goes through `EXPERIMENTS`. Nothing is imported before it is asked for: a trial's process loads its target's
module, and what that needs, and no more; modules import what only their analysis needs where it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from microflow.errors import MicroflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from microflow.lab.experiment import Experiment

__all__ = ["EXPERIMENTS", "NOTEBOOKS", "all_experiments", "experiment_named", "select"]

#: In the order in which they run and are reported: module, and the name of the experiment in it.
EXPERIMENTS = (
    ("whole_job", "WHOLE_JOB"),
    ("contamination", "CONTAMINATION"),
    ("detection", "DETECTION"),
    ("speed", "THROUGHPUT"),
    ("storm", "STORM"),
    ("kafka", "KAFKA"),
    ("load", "LATENCY"),
    ("sustained", "SUSTAINED"),
    ("bursts", "BURSTS"),
    ("speed", "SPEED"),
    ("privacy", "PRIVACY"),
    ("effort", "EFFORT"),
    ("advice", "ADVICE"),
    ("cores", "SCALING"),
    ("cores", "CORES"),
)
#: In the order in which they run; the last one draws what the others have measured.
NOTEBOOKS = ("timing_separation", "rq1", "rq2", "scalability", "figures")


def all_experiments() -> list[Experiment]:
    """Every experiment."""
    return [getattr(import_module(f"{__name__}.{module}"), name) for module, name in EXPERIMENTS]


def experiment_named(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
        MicroflowError: there is none.
    """
    return select([name])[0]


def select(names: Sequence[str]) -> list[Experiment]:
    """Experiments with these names, in their order; all of them if no name is given.

    Raises:
        MicroflowError: there is no such experiment.
    """
    known = {experiment.name: experiment for experiment in all_experiments()}
    if unknown := set(names) - known.keys():
        raise MicroflowError(f"no experiment {min(unknown)!r}", hint=f"they are: {', '.join(known)}")
    return [experiment for name, experiment in known.items() if not names or name in names]
