"""Reading policies from YAML, word by word: nothing outside the vocabulary gets in, and an error says what would.

Four policies ship with the package (``hipaa``, ``gdpr``, ``pci_dss``, ``combined``); a user's own is a path::

    name: clinic
    reference_date: 2026-01-01             # what 'expired' is asked of; never the wall clock
    recogniser: spacy:en_core_web_sm       # optional: a language model that finds names in prose, too
    include: [hipaa, ./house-rules.yaml]   # shipped names, or files relative to this one
    rules:
      - id: hipaa-ssn                      # unique, lower-case, the regulation first
        title: Social security numbers
        article: 45 CFR 164.514(b)(2)(i)(G)
        severity: critical                 # low, medium, high, critical
        applies_to: {kinds: [ssn]}         # and/or roles: [...], columns: [...]
        condition: {present: true}         # one word of the vocabulary
        when: [{kind: legal_basis, one_of: [consent]}]      # optional: all of these hold in the same record
        unless: [{kind: consent_status, one_of: [granted]}] # optional: none of these holds
        remedy: blank
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from microflow.compliance.conditions import Condition, Contains
from microflow.compliance.policy import Guard, Policy, Rule
from microflow.compliance.vocabulary import REMEDIES, SEVERITIES, WORDS, cures, parse_condition
from microflow.errors import PolicyError
from microflow.schema import KINDS, Role

__all__ = ["read_policy", "shipped"]

_TOP = ("name", "title", "regulation", "reference_date", "recogniser", "include", "rules")
_RULE = ("id", "title", "regulation", "article", "severity", "applies_to", "condition", "when", "unless", "remedy")
_SELECTORS = ("kinds", "roles", "columns")
_RULE_ID = re.compile("[a-z0-9]+(?:-[a-z0-9]+)*")


def shipped() -> tuple[str, ...]:
    """Names of the policies in the package, sorted."""
    entries = resources.files(__package__).joinpath("policies").iterdir()
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml")))


def read_policy(name: str, including: tuple[str, ...] = ()) -> Policy:
    """The policy of this name or path; ``including`` are the places it is included from."""
    if name in including:
        raise PolicyError(f"policy {name!r} includes itself", hint=" → ".join((*including, name)))
    text, place = _text(name)
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PolicyError("not readable as YAML", path=place, line=mark and mark.line + 1) from error
    return _Reader(place, (*including, name)).policy(document)


def _text(name: str) -> tuple[str, str]:
    if name in shipped():
        return resources.files(__package__).joinpath("policies", f"{name}.yaml").read_text("utf-8"), f"{name}.yaml"
    try:
        return Path(name).read_text("utf-8"), name
    except (OSError, ValueError) as error:
        names = ", ".join(shipped())
        raise PolicyError(f"no policy {name!r}", hint=f"shipped are: {names}; or give a readable YAML file") from error


@dataclass(frozen=True, slots=True)
class _Reader:
    """Turns the parsed document into objects, remembering the place for its errors."""

    place: str
    including: tuple[str, ...]

    def policy(self, document: object) -> Policy:
        top = self._mapping(document, "the policy", _TOP)
        included = [self._included(str(name)) for name in self._list(top.get("include"), "include")]
        regulation = str(top.get("regulation") or top.get("name") or "own")
        own = [self._rule(spec, regulation) for spec in self._list(top.get("rules"), "rules")]
        rules = (*(rule for policy in included for rule in policy.rules), *own)
        if not rules:
            raise self._error("the policy has no rules")
        ids = [rule.id for rule in rules]
        if doubled := sorted({rule for rule in ids if ids.count(rule) > 1}):
            raise self._error(f"rule {doubled[0]!r} is defined twice")
        name = str(top.get("name") or Path(self.place).stem)
        recogniser = str(top.get("recogniser") or "")
        return Policy(name, str(top.get("title") or name), rules, self._reference(top, included), recogniser)

    def _included(self, name: str) -> Policy:
        path = name if name in shipped() else str(Path(self.place).parent / name)
        return read_policy(path, self.including)

    def _reference(self, top: Mapping[str, Any], included: list[Policy]) -> date:
        reference = top.get("reference_date") or (included[0].reference_date if included else None)
        if type(reference) is not date:  # a datetime is a date too, and is not meant
            raise self._error("'reference_date' must be a date such as 2026-01-01")
        return reference

    def _rule(self, document: object, regulation: str) -> Rule:
        spec = self._mapping(document, "a rule", _RULE)
        rule = str(spec.get("id") or "")
        if not _RULE_ID.fullmatch(rule):
            raise self._error(f"a rule's 'id' is lower-case words joined by '-', not {rule!r}")
        condition = self._condition(rule, spec.get("condition"))
        remedy = self._word(rule, "remedy", spec.get("remedy"), REMEDIES)
        if remedy not in cures(condition):
            raise self._error(f"rule {rule!r}: {remedy!r} leaves what the condition finds", cures(condition))
        kinds, roles, names = self._selected(rule, spec.get("applies_to"))
        guards = (*self._guards(rule, spec, "when"), *self._guards(rule, spec, "unless"))
        if guards and isinstance(condition, Contains):
            raise self._error(f"rule {rule!r}: 'contains' cannot be combined with 'when' or 'unless'")
        return Rule(
            id=rule,
            title=str(spec.get("title") or rule),
            regulation=str(spec.get("regulation") or regulation),
            article=str(spec.get("article") or ""),
            severity=self._word(rule, "severity", spec.get("severity", "medium"), SEVERITIES),
            kinds=kinds,
            roles=roles,
            names=names,
            condition=condition,
            remedy=remedy,
            guards=guards,
        )

    def _selected(self, rule: str, document: object) -> tuple[frozenset[str], frozenset[Role], frozenset[str]]:
        selected = self._mapping(document, f"rule {rule!r}: applies_to", _SELECTORS)
        chosen = {what: self._list(selected.get(what), what) for what in _SELECTORS}
        if not any(chosen.values()):
            raise self._error(f"rule {rule!r} applies to nothing: name kinds, roles or columns")
        kinds = [self._word(rule, "kind", kind, KINDS) for kind in chosen["kinds"]]
        roles = [Role(self._word(rule, "role", role, [str(r) for r in Role])) for role in chosen["roles"]]
        return frozenset(kinds), frozenset(roles), frozenset(str(name) for name in chosen["columns"])

    def _guards(self, rule: str, spec: Mapping[str, Any], clause: str) -> Iterable[Guard]:
        for document in self._list(spec.get(clause), clause):
            guard = self._mapping(document, f"rule {rule!r}: {clause}", ("kind", *WORDS))
            kind = self._word(rule, "kind", guard.get("kind"), KINDS)
            condition = self._condition(rule, {word: guard[word] for word in guard if word != "kind"})
            if isinstance(condition, Contains):
                raise self._error(f"rule {rule!r}: 'contains' cannot stand in {clause!r}")
            yield Guard(kind, condition, holds=clause == "when")

    def _condition(self, rule: str, document: object) -> Condition:
        spec = self._mapping(document, f"rule {rule!r}: condition", WORDS)
        if len(spec) != 1:
            raise self._error(f"rule {rule!r}: a condition is exactly one word", WORDS)
        ((word, argument),) = spec.items()
        condition = parse_condition(word, argument)
        if condition is None:
            raise self._error(f"rule {rule!r}: {word!r} takes {WORDS[word].takes}")
        return condition

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

    def _error(self, message: str, allowed: Iterable[str] = ()) -> PolicyError:
        words = ", ".join(allowed)
        return PolicyError(message, path=self.place, hint=f"allowed are: {words}" if words else "")
