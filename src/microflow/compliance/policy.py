"""A policy: rules as data, read from YAML and checked word by word.

Four ship with the package (``hipaa``, ``gdpr``, ``pci_dss``, ``combined``); a user's own is a path. A rule names what
it protects from what::

    - id: hipaa-ssn                        # unique, lower-case, the regulation first
      title: Social security numbers
      article: 45 CFR 164.514(b)(2)(i)(G)
      severity: critical                   # low, medium, high, critical
      applies_to: {kinds: [ssn]}           # or roles: [...], or columns: [...]
      condition: {present: true}           # one word of the vocabulary
      when: [{kind: legal_basis, one_of: [consent]}]   # optional; all must hold in the same record
      remedy: blank
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from microflow.compliance.conditions import CONDITIONS, Condition, Contains, parse_condition
from microflow.errors import PolicyError
from microflow.schema import KINDS, Column, DatasetSchema, Role

__all__ = ["REMEDIES", "Guard", "Policy", "Rule", "load_policy", "policy_names"]

SEVERITIES = ("low", "medium", "high", "critical")
#: What can be done about a violation; `microflow.compliance.remedy` does it.
REMEDIES = ("blank", "redact", "mask_card", "zip3", "year", "top_code_90", "two_decimals", "suppress_record")

_TOP = ("name", "title", "regulation", "reference_date", "include", "rules")
_RULE = ("id", "title", "regulation", "article", "severity", "applies_to", "condition", "when", "remedy")
_SELECTORS = ("kinds", "roles", "columns")


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on another field of the same record; a kind the data set lacks counts as missing."""

    kind: str
    condition: Condition


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
    when: tuple[Guard, ...] = ()

    def columns(self, schema: DatasetSchema) -> tuple[Column, ...]:
        """The columns of this data set that the rule applies to; none if it has no such column."""
        return tuple(
            column
            for column in schema.columns
            if column.kind in self.kinds or column.role in self.roles or column.name in self.names
        )


@dataclass(frozen=True)
class Policy:
    """Rules in order, and the date they are applied as of."""

    name: str
    title: str
    rules: tuple[Rule, ...]
    reference_date: date

    def at(self, reference_date: date) -> Policy:
        """The same rules as of another date."""
        return replace(self, reference_date=reference_date)

    def __getitem__(self, rule_id: str) -> Rule:
        for rule in self.rules:
            if rule.id == rule_id:
                return rule
        raise PolicyError(f"policy {self.name!r} has no rule {rule_id!r}")


def policy_names() -> tuple[str, ...]:
    """Names of the policies that ship with the package, sorted."""
    shipped = resources.files(__package__).joinpath("policies").iterdir()
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in shipped if entry.name.endswith(".yaml")))


def load_policy(name_or_path: str | Path) -> Policy:
    """Load a shipped policy by name, or any by path.

    Raises:
        PolicyError: not found, not YAML, or a word outside the vocabulary; names file, rule and the words allowed.

    >>> load_policy("hipaa")["hipaa-ssn"].article
    '45 CFR 164.514(b)(2)(i)(G)'
    """
    text, place = _read(str(name_or_path))
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PolicyError("not readable as YAML", path=place, line=mark and mark.line + 1) from error
    return _Reader(place).policy(document)


def _read(name: str) -> tuple[str, str]:
    if name in policy_names():
        return resources.files(__package__).joinpath("policies", f"{name}.yaml").read_text("utf-8"), f"{name}.yaml"
    try:
        return Path(name).read_text("utf-8"), name
    except (OSError, UnicodeDecodeError, ValueError) as error:
        shipped = ", ".join(policy_names())
        raise PolicyError(
            f"no policy {name!r}", hint=f"shipped are: {shipped}; or give a readable YAML file"
        ) from error


