"""What a record check looks like before anybody compiles it: rule objects in a loop, each looking at its fields."""

from __future__ import annotations

from dataclasses import dataclass

from microflow.compliance import Policy, Rule, Violation
from microflow.compliance.conditions import Contains, Missing
from microflow.compliance.scanner import TextScanner
from microflow.schema import DatasetSchema, Record, Value

__all__ = ["NaiveChecker"]


@dataclass
class _NaiveRule:
    """One rule with its condition ready to ask; the fields are looked up record by record."""

    rule: Rule
    schema: DatasetSchema
    policy: Policy

    def __post_init__(self) -> None:
        condition = self.rule.condition
        self.fields = [column.name for column in self.rule.columns(self.schema)]
        self.scanner = TextScanner([condition.pattern]) if isinstance(condition, Contains) else None
        self.broken = None if isinstance(condition, Contains) else condition.predicate(self.policy.reference_date)

    def check(self, record: Record) -> list[Violation]:
        found = []
        for field in self.fields:
            for start, end in self._spans(record.get(field)):
                rule = self.rule
                found.append(Violation(rule.id, field, rule.severity, rule.regulation, rule.article, start, end))
        return found

    def _spans(self, value: Value) -> list[tuple[int, int]]:
        if self.scanner is not None:
            return [(start, end) for _, start, end in self.scanner.spans(value)] if isinstance(value, str) else []
        asks_for_null = isinstance(self.rule.condition, Missing)
        broken = self.broken is not None and (asks_for_null if value is None else self.broken(value))
        return [(-1, -1)] if broken else []


class NaiveChecker:
    """Every rule asked of every record, in turn; guards are not supported, since the policy measured has none."""

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self.rules = [_NaiveRule(rule, schema, policy) for rule in policy.rules]

    def check(self, record: Record) -> list[Violation]:
        """Every violation, by rule, then by position."""
        return [violation for rule in self.rules for violation in rule.check(record)]
