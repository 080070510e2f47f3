"""All figures: from which trials, by which analysis, drawn how. They read the database and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from microflow.errors import MicroflowError
from microflow.experiments import (
    contamination,
    detection,
    privacy_utility,
    rq1,
    rq2,
    scalability,
    timing_separation,
    transport,
    whole_job,
)
from microflow.experiments.matrix import Matrix
from microflow.experiments.results import IncompleteError, Results
from microflow.figures.style import ieee, png, save
from microflow.store.experiments import ExperimentStore

__all__ = ["FIGURES", "Drawn", "Entry", "Plate", "draw_all", "plate"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure: ``drawing`` is the module of `microflow.figures` whose ``draw`` takes ``analyse``'s frame.

    ``beside`` adds the rows of trials that need not have run.
    """

    name: str
    drawing: str
    matrix: Callable[[str], Matrix]
    analyse: Callable[[Results], pd.DataFrame]
    caption: str
    beside: Callable[[Results, str, ExperimentStore], pd.DataFrame] | None = None


FIGURES = (
    Entry(
        "detection-accuracy",
        "accuracy",
        detection.matrix,
        detection.detection_frame,
        "Recall and precision of every rule against the planted truth, near misses included, with Wilson intervals.",
    ),
    Entry(
        "throughput",
        "throughput",
        rq1.throughput,
        rq1.throughput_frame,
        "Throughput of the pure phase by pipeline, with 95 % intervals; the band is what an A/A comparison of batch "
        "with itself cannot tell apart. Storm, where it was measured, counts wall time with its transport.",
        transport.beside,
    ),
    Entry(
        "latency-throughput",
        "latency",
        rq1.latency,
        rq1.latency_frame,
        "Latency by offered load: p99 (marks) and p50 (thin lines) from intended arrival to result. Open marks: the "
        "backlog grew, the load was not sustained.",
    ),
    Entry(
        "hybrid-burst",
        "burst",
        rq1.bursts,
        rq1.burst_frame,
        "What the hybrid decides while the load jumps tenfold, and the latency of all three pipelines under it.",
    ),
    Entry(
        "phase-breakdown",
        "phases",
        whole_job.matrix,
        whole_job.phases,
        "Where a job's time goes, from file to file and database (healthcare, tokenization).",
    ),
    Entry(
        "contamination-penalty",
        "contamination",
        contamination.matrix,
        timing_separation.penalty_frame,
        "What database work inside the clock would have added; the band is the noise floor of an A/A comparison.",
    ),
    Entry(
        "privacy-utility",
        "frontier",
        rq2.privacy,
        privacy_utility.frontier_frame,
        "Risk under a linkage attack against information loss (mean over quasi-identifiers of the larger of NCP and "
        "distortion), by setting; lower left is better.",
    ),
    Entry(
        "scaling",
        "scaling",
        scalability.volumes,
        scalability.scaling_frame,
        "Pure processing time by volume, with fitted exponents and their 95 % intervals.",
    ),
)


@dataclass(frozen=True)
class Plate:
    """A figure with its name and caption; Jupyter shows it as an image."""

    name: str
    caption: str
    figure: Figure

    def _repr_png_(self) -> bytes:
        return png(self.figure)


@dataclass(frozen=True, slots=True)
class Drawn:
    """A figure's files, or why there are none."""

    name: str
    files: tuple[Path, ...]
    missing: str = ""


def plate(name: str, profile: str, store: ExperimentStore) -> Plate:
    """Draw one figure of the catalogue.

    Raises:
        MicroflowError: there is no such figure.
        IncompleteError: not all of its trials have run.
    """
    for entry in FIGURES:
        if entry.name == name:
            frame = _frame(entry, profile, store)
            with ieee():
                figure: Figure = import_module(f"microflow.figures.{entry.drawing}").draw(frame)
            return Plate(name, entry.caption, figure)
    raise MicroflowError(f"no figure {name!r}", hint=f"figures are: {', '.join(entry.name for entry in FIGURES)}")


def _frame(entry: Entry, profile: str, store: ExperimentStore) -> pd.DataFrame:
    results = Results.read(entry.matrix(profile), store)
    frame = entry.analyse(results)
    more = pd.DataFrame() if entry.beside is None else entry.beside(results, profile, store)
    return frame if more.empty else pd.concat([frame, more], ignore_index=True)


def draw_all(profile: str, store: ExperimentStore, folder: Path) -> list[Drawn]:
    """Draw and save every figure whose trials are complete; say of the others what is missing."""
    drawn = []
    for entry in FIGURES:
        try:
            files = save(plate(entry.name, profile, store).figure, folder, entry.name)
        except IncompleteError as error:
            drawn.append(Drawn(entry.name, (), error.message))
        else:
            drawn.append(Drawn(entry.name, files))
    return drawn
