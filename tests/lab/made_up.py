"""Trials with known outcomes instead of measured ones."""

from __future__ import annotations

from collections.abc import Callable

from microflow.lab.experiment import Matrix
from microflow.lab.launch import Launch, Machine
from microflow.lab.results import Results
from microflow.lab.trials import Planned, Trial
from microflow.timing.meters import ResourceUsage


def launched(result: object) -> Launch:
    """What a process on this machine returned, after a second of its processor."""
    return Launch(result, Machine.here(), 0.0, 0.0, ResourceUsage(1.0, 1.0, 2**28, 2**27))


def made_up(matrix: Matrix, result_of: Callable[[Planned], object]) -> Results:
    """Results of a matrix whose every cell returned what this function says."""
    return Results(matrix, tuple(Trial(turn, launched(result_of(turn))) for turn in matrix.cells().values()))
