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

__all__ = ["BatchChecker", "plain_expressions"]

Rows = npt.NDArray[np.int32]


class BatchChecker:
    """A policy compiled for a data set; give it microflows, in any number and order. Holds no state between them.

    Raises:
        PolicyError: a rule asks something of a column that has no such type.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self._spec = (policy, schema)
        compiled = Targets(policy, schema)
        self.targets: tuple[Target, ...] = compiled.all
        self._plain = np.array([target.index for target in compiled.plain], np.int32)
        self._texts = compiled.texts
        self._fields = list(compiled.fields)
        self._expressions = [
            *plain_expressions(compiled),
            *(
                field.scanner.bears_clue(pl.col(field.name)).fill_null(value=False).alias(field.name)
                for field in compiled.texts
            ),
        ]

    def __reduce__(self) -> tuple[type[BatchChecker], tuple[Policy, DatasetSchema]]:
        return type(self), self._spec  # a worker compiles for itself: expressions do not travel

    def check(self, rows: pa.RecordBatch) -> Findings:
        """The violations of one microflow, rows ascending; within a row by rule, then by position.

        ``rows`` has the data set's Arrow schema. Nothing is changed.
        """
        if not self._expressions:
            return Findings.none(rows.num_rows)
        # In sequence: handing ten small expressions to another thread costs more than they do.
        answers = pl.DataFrame(rows.select(self._fields)).select_seq(self._expressions).to_numpy()
        flagged = np.flatnonzero(answers.any(axis=1)).astype(np.int32)
        at, which = np.nonzero(answers[flagged])
        where, plain = flagged[at], which < len(self._plain)
        spans = []
        for number, field in enumerate(self._texts, len(self._plain)):
            spans += _scan(rows.column(field.name), where[which == number], field)
        return _findings(rows.num_rows, where[plain], self._plain[which[plain]], spans)

    def violations(self, findings: Findings) -> list[tuple[int, Violation]]:
        """Row position and violation of every finding."""
        targets = self.targets
        columns = (findings.rows, findings.targets, findings.starts, findings.ends)
        entries = zip(*(column.tolist() for column in columns), strict=True)
        return [(row, targets[index].violation(start, end)) for row, index, start, end in entries]


def plain_expressions(targets: Targets) -> list[pl.Expr]:
    """A boolean expression, never null, for each rule that looks at a field as a whole."""
    return [_expression(target, targets.policy.reference_date) for target in targets.plain]


def _expression(target: PlainTarget, reference: date) -> pl.Expr:
    broken = target.condition.expression(pl.col(target.field), target.dtype, reference).fill_null(value=False)
    for guard in target.guards:
        holds = pl.lit(isinstance(guard.condition, Missing))
        if guard.field is not None:
            holds = guard.condition.expression(pl.col(guard.field), guard.dtype, reference).fill_null(value=False)
        broken &= holds if guard.holds else ~holds
    return broken.alias(str(target.index))


def _scan(column: pa.Array, candidates: Rows, field: TextField) -> list[tuple[int, int, int, int]]:
    """Row, target, start and end of every identifier in the candidate rows of a text column.

    The scanner, the same that the scalar check uses, decides.
    """
    if not len(candidates):
        return []
    texts = column.take(pa.array(candidates)).to_pylist()
    rows = candidates.tolist()
    return [(rows[i], *finding) for i, *finding in field.findings_in(texts)]


def _findings(checked: int, rows: Rows, targets: Rows, spans: list[tuple[int, int, int, int]]) -> Findings:
    """Whole fields (by row, then target) and spans, merged."""
    unknown = np.full(len(rows), -1, np.int32)
    if not spans:
        return Findings(checked, rows, targets.astype(np.int16), unknown, unknown)
    inside = np.array(spans, np.int32).T
    rows, targets = np.concatenate([rows, inside[0]]), np.concatenate([targets, inside[1]])
    starts, ends = np.concatenate([unknown, inside[2]]), np.concatenate([unknown, inside[3]])
    order = np.lexsort((starts, targets, rows))
    return Findings(checked, rows[order], targets[order].astype(np.int16), starts[order], ends[order])
