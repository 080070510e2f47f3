"""How often is often enough? A pilot's noise says how many blocks the wanted interval takes.

Stein's two-stage procedure (Annals of Mathematical Statistics 16, 1945) for every arm: the pilot's blocks stay in the
sample, and the arm that needs most decides for all, because a block is complete or it is nothing. The number is worked
out from the stored trials, so that whoever reads them finds the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from microflow.experiments.matrix import Matrix
from microflow.timing.statistics import block_log_ratios, repetitions_for
from microflow.timing.trials import Trial, by_group, gather

__all__ = ["plan_of", "settled"]

Floats = npt.NDArray[np.float64]


def settled(matrix: Matrix, pilot: Sequence[Trial]) -> Matrix:
    """The matrix with as many blocks as its precision takes; the same where it asks for none.

    Args:
        matrix: Its ``blocks`` are the pilot's.
        pilot: The trials of all of its cells.

    Raises:
        MicroflowError: the pilot ran on unlike machines, or its arms gave different answers.
    """
    wanted = matrix.precision
    if wanted is None:
        return matrix
    blocks = max(
        repetitions_for(ratios, wanted.half_width, least=matrix.blocks, most=max(matrix.blocks, wanted.most))
        for ratios in _log_ratios(pilot, wanted.reference)
    )
    return replace(matrix, blocks=blocks, precision=None)


def plan_of(matrix: Matrix, blocks: int) -> dict[str, Any]:
    """What a trial keeps of how often it was repeated and why: ``blocks`` in all, as far as they are decided."""
    if matrix.precision is None:
        return {"blocks": blocks}
    return {"pilot": matrix.blocks, "blocks": blocks, **asdict(matrix.precision)}


def _log_ratios(trials: Sequence[Trial], reference: str) -> Iterator[Floats]:
    """Of every arm beside the reference of its group, one value a block; warm-up is cut."""
    for group, own in by_group(trials).items():
        samples = gather(own)
        base = samples.pop(f"{group}: {reference}" if group else reference)
        yield from (block_log_ratios(blocks, base) for blocks in samples.values())
