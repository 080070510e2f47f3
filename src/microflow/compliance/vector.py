"""The check of a microflow: every rule as a Polars expression, one pass over the batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.compliance.conditions import Missing
from microflow.compliance.findings import Findings, Violation
from microflow.compliance.policy import Policy
from microflow.compliance.targets import Compiled, PlainTarget, Target, Targets, TextField
from microflow.schema import DatasetSchema

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
        self._expressions = [
            *plain_expressions(compiled),
            *(
                field.scanner.bears_clue(pl.col(field.name)).fill_null(value=False).alias(field.name)
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
        # In sequence: handing ten small expressions to another thread costs more than they do.
        answers = frame.select_seq(self._expressions)
        # Column by column, as Polars hands them over, in one piece.
        which, at = np.divmod(np.flatnonzero(answers.to_numpy().T), rows.num_rows)
        plain = which < len(self._plain)
        spans = []
        for number, field in enumerate(self._texts, len(self._plain)):
            clues = at[which == number]
            closer = _closer(frame, field, clues)
            if len(closer):
                spans.append(_spans_of_records(frame, closer, field))
                clues = np.setdiff1d(clues, closer, assume_unique=True)
                spans.append(_spans(frame[field.name].gather(clues).to_list(), clues, field))
            else:
                spans.append(_spans(frame[field.name].filter(answers[field.name]).to_list(), clues, field))
        return _findings(rows.num_rows, at[plain], self._plain[which[plain]], spans)

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


def _spans(texts: Sequence[str], rows: Rows, field: TextField) -> Spans:
    """Row, target, start and end of every identifier in the candidate texts of a column, which stand in ``rows``.

    The scanner, the same that the scalar check uses, decides.
    """
    found = np.fromiter(chain.from_iterable(field.findings_in(texts) if texts else ()), np.int32).reshape(-1, 4).T
    return np.vstack([rows[found[:1]], found[1:]], dtype=np.int32)


def _closer(frame: pl.DataFrame, field: TextField, clues: Rows) -> Rows:
    """The rows of a text, ascending, in which own identifiers of the record may stand: to be looked at one by one."""
    if field.recogniser is not None:
        return frame[field.name].is_not_null().arg_true().to_numpy().astype(np.int64)
    looked_at = np.zeros(frame.height, np.bool_)
    named = [name for name in field.own.named if frame[name].null_count() < frame.height]
    if named:
        there = pl.any_horizontal(pl.col(name).is_not_null() for name in named) & pl.col(field.name).is_not_null()
        at = frame.select_seq(there.arg_true()).to_series().to_numpy()
        if len(at):
            likely = frame.select([field.name, *named])[at].select_seq(field.own.likely(field.name, named))
            looked_at[at] = likely.to_series().to_numpy()
    numbered = [name for name in field.own.numbered if frame[name].null_count() < frame.height]
    if numbered and len(clues):
        likely = frame.select([field.name, *numbered])[clues].select_seq(field.own.likely(field.name, numbered))
        looked_at[clues] |= likely.to_series().to_numpy()
    return np.flatnonzero(looked_at)


def _spans_of_records(frame: pl.DataFrame, at: Rows, field: TextField) -> Spans:
    """The same for texts in which the records' own identifiers are looked for, too."""
    texts = frame[field.name].gather(at).to_list()
    own = [frame[name].gather(at).to_list() for name in field.own.columns]
    found = np.array(field.findings_of_records(texts, own), np.int32).reshape(-1, 4).T
    return np.vstack([at[found[:1]], found[1:]], dtype=np.int32)


def _findings(checked: int, rows: Rows, targets: Rows, spans: Sequence[Spans]) -> Findings:
    """Whole fields and spans, merged: by row, then target, then position."""
    unknown = np.full(len(rows), -1, np.int32)
    found = np.concatenate([np.array([rows, targets, unknown, unknown], np.int32), *spans], axis=1)
    found = found[:, np.lexsort((found[2], found[1], found[0]))]
    return Findings(checked, found[0], found[1].astype(np.int16), found[2], found[3])
