"""Violations, and the table of which rule checks which field.

Both checkers and both remedies are compiled from `Targets`. A finding names a rule and a place, never the value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from microflow.compliance.conditions import Condition, Contains, FieldCondition
from microflow.compliance.forms import pattern_of
from microflow.compliance.own import OwnIdentifiers, joined_spans
from microflow.compliance.policy import Guard, Policy, Rule
from microflow.compliance.scanner import Span, TextScanner, has_no_clue, load_recogniser
from microflow.errors import PolicyError
from microflow.schema import Column, DatasetSchema, Dtype, Role, Value

__all__ = ["Compiled", "Findings", "Target", "Targets", "TextField", "Violation"]


class Violation(NamedTuple):
    """One broken rule in one field of one record.

    ``start`` and ``end`` are code point offsets of the span inside a free text field, or -1 where the rule is about
    the whole field.
    """

    rule: str
    field: str
    severity: str
    regulation: str
    article: str
    start: int = -1
    end: int = -1


@dataclass(frozen=True, slots=True)
class Findings:
    """The violations of one microflow, as columns: entry ``i`` of each array describes one violation.

    ``rows`` (int32) are positions in the batch, ascending; ``targets`` (int16) index the checker's table of
    (rule, field) pairs; ``starts`` and ``ends`` (int32) are code point spans or -1. ``checked`` is the batch's length.
    """

    checked: int
    rows: npt.NDArray[np.int32]
    targets: npt.NDArray[np.int16]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def flagged(self) -> npt.NDArray[np.int32]:
        """Positions of the rows with at least one violation, ascending, each once."""
        return np.unique(self.rows)

    def cut(self, first: int, last: int, row: int, checked: int) -> Findings:
        """Entries ``first`` to before ``last``, as those of a batch of ``checked`` rows that began at ``row``."""
        mine = slice(first, last)
        rows = self.rows[mine] - np.int32(row)
        return Findings(checked, rows, self.targets[mine], self.starts[mine], self.ends[mine])

    @classmethod
    def none(cls, checked: int) -> Findings:
        """The findings of a batch without a violation."""
        empty = np.empty(0, np.int32)
        return cls(checked, empty, np.empty(0, np.int16), empty, empty)


class Compiled:
    """Base of what is compiled from a policy for a data set.

    A copy in another process compiles for itself there: expressions and closures do not travel.
    """

    def __init__(self, *sources: object) -> None:
        self._sources = sources

    def __reduce__(self) -> tuple[type[Self], tuple[object, ...]]:
        return type(self), self._sources


@dataclass(frozen=True, slots=True)
class Target:
    """One rule on one field of this type.

    ``guards`` are those of the rule, each with the column that it looks at: ``None`` where the data set has none, which
    counts as a missing value.
    """

    rule: Rule
    field: str
    dtype: Dtype
    guards: tuple[tuple[Guard, Column | None], ...] = ()

    def violation(self, start: int = -1, end: int = -1) -> Violation:
        """A violation of this rule in this field."""
        rule = self.rule
        return Violation(rule.id, self.field, rule.severity, rule.regulation, rule.article, start, end)


class TextField:
    """A field searched for identifiers: the scanner, the record's own identifiers, and which targets each speaks for.

    Attributes:
        name: The field.
        by_pattern: Indexes of the targets by the pattern that they ask for.
        scanner: Finds what has the form of an identifier.
        own: Finds what the record's other columns hold.
        recogniser: Finds names by a language model, where the policy names one.
    """

    def __init__(self, name: str, targets: list[tuple[int, Contains]], schema: DatasetSchema, recogniser: str) -> None:
        self.name = name
        self.by_pattern: dict[str, list[int]] = defaultdict(list)
        for index, condition in targets:
            self.by_pattern[condition.pattern].append(index)
        added = dict.fromkeys(condition for _, condition in targets if condition.forms)
        patterns = [pattern_of(condition.pattern, *form) for condition in added for form in condition.forms]
        self.scanner = TextScanner(self.by_pattern, patterns)
        self.own = OwnIdentifiers(schema, self.by_pattern if schema[name].role is Role.FREE_TEXT else ())
        self.recogniser = load_recogniser(recogniser) if recogniser and "name" in self.by_pattern else None

    def findings(self, text: str, record: Mapping[str, Value]) -> list[tuple[int, int, int]]:
        """Target index, start and end of every finding in one text of a record."""
        if has_no_clue(text):  # only a name, or another value of words, can be in it
            spans, columns = [], self.own.named
            if self.recogniser is None and not any(map(record.get, columns)):
                return []
        else:
            spans, columns = self.scanner.spans(text), self.own.columns
        spans = self._with_own(text, spans, [*map(record.get, columns)])
        return [(index, start, end) for name, start, end in spans for index in self.by_pattern[name]]

    def findings_in(self, texts: Sequence[str]) -> list[tuple[int, int, int, int]]:
        """Index of the text, target index, start and end of every finding in many texts, by patterns alone."""
        found = self.scanner.spans_in(texts)
        return [(text, index, start, end) for text, (name, start, end) in found for index in self.by_pattern[name]]

    def findings_of_records(self, rows: pl.DataFrame, clues: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int]]:
        """Findings in records whose text is not null; ``clues`` are flags of texts that may contain one."""
        texts = rows[self.name].to_list()
        bearing = np.flatnonzero(clues).tolist()
        by_text: dict[int, list[Span]] = defaultdict(list)
        for number, span in self.scanner.spans_in([texts[text] for text in bearing]):
            by_text[bearing[number]].append(span)
        chosen = np.arange(len(texts)) if self.recogniser else self.own.worth_a_look(rows, self.name, clues)
        values: Iterable[tuple[Value, ...]] = repeat(())
        if self.own.columns:
            values = rows[chosen].select(self.own.columns).iter_rows()
        for text, own in zip(chosen.tolist(), values, strict=False):
            by_text[text] = self._with_own(texts[text], by_text[text], own)
        return [
            (text, index, start, end)
            for text, spans in by_text.items()
            for name, start, end in spans
            for index in self.by_pattern[name]
        ]

    def findings_in_all(self, texts: Sequence[str], own: pl.DataFrame) -> dict[int, list[tuple[int, int, int]]]:
        """`findings` of many texts of records at once, by the text's index; ``own`` holds the records' own columns."""
        rows = own.with_columns(pl.Series(self.name, texts, pl.String))
        clues = rows.select(self.scanner.bears_clue(pl.col(self.name), any_digit=bool(self.own.columns)))
        found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for text, index, start, end in self.findings_of_records(rows, clues.to_series().to_numpy()):
            found[text].append((index, start, end))
        return found

    def _with_own(self, text: str, spans: list[Span], own: Sequence[Value]) -> list[Span]:
        if own and (found := self.own.spans(text, own)):
            spans = joined_spans(text, spans, found)
        return joined_spans(text, spans, self.recogniser(text)) if self.recogniser is not None else spans


class Targets:
    """Targets of a policy on a data set: all (rule, field) pairs, in the order of the rules, then of the columns.

    Raises:
        PolicyError: a rule asks something of a column that has no such type; never does it go unasked.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self.policy = policy
        self.schema = schema
        self.all = tuple(
            Target(rule, column.name, column.dtype, tuple((guard, self._guarded(rule, guard)) for guard in rule.guards))
            for rule in policy.rules
            for column in rule.columns(schema)
            if _is_askable(rule, rule.condition, column)
        )

    @property
    def plain(self) -> list[tuple[int, Target, FieldCondition]]:
        """Targets that check a field as a whole, each with its place in ``all``."""
        found = ((index, target, target.rule.condition) for index, target in enumerate(self.all))
        return [(index, target, asked) for index, target, asked in found if isinstance(asked, FieldCondition)]

    @cached_property
    def texts(self) -> tuple[TextField, ...]:
        """Targets that search inside text, grouped by field."""
        fields: dict[str, list[tuple[int, Contains]]] = defaultdict(list)
        for index, target in enumerate(self.all):
            if isinstance(target.rule.condition, Contains):
                fields[target.field].append((index, target.rule.condition))
        return tuple(TextField(name, targets, self.schema, self.policy.recogniser) for name, targets in fields.items())

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """The fields that rules look at, those of guards included, each once."""
        guards = (column.name for target in self.all for _, column in target.guards if column is not None)
        return tuple(dict.fromkeys([*(target.field for target in self.all), *guards]))

    def _guarded(self, rule: Rule, guard: Guard) -> Column | None:
        column = next(iter(self.schema.with_kind(guard.kind)), None)
        return column if column is not None and _is_askable(rule, guard.condition, column) else None


def _is_askable(rule: Rule, condition: Condition, column: Column) -> bool:
    if column.dtype in condition.takes:
        return True
    raise PolicyError(
        f"rule {rule.id!r} cannot be asked of column {column.name!r}, which holds a {column.dtype}",
        hint=f"describe the column as {' or '.join(sorted(condition.takes))}",
    )
