"""Kernel of the pure phase: check, remedy, anonymize. Every engine calls it.

A vectorised operation costs something before its first row; on a microflow of 1,000 rows that is as much as the rows
themselves. Engines that read ahead therefore hand the kernel a *morsel* (Leis et al., Morsel-Driven Parallelism, SIGMOD
2014) of up to two dozen microflows: of 8 to 48, that was fastest. The microflow stays the unit of everything else – of
equivalence classes where a method works by it, of findings, counts and commits – so what the kernel answers for a
morsel is counted, or cut, by microflow afterwards.

Memory only: nothing here opens, connects, waits or reads a clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, repeat, takewhile
from typing import TypeVar, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import BatchAnonymizer, DatasetAnonymizer, Method, Released, Scope
from microflow.compliance import BatchChecker, BatchRemedy, Findings, Violation
from microflow.compliance.findings import Targets
from microflow.engine.contract import Processed, ProcessingSpec
from microflow.records import Microflow
from microflow.settings import MICROFLOW_BYTES, MORSEL
from microflow.timing.clock import PhaseClock

__all__ = [
    "BatchKernel", "FindingsBuilder", "Morsel", "Screening", "absent", "merge_findings", "morsels", "placed",
    "portions", "results_of", "tally", "warm_up", "warm_up_counting", "warm_up_deciding", "warmed",
]  # fmt: skip

Flow = TypeVar("Flow", Microflow, "Morsel")
#: Bytes: just under what the C library can learn to keep.
_LARGEST_KEPT = 31 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Morsel:
    """Microflows that follow each other, from ``number`` and ``first_row`` on.

    ``ends`` (int64) holds for each microflow the position behind its last row; ``rows`` are the rows of all of them.
    """

    number: int
    first_row: int
    ends: npt.NDArray[np.int64]
    rows: pa.RecordBatch

    @classmethod
    def of(cls, flows: Sequence[Microflow]) -> Morsel:
        """The microflows as one; a single one is not copied."""
        rows = flows[0].rows if len(flows) == 1 else pa.concat_batches([flow.rows for flow in flows])
        return cls(flows[0].number, flows[0].first_row, np.cumsum([len(flow) for flow in flows], dtype=np.int64), rows)

    def __len__(self) -> int:
        return int(self.ends[-1]) if len(self.ends) else 0


def morsels(source: Iterable[Microflow], most: int = MORSEL) -> Iterator[Morsel]:
    """The source in morsels of ``most`` microflows (the last may have fewer), in order.

    >>> from microflow.records import microflows
    >>> flows = microflows([pa.record_batch({"n": list(range(7))})], size=2)
    >>> [morsel.ends.tolist() for morsel in morsels(flows, most=3)]
    [[2, 4, 6], [1]]
    """
    return map(Morsel.of, portions(source, repeat(most)))


def portions(source: Iterable[Microflow], sizes: Iterable[int]) -> Iterator[list[Microflow]]:
    """The source in lists of these lengths, each size asked for when its turn has come, until nothing is left.

    A list that holds more than half the text that fits into a microflow is full.

    >>> flow = Microflow(0, 0, pa.record_batch({}))
    >>> [len(portion) for portion in portions([flow] * 7, [1, 4, 4, 4])]
    [1, 4, 2]
    """
    flows = iter(source)
    return takewhile(len, (_portion(flows, size) for size in sizes))


def _portion(flows: Iterator[Microflow], size: int) -> list[Microflow]:
    portion, held = list[Microflow](), 0
    for flow in islice(flows, size):
        portion.append(flow)
        held += flow.text_bytes
        if held > MICROFLOW_BYTES // 2:
            break
    return portion


class Screening:
    """Check and remedy: the half of the work that is the same for every method."""

    def __init__(self, spec: ProcessingSpec) -> None:
        # The C library gives large blocks back to the system, and a new block is faulted in page by page: a quarter of
        # tokenization's time. It learns what to keep from the largest block freed so far, up to 32 MB (glibc's
        # M_MMAP_THRESHOLD): this is one, never touched.
        np.empty(_LARGEST_KEPT, np.uint8)
        self._checker = BatchChecker(spec.policy, spec.schema)
        self._remedy = BatchRemedy(spec.policy, spec.schema, spec.counted)

    def screen(self, rows: pa.RecordBatch) -> tuple[Released, Findings]:
        """Count the violations, then act on them: the rows that may go on, and what was found before."""
        findings = self._checker.check(rows)
        remedied, kept = self._remedy.apply(rows, findings)
        return Released(remedied, kept, rows.num_rows), findings


def placed(released: Released, screened: Released) -> Released:
    """Release of screened rows, with the positions that the rows had before the remedy."""
    return Released(released.rows, screened.kept[released.kept], screened.seen)


class BatchKernel:
    """The whole pure phase for methods that release a microflow by itself."""

    def __init__(self, spec: ProcessingSpec, screening: Screening | None = None) -> None:
        self._screening = screening or Screening(spec)
        self.anonymizer = cast("BatchAnonymizer", build_anonymizer(spec.method, spec.schema, spec.key))

    def run(self, rows: pa.RecordBatch) -> tuple[Released, Findings]:
        """Release of one microflow, and the findings in it; both name rows by their positions in the microflow."""
        screened, findings = self._screening.screen(rows)
        return placed(self.anonymizer.anonymize(screened.rows), screened), findings

    def run_morsel(self, morsel: Morsel) -> tuple[Released, Findings]:
        """Release of several microflows, as if each had been run, one after the other."""
        if len(morsel.ends) == 1 or self.anonymizer.scope is not Scope.MICROFLOW:
            return self.run(morsel.rows)
        screened, findings = self._screening.screen(morsel.rows)
        bounds = [0, *np.searchsorted(screened.kept, morsel.ends).tolist()]
        parts = [self.anonymizer.anonymize(screened.rows.slice(first, end - first)) for first, end in pairwise(bounds)]
        kept = [first + part.kept for first, part in zip(bounds, parts, strict=False)]
        released = Released(pa.concat_batches([part.rows for part in parts]), np.concatenate(kept), bounds[-1])
        return placed(released, screened), findings


def tally(
    ends: npt.NDArray[np.int64], positions: npt.NDArray[np.int64], findings: Findings, pure_ns: int
) -> npt.NDArray[np.int64]:
    """Counts of each microflow of a morsel (int64, n × 5): rows in, released, suppressed, violations, nanoseconds.

    ``positions`` are those of released rows; of ``pure_ns`` each microflow gets its share by rows, and they add up.
    """
    released = np.searchsorted(positions, ends)
    spent = pure_ns * ends // max(int(ends[-1]) if len(ends) else 0, 1)
    totals = np.stack([ends, released, ends - released, np.searchsorted(findings.rows, ends), spent], axis=1)
    return np.diff(totals, axis=0, prepend=0)


def absent(positions: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
    """The positions from 0 to ``rows`` that are not among these."""
    is_absent = np.ones(rows, np.bool_)
    is_absent[positions] = False
    return np.flatnonzero(is_absent)


def results_of(morsel: Morsel, released: Released, findings: Findings, pure_ns: int) -> Iterator[Processed]:
    """A morsel's results, cut into those of its microflows; rows and findings share the morsel's memory."""
    counts = tally(morsel.ends, released.kept, findings, pure_ns)
    ends = [[0] * counts.shape[1], *counts.cumsum(axis=0).tolist()]
    for number, ((row, kept, _, found, before), (end, kept_end, _, found_end, after)) in enumerate(pairwise(ends)):
        mine = released.kept[kept:kept_end] - row
        first_row = morsel.first_row + row
        yield Processed(
            number=morsel.number + number,
            first_row=first_row,
            rows_in=end - row,
            released=released.rows.slice(kept, kept_end - kept),
            ordinals=first_row + mine,
            suppressed=first_row + absent(mine, end - row),
            findings=findings.cut(found, found_end, row, end - row),
            pure_ns=after - before,
        )


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
    """Warm up a process that counts for data-set k-anonymity but decides no classes."""
    anonymizer = cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema))
    anonymizer.observe(screening.screen(rows)[0].rows)
    _ = anonymizer.counts


def warm_up_deciding(spec: ProcessingSpec) -> None:
    """Warm up a process that merges counts and decides classes but sees no row."""
    from microflow.anonymize.classes import warm

    warm(spec.schema)
    counting, deciding = (cast("DatasetAnonymizer", build_anonymizer(spec.method, spec.schema)) for _ in range(2))
    counting.observe(pa.RecordBatch.from_pylist([], schema=spec.schema.arrow))
    deciding.merge(counting.counts)
    deciding.freeze()


def warmed(source: Iterable[Flow], clock: PhaseClock, warm: Callable[[pa.RecordBatch], object]) -> Iterator[Flow]:
    """Microflows of a source, read in pre-processing; ``warm`` gets the rows of the first one beforehand."""
    flows = clock.reading(source)
    for first in flows:
        with clock.pre():
            warm(first.rows)
        yield first
        yield from flows


def merge_findings(first: Findings, second: Findings, rows_of_second: npt.NDArray[np.int64]) -> Findings:
    """Findings of two disjoint parts of a microflow; the second part's row ``i`` stood at ``rows_of_second[i]``."""
    rows = np.concatenate([first.rows, rows_of_second[second.rows].astype(np.int32)])
    order = np.argsort(rows, kind="stable")
    targets, starts, ends = (
        np.concatenate([getattr(first, name), getattr(second, name)])[order] for name in ("targets", "starts", "ends")
    )
    return Findings(first.checked, rows[order], targets, starts, ends)


class FindingsBuilder:
    """Builder of the columns that `BatchChecker` gives, from violations of single records."""

    def __init__(self, spec: ProcessingSpec) -> None:
        targets = Targets(spec.policy, spec.schema).all
        self._targets = {(target.rule.id, target.field): index for index, target in enumerate(targets)}

    def build(self, checked: int, violations: Iterable[tuple[int, Sequence[Violation]]]) -> Findings:
        """Findings of ``checked`` rows; ``violations`` are pairs of a row position and what was found there."""
        found = [
            (row, self._targets[violation.rule, violation.field], violation.start, violation.end)
            for row, of_record in violations
            for violation in of_record
        ]
        columns = np.array(found, np.int32).reshape(-1, 4).T
        return Findings(checked, columns[0], columns[1].astype(np.int16), columns[2], columns[3])
