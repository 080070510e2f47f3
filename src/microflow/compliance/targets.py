"""A policy laid over a data set: which rule looks at which field. Both checkers compile from this one table."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from microflow.compliance.conditions import Contains
from microflow.compliance.findings import Violation
from microflow.compliance.patterns import TextScanner
from microflow.compliance.policy import Policy, Rule
from microflow.schema import DatasetSchema, Dtype

__all__ = ["Target", "Targets", "TextField"]


@dataclass(frozen=True, slots=True)
class Target:
    """One rule on one field."""

    rule: Rule
    field: str

    def violation(self, start: int = -1, end: int = -1) -> Violation:
        """A violation of this rule in this field."""
        rule = self.rule
        return Violation(rule.id, self.field, rule.severity, rule.regulation, rule.article, start, end)


class TextField:
    """A field searched for identifiers: the scanner, and which targets each pattern speaks for."""

    def __init__(self, name: str, targets: list[tuple[int, str]]) -> None:
        self.name = name
        self.by_pattern: dict[str, list[int]] = defaultdict(list)
        for index, pattern in targets:
            self.by_pattern[pattern].append(index)
        self.scanner = TextScanner(self.by_pattern)

    def findings(self, text: str) -> list[tuple[int, int, int]]:
        """Target index, start and end of every finding in one text."""
        spans = self.scanner.spans(text)
        return [(index, start, end) for name, start, end in spans for index in self.by_pattern[name]]


class Targets:
    """All (rule, field) pairs of a policy on a data set, in the order of the rules, then of the columns."""

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self.policy = policy
        self.schema = schema
        self.all = tuple(
            Target(rule, column.name)
            for rule in policy.rules
            for column in rule.columns(schema)
            if not isinstance(rule.condition, Contains) or column.dtype is Dtype.STRING
        )

    @cached_property
    def plain(self) -> list[tuple[int, Target]]:
        """Those that look at a field as a whole."""
        return [(i, target) for i, target in enumerate(self.all) if not isinstance(target.rule.condition, Contains)]

    @cached_property
    def texts(self) -> list[TextField]:
        """Those that look inside text, a field at a time."""
        fields: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for index, target in enumerate(self.all):
            if isinstance(target.rule.condition, Contains):
                fields[target.field].append((index, target.rule.condition.pattern))
        return [TextField(name, targets) for name, targets in fields.items()]

    def guard_field(self, kind: str) -> str | None:
        """The first field of a kind, which a guard asks about."""
        found = self.schema.with_kind(kind)
        return found[0].name if found else None
