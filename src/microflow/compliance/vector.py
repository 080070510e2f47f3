"""The check of a microflow: every rule as a Polars expression, one pass over the batch."""

from __future__ import annotations

from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.compliance.conditions import Missing
from microflow.compliance.findings import Findings, Violation
from microflow.compliance.policy import Policy
from microflow.compliance.targets import PlainTarget, Target, Targets, TextField
from microflow.schema import DatasetSchema

__all__ = ["BatchChecker"]

Rows = npt.NDArray[np.int32]

_NOBODY: Rows = np.empty(0, np.int32)


class BatchChecker:
    """A policy compiled for a data set; give it microflows, in any number and order. Holds no state between them."""

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self._spec = (policy, schema)
        self._compiled = Targets(policy, schema)
        self.targets: tuple[Target, ...] = self._compiled.all
        self._plain = [target.index for target in self._compiled.plain]
        self._expressions = [_expression(target, policy.reference_date) for target in self._compiled.plain]
        self._texts = self._compiled.texts

    def __reduce__(self) -> tuple[type[BatchChecker], tuple[Policy, DatasetSchema]]:
        return type(self), self._spec  # a worker compiles for itself: expressions do not travel

    def check(self, rows: pa.RecordBatch) -> Findings:
        """The violations of one microflow, rows ascending; within a row by rule, then by position.

        ``rows`` has the data set's Arrow schema. Nothing is changed.
        """
        frame = pl.DataFrame(rows)
        found = [(hits, index) for index, hits in zip(self._plain, self._hits(frame), strict=True) if len(hits)]
        spans = [span for field in self._texts for span in _scan(frame[field.name], field)]
        if not found and not spans:
            return Findings.none(len(frame))
        return _findings(len(frame), found, spans)

    def violations(self, findings: Findings) -> list[tuple[int, Violation]]:
        """Row position and violation of every finding."""
        targets = self.targets
        columns = (findings.rows, findings.targets, findings.starts, findings.ends)
        entries = zip(*(column.tolist() for column in columns), strict=True)
        return [(row, targets[index].violation(start, end)) for row, index, start, end in entries]

    def _hits(self, frame: pl.DataFrame) -> list[Rows]:
        """For every plain target the positions of the rows that break it."""
        if not self._expressions:
            return []
        masks = frame.select_seq(self._expressions)
        return [np.flatnonzero(mask).astype(np.int32) if mask.any() else _NOBODY for mask in masks.iter_columns()]


def _expression(target: PlainTarget, reference: date) -> pl.Expr:
    broken = target.condition.expression(pl.col(target.field), reference).fill_null(value=False)
    for guard in target.guards:
        holds = pl.lit(isinstance(guard.condition, Missing))
        if guard.field is not None:
            holds = guard.condition.expression(pl.col(guard.field), reference).fill_null(value=False)
        broken &= holds if guard.holds else ~holds
    return broken.alias(str(target.index))


def _scan(texts: pl.Series, field: TextField) -> list[tuple[int, int, int, int]]:
    """Row, target, start and end of every identifier in a text column.

    One expression leaves the few texts that look as if they held one; the scanner, the same that the scalar check uses,
    decides.
    """
    if texts.null_count() == len(texts):
        return []
    likely = texts.str.contains(field.scanner.sketch).fill_null(value=False).arg_true()
    found = zip(likely.to_list(), texts.gather(likely).to_list(), strict=True)
    return [(row, *finding) for row, text in found for finding in field.findings(text)]


def _findings(
    checked: int,
    hits: list[tuple[Rows, int]],
    spans: list[tuple[int, int, int, int]],
) -> Findings:
    inside = np.array(spans, np.int32).reshape(-1, 4)
    whole = np.concatenate([_NOBODY, *(rows for rows, _ in hits)])
    unknown = np.full(len(whole), -1, np.int32)
    rows = np.concatenate([whole, inside[:, 0]])
    targets = np.concatenate([*(np.full(len(r), index, np.int32) for r, index in hits), inside[:, 1]])
    starts = np.concatenate([unknown, inside[:, 2]])
    ends = np.concatenate([unknown, inside[:, 3]])
    order = np.lexsort((starts, targets, rows))
    return Findings(checked, rows[order], targets[order].astype(np.int16), starts[order], ends[order])
