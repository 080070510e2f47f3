"""The pure phase: check, remedy, anonymize. The only place where it is written; every engine calls it.

Memory only: nothing here opens, connects, waits or reads a clock. Kernels are picklable and compile themselves again in
the process they arrive in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import BatchAnonymizer, DatasetAnonymizer, Released
from microflow.compliance import BatchChecker, BatchRemedy, Findings, Violation
from microflow.compliance.targets import Targets
from microflow.microflows import Microflow
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.timing.clock import PhaseClock

__all__ = [
    "BatchKernel",
    "FindingsBuilder",
    "Place",
    "Screened",
    "Screening",
    "merge_findings",
    "missing",
    "processed",
    "warm_up",
    "warmed",
]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a microflow stands in its job, without its rows."""

    number: int
    first_row: int
    rows_in: int

    @classmethod
    def of(cls, flow: Microflow) -> Place:
        """The place of a microflow."""
        return cls(flow.number, flow.first_row, len(flow))


@dataclass(frozen=True, slots=True)
class Screened:
    """A microflow after check and remedy: rows that may go on, the positions they had, and what was found before."""

    rows: pa.RecordBatch
    kept: npt.NDArray[np.int64]
    findings: Findings


class Screening:
    """Check and remedy: the half of the work that is the same for every method."""

    def __init__(self, spec: ProcessingSpec) -> None:
        self._checker = BatchChecker(spec.policy, spec.schema)
        self._remedy = BatchRemedy(spec.policy, spec.schema)

    def screen(self, rows: pa.RecordBatch) -> Screened:
        """Count the violations, then act on them."""
        findings = self._checker.check(rows)
        remedied, kept = self._remedy.apply(rows, findings)
        return Screened(remedied, kept, findings)


class BatchKernel:
    """The whole pure phase for methods that release a microflow by itself."""

    def __init__(self, spec: ProcessingSpec) -> None:
        self._screening = Screening(spec)
        self.anonymizer = cast("BatchAnonymizer", build_anonymizer(spec.method, spec.schema, spec.key))

    def run(self, rows: pa.RecordBatch) -> tuple[Released, Screened]:
        """What may leave of one microflow, and what was found in it."""
        screened = self._screening.screen(rows)
        return self.anonymizer.anonymize(screened.rows), screened


def warm_up(spec: ProcessingSpec, rows: pa.RecordBatch) -> None:
    """Run everything once on copies that are thrown away: lazy imports and first-use caches are not processing."""
    kernel = BatchKernel(spec)
    if isinstance(kernel.anonymizer, DatasetAnonymizer):
        kernel.anonymizer.observe(rows)
        kernel.anonymizer.freeze()
    kernel.run(rows)


def warmed(
    source: Iterable[Microflow], clock: PhaseClock, warm: Callable[[pa.RecordBatch], object]
) -> Iterator[Microflow]:
    """The source's microflows, read in pre-processing; the first one's rows are given to ``warm`` beforehand."""
    flows = clock.reading(source)
    for first in flows:
        with clock.pre():
            warm(first.rows)
        yield first
        yield from flows


def processed(flow: Microflow | Place, released: Released, screened: Screened, pure_ns: int) -> Processed:
    """Ordinals and suppressed rows worked out: bookkeeping, done after the clock has stopped."""
    place = flow if isinstance(flow, Place) else Place.of(flow)
    positions = screened.kept[released.kept]
    return Processed(
        number=place.number,
        first_row=place.first_row,
        rows_in=place.rows_in,
        released=released.rows,
        ordinals=place.first_row + positions,
        suppressed=place.first_row + missing(positions, place.rows_in),
        findings=screened.findings,
        pure_ns=pure_ns,
    )


def missing(positions: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    """The positions from 0 to ``rows`` that are not among these."""
    absent = np.ones(rows, np.bool_)
    absent[positions] = False
    return np.flatnonzero(absent)


def merge_findings(first: Findings, second: Findings, rows_of_second: npt.NDArray[np.int64]) -> Findings:
    """Findings of two disjoint parts of a microflow; the second part's row ``i`` stood at ``rows_of_second[i]``."""
    rows = np.concatenate([first.rows, rows_of_second[second.rows].astype(np.int32)])
    order = np.argsort(rows, kind="stable")
    targets, starts, ends = (
        np.concatenate([getattr(first, name), getattr(second, name)])[order] for name in ("targets", "starts", "ends")
    )
    return Findings(first.checked, rows[order], targets, starts, ends)


class FindingsBuilder:
    """Turns violations of single records into the columns that `BatchChecker` gives."""

    def __init__(self, spec: ProcessingSpec) -> None:
        targets = Targets(spec.policy, spec.schema).all
        self._targets = {(target.rule.id, target.field): index for index, target in enumerate(targets)}

    def build(self, checked: int, violations: Iterable[tuple[int, Sequence[Violation]]]) -> Findings:
        """Findings of ``checked`` rows; ``violations`` are pairs of a row position and what was found there."""
        found = [
            (row, self._targets[one.rule, one.field], one.start, one.end)
            for row, of_record in violations
            for one in of_record
        ]
        columns = np.array(found, np.int32).reshape(-1, 4).T
        return Findings(checked, columns[0], columns[1].astype(np.int16), columns[2], columns[3])
