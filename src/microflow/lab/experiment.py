"""The contract of an experiment: its matrix of trials, its analysis, what it may claim, and how long it will take.

An experiment is an `Experiment` in a module of `microflow.experiments`. The matrix is data: arms, blocks and a seed,
and for each cell a hash that names its configuration.

An experiment declares what a trial of a configuration takes, on a core like those of a small server. A `Forecast`
rests on that: what the database holds of the experiment, in whatever profile, says by which factor this machine
differs. A pilot decides how many blocks follow, so that an experiment with a precision has a least and a most.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from microflow.errors import MicroflowError
from microflow.lab.launch import START_S
from microflow.lab.statistics import Blocks, Estimate, block_log_ratios, ratio_of, repetitions_for
from microflow.lab.trials import Arm, Planned, Trial, by_group, gather, plan

if TYPE_CHECKING:
    import pandas as pd

    from microflow.lab.report import Answer, Table
    from microflow.lab.results import Results
    from microflow.store.experiments import ExperimentStore

__all__ = [
    "PREVIEWS", "PROFILES", "Claim", "Experiment", "Forecast", "Matrix", "Plot", "Precision", "beside", "config_hash",
    "forecast", "forecast_table", "ratios_to", "scale_of", "settled",
]  # fmt: skip

T = TypeVar("T")

#: How long everything may take: seconds (the notebooks' own test), minutes (`make experiments`), an hour and more (for
#: print; `forecast` says how long).
PROFILES = ("smoke", "quick", "paper")
#: Profiles whose results show that everything runs, and are not to be cited.
PREVIEWS = ("smoke", "quick")


@dataclass(frozen=True, slots=True)
class Precision:
    """Target width of the interval of every arm's log-ratio to ``reference``: ± ``half_width``, 0.05 is ±5 %.

    ``most`` is as many blocks as there may be, so the precision is a target that may be missed: what was reached is
    stated with the results. Arms named ``group: arm`` are compared within their group.
    """

    half_width: float
    reference: str
    most: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Matrix of trials: every arm once in each of ``blocks`` blocks, in random order; ``seed`` decides order and data.

    With a ``precision`` these blocks are a pilot, and their noise decides how many follow; see `settled`. Trials run
    ``side_by_side`` on all cores where nothing is timed, or where times are a preview; captions say so.
    """

    experiment: str
    arms: tuple[Arm, ...]
    blocks: int
    seed: int = 1
    timeout_s: float = 600
    precision: Precision | None = None
    side_by_side: bool = False

    def cells(self) -> dict[str, Planned]:
        """Configuration hash to turn, in the order in which they run."""
        return {config_hash(self.experiment, turn): turn for turn in plan(self.arms, self.blocks, self.seed)}

    @property
    def repetitions(self) -> str:
        """Sentence about the number of runs of each arm and how it is decided."""
        if self.precision is None:
            return f"{self.blocks} block{'s' * (self.blocks != 1)}"
        target = self.precision
        return (
            f"{self.blocks} blocks as a pilot, and as many more, {target.most} in all at most, as their noise asks for "
            f"so that every ratio's interval is within ±{target.half_width:.0%}"
        )


def settled(matrix: Matrix, pilot: Sequence[Trial]) -> Matrix:
    """The matrix with as many blocks as its precision takes; the same where it asks for none.

    Stein's two-stage procedure for every arm: the pilot's blocks stay in the sample, and the arm that needs most
    decides for all, because a block is complete or it is nothing. The number is worked out from the stored trials, so
    that every reader finds the same one.

    Args:
        matrix: Its ``blocks`` are the pilot's.
        pilot: The trials of all of its cells.

    Raises:
        MicroflowError: the pilot ran on unlike machines, or its arms gave different answers.
    """
    wanted, least = matrix.precision, matrix.blocks
    if wanted is None:
        return matrix
    needed = [
        repetitions_for(block_log_ratios(blocks, base), wanted.half_width, least=least, most=max(least, wanted.most))
        for base, others in _by_reference(pilot, wanted.reference)
        for blocks in others.values()
    ]
    return replace(matrix, blocks=max([least, *needed]), precision=None)


def _by_reference(trials: Iterable[Trial], reference: str) -> Iterator[tuple[Blocks, Mapping[str, Blocks]]]:
    """Group by group (``group: arm``): the samples of the reference, and those of the other arms by name."""
    for group, own in by_group(trials).items():
        samples = gather(own)
        yield samples.pop(f"{group}: {reference}" if group else reference), samples


def beside(trials: Iterable[Trial], reference: str) -> dict[str, Estimate]:
    """Every arm's time over the reference's of its group (``group: arm``), by name.

    Groups of different data did not read the same rows, and need not: each is compared by itself.
    """
    return {
        f"{name} beside {reference}": ratio_of(blocks, base)
        for base, others in _by_reference(trials, reference)
        for name, blocks in others.items()
    }


def ratios_to(reference: str) -> Callable[[Results], Mapping[str, Estimate]]:
    """An experiment's ``ratios`` where every arm stands beside this one of its own group and blocks."""
    return lambda results: beside(results.trials, reference)