class _Reader:
    """Turns the parsed document into objects, remembering the place for its errors."""

    def __init__(self, place: str) -> None:
        self.place = place

    def policy(self, document: object) -> Policy:
        top = self._mapping(document, "the policy", _TOP)
        included = [load_policy(str(name)) for name in self._list(top.get("include"), "include")]
        regulation = str(top.get("regulation") or top.get("name") or "own")
        own = [self._rule(spec, regulation) for spec in self._list(top.get("rules"), "rules")]
        rules = tuple(rule for policy in included for rule in policy.rules) + tuple(own)
        if not rules:
            raise self._error("the policy has no rules")
        self._refuse_doubles(rules)
        reference = top.get("reference_date") or (included[0].reference_date if included else None)
        if not isinstance(reference, date):
            raise self._error("'reference_date' must be a date such as 2026-01-01")
        name = str(top.get("name") or Path(self.place).stem)
        return Policy(name, str(top.get("title") or name), rules, reference)

    def _rule(self, document: object, regulation: str) -> Rule:
        spec = self._mapping(document, "a rule", _RULE)
        rule = str(spec.get("id") or "")
        if not rule:
            raise self._error("a rule has no 'id'")
        selected = self._mapping(spec.get("applies_to"), f"rule {rule!r}: applies_to", _SELECTORS)
        kinds = self._words(rule, "kind", selected.get("kinds"), KINDS)
        roles = self._words(rule, "role", selected.get("roles"), [str(role) for role in Role])
        names = [str(name) for name in self._list(selected.get("columns"), "columns")]
        if not (kinds or roles or names):
            raise self._error(f"rule {rule!r} applies to nothing: name kinds, roles or columns")
        condition = self._condition(rule, spec.get("condition"))
        guards = tuple(self._guard(rule, guard) for guard in self._list(spec.get("when"), "when"))
        if guards and isinstance(condition, Contains):
            raise self._error(f"rule {rule!r}: 'contains' cannot be combined with 'when'")
        return Rule(
            id=rule,
            title=str(spec.get("title") or rule),
            regulation=str(spec.get("regulation") or regulation),
            article=str(spec.get("article") or ""),
            severity=self._word(rule, "severity", spec.get("severity", "medium"), SEVERITIES),
            kinds=frozenset(kinds),
            roles=frozenset(Role(role) for role in roles),
            names=frozenset(names),
            condition=condition,
            remedy=self._word(rule, "remedy", spec.get("remedy"), REMEDIES),
            when=guards,
        )

    def _guard(self, rule: str, document: object) -> Guard:
        spec = self._mapping(document, f"rule {rule!r}: when", ("kind", *CONDITIONS))
        kind = self._word(rule, "kind", spec.get("kind"), KINDS)
        return Guard(kind, self._condition(rule, {word: spec[word] for word in spec if word != "kind"}))

    def _condition(self, rule: str, document: object) -> Condition:
        spec = self._mapping(document, f"rule {rule!r}: condition", tuple(CONDITIONS))
        if len(spec) != 1:
            raise self._error(f"rule {rule!r}: a condition is exactly one word", CONDITIONS)
        ((word, argument),) = spec.items()
        condition = parse_condition(word, argument)
        if isinstance(condition, str):
            raise self._error(f"rule {rule!r}: {condition}")
        return condition

    def _words(self, rule: str, what: str, words: object, allowed: Iterable[str]) -> list[str]:
        return [self._word(rule, what, word, allowed) for word in self._list(words, f"{what}s")]

    def _word(self, rule: str, what: str, word: object, allowed: Iterable[str]) -> str:
        if word not in (options := sorted(allowed)):
            raise self._error(f"rule {rule!r}: unknown {what} {word!r}", options)
        return str(word)

    def _list(self, document: object, what: str) -> list[Any]:
        if not isinstance(document, list | None):
            raise self._error(f"{what!r} must be a list")
        return document or []

    def _mapping(self, document: object, what: str, allowed: Iterable[str]) -> Mapping[str, Any]:
        if not isinstance(document, dict):
            raise self._error(f"{what} must be a mapping", allowed)
        unknown = [key for key in document if key not in allowed]
        if unknown:
            raise self._error(f"{what}: unknown word {str(unknown[0])!r}", allowed)
        return document

    def _refuse_doubles(self, rules: tuple[Rule, ...]) -> None:
        ids = [rule.id for rule in rules]
        if doubled := sorted({rule for rule in ids if ids.count(rule) > 1}):
            raise self._error(f"rule {doubled[0]!r} is defined twice")

    def _error(self, message: str, allowed: Iterable[str] = ()) -> PolicyError:
        words = ", ".join(allowed)
        return PolicyError(message, path=self.place, hint=f"allowed are: {words}" if words else "")
