"""What a record check looks like before anybody compiles it: rule objects in a loop, each looking at its fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from microflow.compliance import Policy, Rule, Violation
from microflow.compliance.conditions import Contains, Missing
from microflow.compliance.patterns import PATTERNS
from microflow.schema import DatasetSchema, Record, Value

__all__ = ["NaiveChecker"]


@dataclass
class _NaiveRule:
    """One rule with its expressions compiled and its condition ready to ask, and nothing shared with other rules."""

    rule: Rule
    schema: DatasetSchema
    policy: Policy

    def __post_init__(self) -> None:
        condition = self.rule.condition
        self.fields = [column.name for column in self.rule.columns(self.schema)]
        pattern = condition.pattern if isinstance(condition, Contains) else None
        self.searches = [
            (re.compile(one.expression, re.ASCII).finditer, one.measure) for one in PATTERNS if one.name == pattern
        ]
        self.broken = None if isinstance(condition, Contains) else condition.predicate(self.policy.reference_date)

    def check(self, record: Record) -> list[Violation]:
        rule = self.rule
        return [
            Violation(rule.id, field, rule.severity, rule.regulation, rule.article, start, end)
            for field in self.fields
            for start, end in self._places(record.get(field))
        ]

    def _places(self, value: Value) -> Iterator[tuple[int, int]]:
        if self.broken is not None:
            asks_for_null = isinstance(self.rule.condition, Missing)
            if asks_for_null if value is None else self.broken(value):
                yield -1, -1
        elif isinstance(value, str):
            for matches, measure in self.searches:
                yield from (match.span() for match in matches(value) if measure(match))


class NaiveChecker:
    """Every rule asked of every record, in turn.

    Guards are not supported, since the policy measured has none, and neighbours do not compete: a span may lack what
    stands in front of a mark, or be found twice. Which rules a record breaks is what the compiled check says, too.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self.rules = [_NaiveRule(rule, schema, policy) for rule in policy.rules]

    def check(self, record: Record) -> list[Violation]:
        """Every violation, by rule."""
        return [violation for rule in self.rules for violation in rule.check(record)]
