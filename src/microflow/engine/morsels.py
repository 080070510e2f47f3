"""Morsels: a few microflows worked on at once, where they are at hand.

A vectorised operation costs something before its first row; on a microflow of 1,000 rows that is as much as the rows
themselves. The engines that read ahead therefore hand the kernel a *morsel* (Leis et al., Morsel-Driven Parallelism,
SIGMOD 2014) of up to two dozen microflows: of 8 to 48, that was fastest. The microflow stays the unit of everything
else: of equivalence classes where a method works by it, of findings, results, commits and counts. What the kernel
answers for a morsel is therefore cut into the results of its microflows again, after the clock has stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise, repeat, takewhile
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Released
from microflow.compliance import Findings, Violation
from microflow.compliance.findings import Targets
from microflow.engine.contract import Processed, ProcessingSpec
from microflow.records import Microflow
from microflow.settings import MICROFLOW_BYTES, MORSEL

if TYPE_CHECKING:
    from microflow.engine.kernel import Screened

__all__ = [
    "FindingsBuilder", "Morsel", "Place", "Places", "ends_of", "merge_findings", "morsels", "portions", "results_of",
]  # fmt: skip


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


#: Those of a morsel, in order.
Places = tuple[Place, ...]


def ends_of(places: Places) -> npt.NDArray[np.int64]:
    """For each microflow of a morsel, the position behind its last row (int64, ascending).

    >>> ends_of((Place(7, 7_000, 1_000), Place(8, 8_000, 20))).tolist()
    [1000, 1020]
    """
    return np.cumsum([place.rows_in for place in places], dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Morsel:
    """Microflows that follow each other, and the rows of all of them."""

    places: Places
    rows: pa.RecordBatch

    @classmethod
    def of(cls, flows: Sequence[Microflow]) -> Morsel:
        """The microflows as one; a single one is not copied."""
        rows = flows[0].rows if len(flows) == 1 else pa.concat_batches([flow.rows for flow in flows])
        return cls(tuple(map(Place.of, flows)), rows)

    def __len__(self) -> int:
        return int(self.rows.num_rows)


def morsels(source: Iterable[Microflow], most: int = MORSEL) -> Iterator[Morsel]:
    """The source in morsels of ``most`` microflows (the last may have fewer), in order.

    >>> from microflow.records import microflows
    >>> flows = microflows([pa.record_batch({"n": list(range(7))})], size=2)
    >>> [len(morsel) for morsel in morsels(flows, most=3)]
    [6, 1]
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


def results_of(places: Places, released: Released, screened: Screened, pure_ns: int) -> Iterator[Processed]:
    """A morsel's results, cut into those of its microflows, with ordinals and suppressed rows worked out.

    Each microflow's ``pure_ns`` is its share by rows; they add up. Rows and findings share the morsel's memory.
    """
    positions, findings, ends = screened.kept[released.kept], screened.findings, ends_of(places)
    spent = pure_ns * ends // max(int(ends[-1]), 1)
    columns = (ends, np.searchsorted(positions, ends), np.searchsorted(findings.rows, ends), spent)
    bounds = pairwise([[0] * len(columns), *np.stack(columns, axis=1).tolist()])
    for place, ((row, kept, found, before), (_, kept_end, found_end, after)) in zip(places, bounds, strict=True):
        mine = positions[kept:kept_end] - row
        yield Processed(
            number=place.number,
            first_row=place.first_row,
            rows_in=place.rows_in,
            released=released.rows.slice(kept, kept_end - kept),
            ordinals=place.first_row + mine,
            suppressed=place.first_row + _missing(mine, place.rows_in),
            findings=findings.cut(found, found_end, row, place.rows_in),
            pure_ns=after - before,
        )


def _missing(positions: npt.NDArray[np.int64], rows: int) -> npt.NDArray[np.int64]:
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