def config_hash(experiment: str, turn: Planned) -> str:
    """SHA-256 over what decides a trial's result. The position in its block is chance, and not part of it.

    >>> one, two = (Planned(Arm("a", "m:f", {"rows": rows}), 0, 0, 7) for rows in (10, 20))
    >>> config_hash("rq1", one) == config_hash("rq1", two)
    False
    """
    decisive = {"experiment": experiment, "block": turn.block, "seed": turn.seed}
    arm = {"arm": turn.arm.name, "target": turn.arm.target, "config": turn.arm.config}
    return hashlib.sha256(json.dumps(decisive | arm, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def scale_of(scales: Mapping[str, T], profile: str) -> T:
    """The sizes of a profile.

    Raises:
        MicroflowError: there is no such profile.
    """
    if profile not in scales:
        raise MicroflowError(f"no profile {profile!r}", hint=f"profiles are: {', '.join(scales)}")
    return scales[profile]


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure: ``name`` of its file; a function of `microflow.figures`, ``draw_`` and ``drawing``, draws it."""

    name: str
    drawing: str
    caption: str


@dataclass(frozen=True, slots=True)
class Claim:
    """Words that a sentence with numbers contains, and the command whose output they are held against.

    ``pattern`` is a regular expression, searched in one sentence of a document.
    """

    pattern: str
    command: str = ""


@dataclass(frozen=True, slots=True)
class Experiment:
    """Experiment with its matrix, analysis and answer; `microflow.experiments.EXPERIMENTS` is the list.

    Attributes:
        name: In the database and on the command line.
        asks: The question, as a reader asks it.
        matrix: The trials of a profile.
        seconds: What a trial of an arm's configuration takes about, on a core like those of a small server.
        frame: The analysis: one row an arm, as ``plot``'s drawing wants them.
        answer: One sentence with its numbers.
        tables: By name: what stands below the sentence, and in print.
        plot: Its figure, drawn from ``frame``.
        same: Dotted names in a trial's result that must come out equal when it is run again: speed has no part in them.
        ratios: What was measured side by side, with intervals that a repetition's must overlap; nothing where the
            profile is too small to have any.
        missing: Why it cannot run on this machine; nothing where it can. Such an experiment may be left out.
        optional: It needs more than Python and PostgreSQL, and need not have been recorded.
        claims: Sentences of README and paper that rest on it besides its own generated ones.
        notebook: Where it is run.
    """

    name: str
    asks: str
    notebook: str
    matrix: Callable[[str], Matrix]
    frame: Callable[[Results], pd.DataFrame]
    answer: Callable[[Results], Answer]
    same: tuple[str, ...]
    seconds: Callable[[Mapping[str, Any]], float]
    tables: Mapping[str, Callable[[Results], Table]]
    plot: Plot | None = None
    ratios: Callable[[Results], Mapping[str, Estimate]] = lambda _: {}
    missing: Callable[[], str] = str
    optional: bool = False
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True, slots=True)
class Forecast:
    """Forecast of one experiment in one profile.

    Attributes:
        experiment: Its name.
        arms: How many there are.
        blocks: The least and the most.
        trials: The least and the most.
        held: Trials that the database holds already.
        minutes: The least and the most, of all trials.
        left: The same, of those that it does not hold.
        recorded: How many recorded trials say how fast this machine is; with none the declared seconds stand.
    """

    experiment: str
    arms: int
    blocks: tuple[int, int]
    trials: tuple[int, int]
    held: int
    minutes: tuple[float, float]
    left: tuple[float, float]
    recorded: int


def forecast(experiment: Experiment, profile: str, store: ExperimentStore, *, cores: int) -> Forecast:
    """Forecast of an experiment on this machine; trials that run side by side share its ``cores``."""
    matrix, recorded = experiment.matrix(profile), store.trials(experiment.name)
    declared = [experiment.seconds(config["config"]) for config in recorded["config"]]
    factor = sum(row["usage"]["wall_s"] for row in recorded["metrics"]) / sum(declared) if declared else 1.0
    each = {arm.name: (experiment.seconds(arm.config) * factor + START_S) / 60 for arm in matrix.arms}
    most = max(matrix.blocks, matrix.precision.most) if matrix.precision else matrix.blocks
    cells = [replace(matrix, blocks=blocks).cells() for blocks in (matrix.blocks, most)]
    held, at_once = set(recorded["config_hash"]), cores if matrix.side_by_side else 1

    def minutes(without: set[str]) -> tuple[float, float]:
        low, high = (
            sum(each[turn.arm.name] for cell, turn in part.items() if cell not in without) / at_once for part in cells
        )
        return low, high

    return Forecast(
        experiment.name, len(matrix.arms), (matrix.blocks, most), (len(cells[0]), len(cells[1])),
        len(cells[1].keys() & held), minutes(set()), minutes(held), len(declared),
    )  # fmt: skip


def forecast_table(found: Sequence[Forecast], profile: str, cores: int) -> Table:
    """Table by experiment and in all: blocks, trials, minutes, and the remaining part of them."""
    from microflow.lab.report import Table

    rows = [
        [
            entry.experiment, str(entry.arms), _between(entry.blocks), _between(entry.trials), str(entry.held),
            _between(entry.minutes, digits=1), _between(entry.left, digits=1),
            f"{entry.recorded} trials" if entry.recorded else "declared",
        ]
        for entry in found
    ]  # fmt: skip
    trials, minutes, left = (
        _between([sum(getattr(entry, name)[end] for entry in found) for end in (0, 1)])
        for name in ("trials", "minutes", "left")
    )
    rows.append(["in all", "", "", trials, str(sum(entry.held for entry in found)), minutes, left, ""])
    return Table(
        ["experiment", "arms", "blocks", "trials", "held", "minutes", "left", "by"],
        rows,
        f"Profile {profile} on {cores} cores; a pilot decides between least and most. Minutes rest on declared seconds "
        "of a trial, scaled by what the database holds of the experiment.",
    )


def _between(ends: Sequence[float], digits: int = 0) -> str:
    return "–".join(dict.fromkeys(f"{end:.{digits}f}" for end in ends))
