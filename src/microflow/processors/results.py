"""What engines make of the pure phase's answers, after the clock has stopped: bookkeeping, microflow by microflow."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from microflow.anonymize.contract import Released
from microflow.compliance import Findings, Violation
from microflow.compliance.targets import Targets
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.processors.kernel import Screened
from microflow.processors.morsels import Places, ends_of

__all__ = ["FindingsBuilder", "merge_findings", "results_of"]


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
