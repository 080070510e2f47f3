"""Trials in randomised complete blocks: every arm once in each block, in random order, each in a new process.

    arms = [batch, stream, hybrid, again(batch)]
    for trial in run_trials(plan(arms, blocks=8, seed=1)):
        store(trial)
    analysis = compare(gather(trials), reference="batch", noise="batch again")

An arm is data: a target function and its configuration. The target returns a JSON object. By convention ``samples``
holds its positive measurements in order, warm-up included; ``data_checksum`` says what it read, and
``output_checksum``, where all arms must compute the same, what it computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from microflow.errors import MicroflowError
from microflow.lab.launch import Launch, launch, refuse_unlike

__all__ = [
    "Arm", "Planned", "Trial", "again", "by_group", "find_warm_up", "gather", "order_of", "plan", "run_trials",
]  # fmt: skip

T = TypeVar("T")

_TOO_SHORT = 4
#: How much worse than the best score a cut may be: in steady noise scores differ by chance, by less than this.
_TOLERANCE = 1.5


@dataclass(frozen=True, slots=True)
class Arm:
    """Arm of an experiment: ``target`` (``"package.module:function"``) called with ``config`` (no secret in it).

    An ``absent`` arm needs data that this machine does not have: it is read where it was recorded, and not run.
    """

    name: str
    target: str
    config: dict[str, Any]
    absent: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """An arm's turn: ``position`` in its block's order; ``seed`` is the block's, so that all arms see equal data."""

    arm: Arm
    block: int
    position: int
    seed: int


@dataclass(frozen=True, slots=True)
class Trial:
    """Trial: the raw result of a turn, and the conditions under which it ran."""

    planned: Planned
    run: Launch


def again(arm: Arm) -> Arm:
    """The A/A arm: the same work under another name. What differs between the two is noise.

    >>> again(Arm("batch", "module:function", {})).name
    'batch again'
    """
    return replace(arm, name=f"{arm.name} again")


def plan(arms: Sequence[Arm], blocks: int, seed: int) -> list[Planned]:
    """All turns, block after block; the same seed gives the same plan.

    Raises:
        MicroflowError: two arms share a name.
    """
    names = [arm.name for arm in arms]
    if len(set(names)) < len(names):
        raise MicroflowError("two arms have the same name", hint=f"arms are: {', '.join(names)}")
    turns = []
    for block in range(blocks):
        block_seed, order = order_of(arms, seed, block)
        turns += [Planned(arm, block, position, block_seed) for position, arm in enumerate(order)]
    return turns


def order_of(things: Sequence[T], seed: int, block: int) -> tuple[int, list[T]]:
    """A seed for a block, and the random order in which its members take their turns."""
    rng = np.random.default_rng((seed, block))
    block_seed = int(rng.integers(2**31))
    return block_seed, [things[index] for index in rng.permutation(len(things))]


def run_trials(
    turns: Iterable[Planned], *, done: Collection[tuple[str, int]] = (), timeout_s: float = 600, at_once: int = 1
) -> Iterator[Trial]:
    """Take the turns in order, each in a fresh process, and hand over each trial in that order when it is there.

    The target's configuration gets the block's ``seed``. ``done`` lists (arm name, block) that a store already holds.
    ``at_once`` processes run side by side: only where nothing is timed. After a failed trial no other is begun.
    """

    def taken(turn: Planned) -> Trial:
        return Trial(turn, launch(turn.arm.target, turn.arm.config | {"seed": turn.seed}, timeout_s=timeout_s))

    wanted = [turn for turn in turns if (turn.arm.name, turn.block) not in done]
    if at_once == 1:
        yield from map(taken, wanted)
        return
    pool = ThreadPoolExecutor(at_once)
    try:
        yield from pool.map(taken, wanted)
    finally:
        pool.shutdown(cancel_futures=True)


def by_group(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """The trials of arms named ``group: arm``, by group; those without a group under the empty name."""
    groups: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        groups[trial.planned.arm.name.rpartition(": ")[0]].append(trial)
    return dict(groups)


def gather(trials: Iterable[Trial]) -> dict[str, list[npt.NDArray[np.float64]]]:
    """Steady-state samples by arm, one array per block, ready for `compare`.

    Raises:
        MicroflowError: unlike machines, different data or outputs within a block, or an incomplete block.
    """
    found = sorted(trials, key=lambda trial: trial.planned.block)
    refuse_unlike(trial.run.machine for trial in found)
    for checksum in ("data_checksum", "output_checksum"):
        _refuse_unequal(found, checksum)
    samples: dict[str, list[npt.NDArray[np.float64]]] = defaultdict(list)
    blocks: dict[str, list[int]] = defaultdict(list)
    for trial in found:
        values = np.asarray(trial.run.result["samples"], np.float64)
        samples[trial.planned.arm.name].append(values[find_warm_up(values) :])
        blocks[trial.planned.arm.name].append(trial.planned.block)
    if len({tuple(numbers) for numbers in blocks.values()}) > 1:
        raise MicroflowError("a block is incomplete: not every arm ran in it", hint="resume the experiment first")
    return dict(samples)


def _refuse_unequal(trials: Iterable[Trial], key: str) -> None:
    """Speeds of different answers, or on different data, are not comparable."""
    checksums: dict[int, set[str]] = defaultdict(set)
    for trial in trials:
        if (checksum := trial.run.result.get(key)) is not None:
            checksums[trial.planned.block].add(checksum)
    if unequal := [block for block, seen in checksums.items() if len(seen) > 1]:
        raise MicroflowError(f"arms of block {unequal[0]} differ in {key}", hint="make them agree, then time them")


def find_warm_up(samples: npt.ArrayLike) -> int:
    """Number of leading samples to cut so that the mean of the rest is known well: MSER (White 1997), made reluctant.

    A cut ``d`` scores ``sum((x - mean)²) / (n - d)²`` over ``x[d:]``: dropping a slow start lowers the numerator,
    dropping good samples the denominator. The smallest cut, up to half of the samples, whose score is near the best is
    taken; the best itself throws away good samples by chance. Fewer than four samples are kept whole.

    >>> find_warm_up([9.0, 5.0, 1.0, 1.1, 0.9, 1.0, 1.1, 1.0])
    2
    """
    values = np.asarray(samples, np.float64)
    count = len(values)
    if count < _TOO_SHORT:
        return 0
    scores = np.array([values[cut:].var() / (count - cut) for cut in range(count // 2 + 1)])
    return int(np.argmax(scores <= _TOLERANCE * scores.min()))
