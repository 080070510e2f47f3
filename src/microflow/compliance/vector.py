"""The check of a microflow: every rule as a Polars expression, one pass over the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.compliance.conditions import FieldCondition, Missing, NotOneOf, OneOf
from microflow.compliance.findings import Findings, Violation
from microflow.compliance.policy import Policy
from microflow.compliance.targets import Compiled, PlainTarget, Target, Targets, TextField
from microflow.schema import DatasetSchema, Dtype

__all__ = ["BatchChecker", "plain_expressions"]

Rows = npt.NDArray[np.int32] | npt.NDArray[np.int64]
#: Four rows: the microflow's row, the target, start and end; a column is a finding.
Spans = npt.NDArray[np.int32]


class BatchChecker(Compiled):
    """A policy compiled for a data set; give it microflows, in any number and order. Holds no state between them.

    Raises:
        PolicyError: a rule asks something of a column that has no such type.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        super().__init__(policy, schema)
        compiled = Targets(policy, schema)
        self.targets: tuple[Target, ...] = compiled.all
        self._plain = np.array([target.index for target in compiled.plain], np.int32)
        self._texts = compiled.texts
        self._fields = list(compiled.fields)
        shared = _asked_often(compiled)
        self._shared = [
            condition.expression(pl.col(field), Dtype.STRING, policy.reference_date).alias(name)
            for (field, condition), name in shared.items()
        ]
        self._expressions = [
            *plain_expressions(compiled, shared),
            *(
                field.scanner.bears_clue(pl.col(field.name), any_digit=bool(field.own.columns))
                .fill_null(value=False)
                .alias(field.name)
                for field in compiled.texts
            ),
        ]

    def check(self, rows: pa.RecordBatch) -> Findings:
        """The violations of one microflow, rows ascending; within a row by rule, then by position.

        ``rows`` has the data set's Arrow schema. Nothing is changed.
        """
        if not self._expressions:
            return Findings.none(rows.num_rows)
        frame = pl.DataFrame(rows.select(self._fields))
        if self._shared:
            frame = frame.with_columns_seq(self._shared)
        # In sequence: handing ten small expressions to another thread costs more than they do.
        answers = frame.select_seq(self._expressions)
        # Column by column, as Polars hands them over, in one piece.
        which, at = np.divmod(np.flatnonzero(answers.to_numpy().T), rows.num_rows)
        plain = which < len(self._plain)
        spans = [
            _spans(rows, frame[field.name], field, at[which == number])
            for number, field in enumerate(self._texts, len(self._plain))
        ]
        return _findings(rows.num_rows, at[plain], self._plain[which[plain]], spans)

    def violations(self, findings: Findings) -> list[tuple[int, Violation]]:
        """Row position and violation of every finding."""
        targets = self.targets
        columns = (findings.rows, findings.targets, findings.starts, findings.ends)
        entries = zip(*(column.tolist() for column in columns), strict=True)
        return [(row, targets[index].violation(start, end)) for row, index, start, end in entries]


def plain_expressions(targets: Targets, shared: Mapping[tuple[str, OneOf], str] | None = None) -> list[pl.Expr]:
    """A boolean expression, never null, for each rule that looks at a field as a whole.

    ``shared`` names the columns in which the answer to a question is already.
    """
    return [_expression(target, targets.policy.reference_date, shared or {}) for target in targets.plain]


def _asked_often(targets: Targets) -> dict[tuple[str, OneOf], str]:
    """Which fields hold which coded words is asked by several rules, and takes longest: once is enough."""
    asked = Counter(
        (field, OneOf(condition.words))
        for target in targets.plain
        for field, condition in [
            (target.field, target.condition),
            *((one.field, one.condition) for one in target.guards),
        ]
        if field is not None and isinstance(condition, OneOf | NotOneOf)
    )
    often = (question for question, times in asked.items() if times > 1)
    return {question: f"\0{number}" for number, question in enumerate(often)}


def _expression(target: PlainTarget, reference: date, shared: Mapping[tuple[str, OneOf], str]) -> pl.Expr:
    def answer(field: str, dtype: Dtype, condition: FieldCondition) -> pl.Expr:
        if isinstance(condition, NotOneOf):
            return ~answer(field, dtype, OneOf(condition.words))
        if isinstance(condition, OneOf) and (field, condition) in shared:
            return pl.col(shared[field, condition])
        return condition.expression(pl.col(field), dtype, reference)

    broken = answer(target.field, target.dtype, target.condition).fill_null(value=False)
    for guard in target.guards:
        holds = pl.lit(isinstance(guard.condition, Missing))
        if guard.field is not None:
            holds = answer(guard.field, guard.dtype, guard.condition).fill_null(value=False)
        broken &= holds if guard.holds else ~holds
    return broken.alias(str(target.index))


def _spans(rows: pa.RecordBatch, texts: pl.Series, field: TextField, clues: Rows) -> Spans:
    """Row, target, start and end of every identifier in a text column.

    What decides is that which the scalar check uses; here it is told which rows to look at: those whose texts bear a
    clue, and those in which a name of the record may stand.
    """
    own = [name for name in field.own.columns if rows.column(name).null_count < rows.num_rows]
    bears_clue = np.zeros(rows.num_rows, np.bool_)
    bears_clue[clues] = True
    at = np.flatnonzero(bears_clue | _with_names(rows, texts, field)) if own or field.recogniser is not None else clues
    if not len(at):
        return np.empty((4, 0), np.int32)
    looked_at = texts.gather(at).to_list()
    if own or field.recogniser is not None:
        taken = pl.DataFrame(rows.select(field.own.columns).take(pa.array(at)))
        values = [column.to_list() for column in taken]
        found = field.findings_of_records(looked_at, bears_clue[at].tolist(), values)
    else:
        found = field.findings_in(looked_at)
    columns = np.fromiter(chain.from_iterable(found), np.int32).reshape(-1, 4).T
    return np.vstack([at[columns[:1]], columns[1:]], dtype=np.int32)


def _with_names(rows: pa.RecordBatch, texts: pl.Series, field: TextField) -> npt.NDArray[np.bool_]:
    """The rows of a text in which own identifiers without a digit are looked for; or all, for a language model."""
    there = np.full(rows.num_rows, field.recogniser is not None)
    for name in field.own.named:
        if (column := rows.column(name)).null_count < rows.num_rows:
            there |= pl.Series(column.is_valid()).to_numpy()
    return there & texts.is_not_null().to_numpy() if there.any() else there


def _findings(checked: int, rows: Rows, targets: Rows, spans: Sequence[Spans]) -> Findings:
    """Whole fields and spans, merged: by row, then target, then position."""
    unknown = np.full(len(rows), -1, np.int32)
    found = np.concatenate([np.array([rows, targets, unknown, unknown], np.int32), *spans], axis=1)
    found = found[:, np.lexsort((found[2], found[1], found[0]))]
    return Findings(checked, found[0], found[1].astype(np.int16), found[2], found[3])
