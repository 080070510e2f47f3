"""The pure phase: check, remedy, anonymize. The only place where it is written; every engine calls it.

Memory only: nothing here opens, connects, waits or reads a clock. Kernels are picklable and compile themselves again in
the process they arrive in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import BatchAnonymizer, DatasetAnonymizer, Method, Released, Scope
from microflow.compliance import BatchChecker, BatchRemedy, Findings
from microflow.engine.contract import ProcessingSpec
from microflow.engine.morsels import Morsel, ends_of
from microflow.records import Microflow
from microflow.timing.clock import PhaseClock

__all__ = ["BatchKernel", "Screened", "Screening", "warm_up", "warm_up_counting", "warm_up_deciding", "warmed"]

Flow = TypeVar("Flow", Microflow, Morsel)
#: Bytes: just under what the C library can learn to keep.
_LARGEST_KEPT = 31 << 20


@dataclass(frozen=True, slots=True)
class Screened:
    """Rows after check and remedy: those that may go on, the positions they had, and what was found before."""

    rows: pa.RecordBatch
    kept: npt.NDArray[np.int64]
    findings: Findings


class Screening:
    """Check and remedy: the half of the work that is the same for every method."""

    def __init__(self, spec: ProcessingSpec) -> None:
        _keep_freed_memory()
        self._checker = BatchChecker(spec.policy, spec.schema)
        self._remedy = BatchRemedy(spec.policy, spec.schema, spec.counted)

    def screen(self, rows: pa.RecordBatch) -> Screened:
        """Count the violations, then act on them."""
        findings = self._checker.check(rows)
        remedied, kept = self._remedy.apply(rows, findings)
        return Screened(remedied, kept, findings)


def _keep_freed_memory() -> None:
    """Let the C library keep what arrays free, for those of the next morsel.

    It gives large blocks back to the system, and a new block is then faulted in page by page, which took a quarter of
    tokenization's time. How large is large it learns from the largest block freed so far, up to 32 MB (glibc's
    ``M_MMAP_THRESHOLD``): this is one, never touched. Elsewhere it does nothing.
    """
    np.empty(_LARGEST_KEPT, np.uint8)


class BatchKernel:
    """The whole pure phase for methods that release a microflow by itself."""

    def __init__(self, spec: ProcessingSpec, screening: Screening | None = None) -> None:
        self._screening = screening or Screening(spec)
        self.anonymizer = cast("BatchAnonymizer", build_anonymizer(spec.method, spec.schema, spec.key))

    def run(self, rows: pa.RecordBatch) -> tuple[Released, Screened]:
        """What may leave of one microflow, and what was found in it."""
        screened = self._screening.screen(rows)
        return self.anonymizer.anonymize(screened.rows), screened

    def run_morsel(self, morsel: Morsel) -> tuple[Released, Screened]:
        """The same of several microflows: as if each had been run, one after the other."""
        if len(morsel.places) == 1 or self.anonymizer.scope is not Scope.MICROFLOW:
            return self.run(morsel.rows)
        screened = self._screening.screen(morsel.rows)
        bounds = [0, *np.searchsorted(screened.kept, ends_of(morsel.places)).tolist()]
        parts = [self.anonymizer.anonymize(screened.rows.slice(first, end - first)) for first, end in pairwise(bounds)]
        kept = [first + part.kept for first, part in zip(bounds, parts, strict=False)]
        rows = pa.concat_batches([part.rows for part in parts])
        return Released(rows, np.concatenate(kept), screened.rows.num_rows), screened


def warm_up(spec: ProcessingSpec, rows: pa.RecordBatch, screening: Screening | None = None) -> None:
    """Run everything once on copies that are thrown away: lazy imports and first-use caches are not processing.

    ``screening`` has no state and is warmed itself; compiling another one takes longer than a morsel.
    """
    kernel = BatchKernel(spec, screening)
    if spec.method.method is Method.K_ANONYMITY:
        from microflow.anonymize.classes import warm

        warm(spec.schema)
    if isinstance(kernel.anonymizer, DatasetAnonymizer):
        kernel.anonymizer.observe(rows)
        kernel.anonymizer.freeze()
    kernel.run(rows)


def warm_up_counting(spec: ProcessingSpec, rows: pa.RecordBatch, screening: Screening) -> None:
    """The same for who counts for data-set k-anonymity, and decides nothing."""
    anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
    anonymizer.observe(screening.screen(rows).rows)
    _ = anonymizer.counts


def warm_up_deciding(spec: ProcessingSpec) -> None:
    """The same for who merges counts and decides, and sees no row."""
    from microflow.anonymize.classes import warm

    warm(spec.schema)
    counting, deciding = (cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema)) for _ in range(2))
    counting.observe(pa.RecordBatch.from_pylist([], schema=spec.schema.arrow))
    deciding.merge(counting.counts)
    deciding.freeze()


def warmed(source: Iterable[Flow], clock: PhaseClock, warm: Callable[[pa.RecordBatch], object]) -> Iterator[Flow]:
    """What the source holds, read in pre-processing; the first one's rows are given to ``warm`` beforehand."""
    flows = clock.reading(source)
    for first in flows:
        with clock.pre():
            warm(first.rows)
        yield first
        yield from flows
