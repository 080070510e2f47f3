"""The check of a microflow: every rule as a Polars expression, one pass over the batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.compliance.conditions import Missing
from microflow.compliance.findings import Findings, Violation
from microflow.compliance.patterns import MAY_IDENTIFY, rust
from microflow.compliance.policy import Guard, Policy
from microflow.compliance.targets import Target, Targets, TextField
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
        self._plain = [index for index, _ in self._compiled.plain]
        self._expressions = [self._expression(target).alias(str(i)) for i, target in self._compiled.plain]
        self._texts = [(field, rust(field.scanner.union)) for field in self._compiled.texts]

    def __reduce__(self) -> tuple[type[BatchChecker], tuple[Policy, DatasetSchema]]:
        return type(self), self._spec  # a worker compiles for itself: expressions do not travel

    def check(self, rows: pa.RecordBatch) -> Findings:
        """The violations of one microflow, rows ascending; within a row by rule, then by position.

        ``rows`` has the data set's Arrow schema. Nothing is changed.
        """
        frame = pl.DataFrame(rows)
        found = [(hits, index) for index, hits in zip(self._plain, self._hits(frame), strict=True) if len(hits)]
        spans = [span for field, union in self._texts for span in _scan(frame[field.name], field, union)]
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
        masks = frame.select(self._expressions)
        return [np.flatnonzero(mask).astype(np.int32) if mask.any() else _NOBODY for mask in masks.iter_columns()]

    def _expression(self, target: Target) -> pl.Expr:
        rule, reference = target.rule, self._compiled.policy.reference_date
        broken = rule.condition.expression(pl.col(target.field), reference)
        for guard in rule.when:
            broken &= self._guard(guard)
        return broken.fill_null(value=False)

    def _guard(self, guard: Guard) -> pl.Expr:
        field = self._compiled.guard_field(guard.kind)
        if field is None:
            return pl.lit(isinstance(guard.condition, Missing))
        return guard.condition.expression(pl.col(field), self._compiled.policy.reference_date)


def _scan(texts: pl.Series, field: TextField, union: str) -> list[tuple[int, int, int, int]]:
    """Row, target, start and end of every identifier in a text column.

    A cheap expression leaves the few texts that could hold one, the union of all patterns those that look like one, and
    the scanner, the same that the scalar check uses, decides.
    """
    if texts.null_count() == len(texts):
        return []
    candidates = texts.str.contains(MAY_IDENTIFY).fill_null(value=False).arg_true()
    if not len(candidates):
        return []
    likely = candidates.filter(texts.gather(candidates).str.contains(union))
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
