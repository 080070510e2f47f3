"""Both compiled checks of a policy on a data set: a microflow's columns at once, and one record; they find the same.

`BatchChecker` asks every rule as a Polars expression, in one pass over the batch; `RecordChecker` as a predicate of a
field's value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import lru_cache
from itertools import chain, count

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from microflow.compliance.conditions import FieldCondition, Predicate
from microflow.compliance.findings import Compiled, Findings, Target, Targets, TextField, Violation
from microflow.compliance.policy import Guard, Policy, load_policy
from microflow.descriptors import load_schema
from microflow.records import coerce
from microflow.schema import Column, DatasetSchema, Dtype, Record

__all__ = ["BatchChecker", "RecordChecker", "detailed_compliance_check", "plain_expressions"]

Rows = npt.NDArray[np.int32] | npt.NDArray[np.int64]
#: Four rows: the microflow's row, the target, start and end; a column is a finding.
Spans = npt.NDArray[np.int32]


class BatchChecker(Compiled):
    """Check of microflows: a policy compiled for a data set, without state between microflows.

    Raises:
        PolicyError: a rule asks something of a column that has no such type.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        super().__init__(policy, schema)
        compiled = Targets(policy, schema)
        self.targets: tuple[Target, ...] = compiled.all
        self._plain = np.array([index for index, *_ in compiled.plain], np.int32)
        self._texts = compiled.texts
        named = (name for field in compiled.texts for name in field.own.named)
        self._fields = list(dict.fromkeys([*compiled.fields, *named]))
        shared = _asked_often(compiled)
        self._shared = [
            condition.forms(policy.reference_date).expression(pl.col(field)).alias(name)
            for (field, condition), name in shared.items()
        ]
        self._expressions = [
            *plain_expressions(compiled, shared),
            *chain.from_iterable(_looks(field) for field in compiled.texts),
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
            _spans(rows, frame[field.name], field, at[which == number], at[which == number + 1])
            for number, field in zip(count(len(self._plain), 2), self._texts, strict=False)
        ]
        return _findings(rows.num_rows, at[plain], self._plain[which[plain]], spans)

    def violations(self, findings: Findings) -> list[tuple[int, Violation]]:
        """Row position and violation of every finding."""
        targets = self.targets
        columns = (findings.rows, findings.targets, findings.starts, findings.ends)
        entries = zip(*(column.tolist() for column in columns), strict=True)
        return [(row, targets[index].violation(start, end)) for row, index, start, end in entries]


#: A field, and which coded words it is asked for.
Question = tuple[str, FieldCondition]


def plain_expressions(targets: Targets, shared: Mapping[Question, str] | None = None) -> list[pl.Expr]:
    """A boolean expression, never null, for each rule that looks at a field as a whole.

    ``shared`` names the columns in which the answer to a question is already.
    """
    reference, columns = targets.policy.reference_date, shared or {}

    def answer(field: str, dtype: Dtype, condition: FieldCondition) -> pl.Expr:
        if condition.word == "not_one_of":
            return ~answer(field, dtype, FieldCondition("one_of", condition.argument))
        if (field, condition) in columns:
            return pl.col(columns[field, condition])
        return condition.forms(reference, dtype).expression(pl.col(field))

    expressions = []
    for index, target, condition in targets.plain:
        broken = answer(target.field, target.dtype, condition).fill_null(value=False)
        for guard, column in target.guards:
            holds = pl.lit(guard.condition.word == "missing")
            if column is not None:
                holds = answer(column.name, column.dtype, guard.condition).fill_null(value=False)
            broken &= holds if guard.holds else ~holds
        expressions.append(broken.alias(str(index)))
    return expressions


def _asked_often(targets: Targets) -> dict[Question, str]:
    """Questions (a field, coded words) that several rules ask, each with a name: to answer them once is enough."""
    asked = [(target.field, condition) for _, target, condition in targets.plain]
    guards = (guard for _, target, _ in targets.plain for guard in target.guards)
    asked += [(column.name, guard.condition) for guard, column in guards if column is not None]
    questions = Counter(
        (field, FieldCondition("one_of", condition.argument))
        for field, condition in asked
        if condition.word in {"one_of", "not_one_of"}
    )
    often = (question for question, times in questions.items() if times > 1)
    return {question: f"\0{number}" for number, question in enumerate(often)}


def _looks(field: TextField) -> tuple[pl.Expr, pl.Expr]:
    """Texts that bear a clue; and those in which a name of the record may stand, or all, for a language model."""
    text = pl.col(field.name)
    clue = field.scanner.bears_clue(text, any_digit=bool(field.own.columns)).fill_null(value=False)
    named = field.own.may_be_named(text) if field.recogniser is None else text.is_not_null()
    return clue.alias(f"\0clue {field.name}"), named.alias(f"\0named {field.name}")


