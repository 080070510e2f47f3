"""A policy: rules as data, applied as of a stated date.

`load_policy` reads one; `microflow.compliance.reading` says how a file is written and checked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from microflow.compliance.conditions import Condition, FieldCondition
from microflow.errors import PolicyError
from microflow.schema import Column, DatasetSchema, Role

__all__ = ["Guard", "Policy", "Rule", "load_policy", "policy_names"]


@dataclass(frozen=True, slots=True)
class Guard:
    """What must hold (``when``) or must not (``unless``, ``holds=False``) in another field of the same record.

    The field is the first of its kind in the data set; a kind the data set lacks counts as a missing value.
    """

    kind: str
    condition: FieldCondition
    holds: bool = True


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; `columns` says which fields of a data set it speaks of."""

    id: str
    title: str
    regulation: str
    article: str
    severity: str
    kinds: frozenset[str]
    roles: frozenset[Role]
    names: frozenset[str]
    condition: Condition
    remedy: str
    guards: tuple[Guard, ...] = ()

    def columns(self, schema: DatasetSchema) -> tuple[Column, ...]:
        """The columns of this data set that the rule applies to; none if it has no such column."""
        return tuple(
            column
            for column in schema.columns
            if column.kind in self.kinds or column.role in self.roles or column.name in self.names
        )


@dataclass(frozen=True)
class Policy:
    """Rules in order, and the date they are applied as of. Frozen and picklable; rule ids are unique."""

    name: str
    title: str
    rules: tuple[Rule, ...]
    reference_date: date
    recogniser: str = ""
    """What else finds names in prose, as `microflow.compliance.recognisers` calls it; nothing, unless asked for."""

    def at(self, reference_date: date) -> Policy:
        """The same rules as of another date.

        >>> load_policy("hipaa").at(date(2027, 1, 1)).reference_date.isoformat()
        '2027-01-01'
        """
        return replace(self, reference_date=reference_date)

    def __getitem__(self, rule_id: str) -> Rule:
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise PolicyError(f"policy {self.name!r} has no rule {rule_id!r}")


def policy_names() -> tuple[str, ...]:
    """Names of the policies that ship with the package, sorted.

    >>> policy_names()
    ('combined', 'gdpr', 'hipaa', 'pci_dss')
    """
    from microflow.compliance.reading import shipped  # the reader builds these classes

    return shipped()


def load_policy(name_or_path: str | Path) -> Policy:
    """Load a shipped policy by name, or any by path.

    Raises:
        PolicyError: not found, not YAML, or a word outside the vocabulary; names file, rule and the words allowed.

    >>> load_policy("hipaa")["hipaa-ssn"].article
    '45 CFR 164.514(b)(2)(i)(G)'
    """
    from microflow.compliance.reading import read_policy  # the reader builds these classes

    return read_policy(str(name_or_path))