def _spans(rows: pa.RecordBatch, texts: pl.Series, field: TextField, clues: Rows, named: Rows) -> Spans:
    """Row, target, start and end of every identifier in a text column.

    The scalar check decides. It sees only rows whose text holds a clue or may hold a name of the record; only of those
    are the record's own columns read.
    """
    own = rows.select(field.own.columns)
    has_clue, looked_at = np.zeros((2, rows.num_rows), np.bool_)
    has_clue[clues] = looked_at[clues] = looked_at[named] = True
    at = np.flatnonzero(looked_at)
    found: Iterable[tuple[int, int, int, int]] = ()
    if len(at) and field.recogniser is None and all(column.null_count == rows.num_rows for column in own.columns):
        found = field.findings_in(texts.gather(at).to_list())
    elif len(at):
        found = field.findings_of_records(pl.DataFrame(own).with_columns(texts)[at], has_clue[at])
    columns = np.fromiter(chain.from_iterable(found), np.int32).reshape(-1, 4).T
    return np.vstack([at[columns[:1]], columns[1:]], dtype=np.int32)


def _findings(checked: int, rows: Rows, targets: Rows, spans: Sequence[Spans]) -> Findings:
    """Whole fields and spans, merged: by row, then target, then position."""
    unknown = np.full(len(rows), -1, np.int32)
    found = np.concatenate([np.array([rows, targets, unknown, unknown], np.int32), *spans], axis=1)
    found = found[:, np.lexsort((found[2], found[1], found[0]))]
    return Findings(checked, found[0], found[1].astype(np.int16), found[2], found[3])


class RecordChecker(Compiled):
    """Check of single records: a policy compiled for a data set; finds the same as `BatchChecker`.

    Records hold values of the schema's types (`microflow.records.coerce` makes them so); a field that is not in the
    record counts as null.

    Raises:
        PolicyError: a rule asks something of a column that has no such type.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        super().__init__(policy, schema)
        compiled = Targets(policy, schema)
        self.targets: tuple[Target, ...] = compiled.all
        self._absent: list[tuple[str, int, tuple[Predicate, ...]]] = []
        self._present: list[tuple[str, int, Predicate, tuple[Predicate, ...]]] = []
        for index, target, condition in compiled.plain:
            guards = tuple(_guard(guard, column, policy.reference_date) for guard, column in target.guards)
            if condition.word == "missing":
                self._absent.append((target.field, index, guards))
            else:
                broken = condition.forms(policy.reference_date).predicate
                self._present.append((target.field, index, broken, guards))
        self._texts = [(field.name, field.findings) for field in compiled.texts]
        self._whole = [target.violation() for target in self.targets]

    def check(self, record: Record) -> list[Violation]:
        """Every violation of one record, by rule, then by position."""
        found: list[tuple[int, int, int]] = []
        get = record.get
        for name, index, broken, guards in self._present:
            value = get(name)
            if value is not None and broken(value) and all(guard(record) for guard in guards):
                found.append((index, -1, -1))
        for name, index, guards in self._absent:
            if get(name) is None and all(guard(record) for guard in guards):
                found.append((index, -1, -1))
        for name, findings in self._texts:
            if isinstance(text := get(name), str):
                found += findings(text, record)
        if not found:
            return []
        found.sort()
        whole, targets = self._whole, self.targets
        return [whole[i] if start < 0 else targets[i].violation(start, end) for i, start, end in found]


def _guard(guard: Guard, column: Column | None, reference: date) -> Predicate:
    """The guard as a predicate of a record; null satisfies ``missing`` and nothing else."""
    test, wanted = guard.condition.forms(reference).predicate, guard.holds
    null_holds = guard.condition.word == "missing"
    if column is None:
        return lambda _: null_holds is wanted
    name = column.name

    def applies(record: Record) -> bool:
        value = record.get(name)
        return (null_holds if value is None else test(value)) is wanted

    return applies


def detailed_compliance_check(record: Mapping[str, object], data_type: str) -> dict[str, object]:
    """Check one record against its data type's policy.

    ``record`` may hold strings as read from a file: values are converted to the data type's column types first. Fields
    whose value cannot be are named under ``unreadable``, and such a record is not compliant. The answer never
    repeats a value.

    Raises:
        SchemaError: there is no such data type.

    >>> answer = detailed_compliance_check({"record_id": 1, "ssn": "123-45-6789", "age": "old"}, "healthcare")
    >>> answer["compliant"], answer["violations"][0]["rule"], answer["violations"][0]["field"], answer["unreadable"]
    (False, 'hipaa-ssn', 'ssn', ['age'])
    """
    schema, checker = _compiled(data_type)
    values = coerce(record, schema)
    given = (name for name in schema.names if record.get(name) not in (None, ""))
    unreadable = [name for name in given if values[name] is None]
    violations = checker.check(values)
    return {
        "compliant": not violations and not unreadable,
        "data_type": data_type,
        "policy": schema.policy,
        "unreadable": unreadable,
        "violations": [violation._asdict() for violation in violations],
    }


@lru_cache(maxsize=16)
def _compiled(data_type: str) -> tuple[DatasetSchema, RecordChecker]:
    schema = load_schema(data_type)
    return schema, RecordChecker(load_policy(schema.policy), schema)
