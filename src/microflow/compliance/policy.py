"""Policies: rules as data, read from YAML and applied as of a stated date; nothing outside the vocabulary gets in.

Four policies ship with the package (``hipaa``, ``gdpr``, ``pci_dss``, ``combined``); a user's own is a path::

    name: clinic
    reference_date: 2026-01-01             # what 'expired' is asked of; never the wall clock
    recogniser: spacy:en_core_web_sm       # optional: a language model that finds names in prose, too
    include: [hipaa, ./company-rules.yaml]   # shipped names, or files relative to this one
    patterns:                              # optional: what else 'contains' may find; see `forms`
      - {name: badge, form: "B-?[0-9]{6}", checksum: luhn}
    rules:
      - id: hipaa-ssn                      # unique, lower-case, the regulation first
        title: Social security numbers
        article: 45 CFR 164.514(b)(2)(i)(G)
        severity: critical                 # low, medium, high, critical
        applies_to: {kinds: [ssn]}         # and/or roles: [...], columns: [...]
        condition: {present: true}         # one word, such as {contains: badge} or {national_id: {country: DE}}
        when: [{kind: legal_basis, one_of: [consent]}]      # optional: all of these hold in the same record
        unless: [{kind: consent_status, one_of: [granted]}] # optional: none of these holds
        remedy: blank
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, cast

import msgspec

from microflow.compliance.conditions import REMEDIES, SEVERITIES, Condition, Contains, FieldCondition, cures
from microflow.compliance.forms import COUNTRIES, national_forms, own_forms
from microflow.compliance.patterns import PATTERN_NAMES
from microflow.errors import PolicyError
from microflow.schema import KINDS, Column, DatasetSchema, Role
from microflow.yaml_model import Document, read_named, shipped_names

__all__ = ["Guard", "Policy", "PolicyModel", "Rule", "load_policy", "policy_names"]

_SHIPPED = resources.files(__package__) / "policies"


@dataclass(frozen=True, slots=True)
class Guard:
    """Condition on another field of the same record: must hold (``when``) or not (``unless``, ``holds=False``).

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
    """The language model that finds names in prose, too, as `load_recogniser` calls it; none by default."""


def policy_names() -> tuple[str, ...]:
    """Names of the policies that ship with the package, sorted.

    >>> policy_names()
    ('combined', 'gdpr', 'hipaa', 'pci_dss')
    """
    return shipped_names(_SHIPPED)


def load_policy(name_or_path: str | Path) -> Policy:
    """Load a shipped policy by name, or any by path.

    Raises:
        PolicyError: not found, not YAML, or a word outside the vocabulary; names file, line, rule and the words
            allowed.

    >>> load_policy("hipaa").rules[0].article
    '45 CFR 164.514(b)(2)(i)(A)'
    """
    return _read(str(name_or_path), ())


_RULE_ID = re.compile("[a-z0-9]+(?:-[a-z0-9]+)*")
_PATTERN_NAME = re.compile("[a-z][a-z0-9]{0,30}(?:_[a-z0-9]{1,30}){0,5}")
_Kind = Annotated[str, msgspec.Meta(extra_json_schema={"enum": sorted(KINDS)})]
_Country = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(COUNTRIES)})]
_Severity = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(SEVERITIES)})]
_Remedy = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(REMEDIES)})]
_Decimals = Annotated[int, msgspec.Meta(ge=0, le=9)]
#: More days than any date has.
_Days = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
_Yes = Literal["true", "yes", "on"]


class NationalIdModel(msgspec.Struct):
    """``national_id:``; see `microflow.compliance.forms`."""

    country: _Country


class ConditionModel(msgspec.Struct, kw_only=True):
    """``condition:``, exactly one word; see `microflow.compliance.conditions`."""

    missing: _Yes | None = None
    present: _Yes | None = None
    contains: str | None = None
    national_id: NationalIdModel | None = None
    one_of: list[str] | None = None
    not_one_of: list[str] | None = None
    above: int | float | None = None
    decimals_above: _Decimals | None = None
    finer_than_year: _Yes | None = None
    zip_too_fine: _Yes | None = None
    expired: _Yes | None = None
    older_than_days: _Days | None = None


class GuardModel(ConditionModel, kw_only=True):
    """One entry of ``when:`` or ``unless:``, asked of the first field of this kind in the same record."""

    kind: _Kind


class SelectorsModel(msgspec.Struct):
    """``applies_to:``: a column of any of these kinds, roles or names."""

    kinds: list[_Kind] = []
    roles: list[Role] = []
    columns: list[str] = []


class RuleModel(msgspec.Struct, kw_only=True):
    """One entry of ``rules:``; see `microflow.compliance.policy.Rule`."""

    id: str
    condition: ConditionModel
    remedy: _Remedy
    applies_to: SelectorsModel
    title: str | None = None
    regulation: str | None = None
    article: str = ""
    severity: _Severity = "medium"
    when: list[GuardModel] = []
    unless: list[GuardModel] = []


class PatternModel(msgspec.Struct):
    """One entry of ``patterns:``; see `microflow.compliance.forms`."""

    name: str
    form: str
    checksum: str = ""


class PolicyModel(msgspec.Struct):
    """A whole policy; see `microflow.compliance.policy.Policy`."""

    name: str | None = None
    title: str | None = None
    regulation: str | None = None
    reference_date: date | None = None
    recogniser: str = ""
    include: list[str] = []
    patterns: list[PatternModel] = []
    rules: list[RuleModel] = []


def _read(name: str, including: tuple[str, ...]) -> Policy:
    """The policy of this name or path; ``including`` are the places it is included from."""
    if name in including:
        raise PolicyError(f"policy {name!r} includes itself", hint=" → ".join((*including, name)))
    document = read_named(name, _SHIPPED, PolicyModel, PolicyError, ("policy", "policies"))
    return _Builder(document, (*including, name)).policy()


@dataclass(frozen=True, slots=True)
class _Builder:
    """Makes objects of the document's models, whose words are known to be allowed ones."""

    document: Document[PolicyModel]
    including: tuple[str, ...]
    patterns: dict[str, Contains] = field(default_factory=dict)

    def policy(self) -> Policy:
        top, place = self.document.model, self.document.place
        for number, model in enumerate(top.patterns):
            self._add_pattern(model, "patterns", number)
        included = [self._included(name) for name in top.include]
        regulation = top.regulation or top.name or "own"
        own = [self._rule(model, regulation, "rules", number) for number, model in enumerate(top.rules)]
        rules = (*(rule for policy in included for rule in policy.rules), *own)
        if not rules:
            raise self.document.error("the policy has no rules")
        ids = [rule.id for rule in rules]
        if doubled := sorted({rule for rule in ids if ids.count(rule) > 1}):
            raise self.document.error(f"rule {doubled[0]!r} is defined twice")
        reference = top.reference_date or (included[0].reference_date if included else None)
        if reference is None:
            raise self.document.error("'reference_date' must be a date such as 2026-01-01")
        name = top.name or Path(place).stem
        return Policy(name, top.title or name, rules, reference, top.recogniser)

    def _add_pattern(self, model: PatternModel, *where: str | int) -> None:
        if not _PATTERN_NAME.fullmatch(model.name):
            raise self.document.error("a pattern's name is lower-case words joined by '_'", *where, "name")
        if model.name in {*PATTERN_NAMES, *self.patterns} or model.name.startswith("national_id"):
            raise self.document.error(f"a pattern {model.name!r} is there already", *where, "name")
        try:
            self.patterns[model.name] = Contains(model.name, own_forms(model.form, model.checksum))
        except ValueError as error:
            part = "checksum" if "checksum" in str(error) else "form"
            raise self.document.error(str(error), *where, part) from error

    def _included(self, name: str) -> Policy:
        path = name if name in policy_names() else str(Path(self.document.place).parent / name)
        return _read(path, self.including)

    def _rule(self, model: RuleModel, regulation: str, *where: str | int) -> Rule:
        if not _RULE_ID.fullmatch(model.id):
            raise self._error(model.id, "a rule's 'id' is lower-case words joined by '-'", *where, "id")
        condition = self._condition(model.id, model.condition, *where, "condition")
        if model.remedy not in cures(condition):
            message = f"{model.remedy!r} leaves what the condition finds"
            raise self._error(model.id, message, *where, "remedy", allowed=cures(condition))
        selectors = model.applies_to
        if not (selectors.kinds or selectors.roles or selectors.columns):
            raise self._error(model.id, "applies to nothing: name kinds, roles or columns", *where, "applies_to")
        guards = tuple(guard for clause in ("when", "unless") for guard in self._guards(model, clause, *where))
        if guards and isinstance(condition, Contains):
            raise self._error(model.id, "'contains' cannot be combined with 'when' or 'unless'", *where)
        return Rule(
            id=model.id,
            title=model.title or model.id,
            regulation=model.regulation or regulation,
            article=model.article,
            severity=model.severity,
            kinds=frozenset(selectors.kinds),
            roles=frozenset(selectors.roles),
            names=frozenset(selectors.columns),
            condition=condition,
            remedy=model.remedy,
            guards=guards,
        )

    def _guards(self, rule: RuleModel, clause: str, *where: str | int) -> Iterable[Guard]:
        for number, model in enumerate(getattr(rule, clause)):
            condition = self._condition(rule.id, model, *where, clause, number)
            if isinstance(condition, Contains):
                raise self._error(rule.id, f"'contains' cannot stand in {clause!r}", *where, clause, number)
            yield Guard(model.kind, condition, holds=clause == "when")

    def _condition(self, rule: str, model: ConditionModel, *where: str | int) -> Condition:
        words = ConditionModel.__struct_fields__
        given = {word: argument for word in words if (argument := getattr(model, word)) is not None}
        if len(given) != 1:
            raise self._error(rule, "a condition is exactly one word", *where, allowed=words)
        ((word, argument),) = given.items()
        if argument == []:
            raise self._error(rule, f"{word!r} takes a list of words", *where, word)
        match argument:
            case NationalIdModel(country=country):
                return Contains(f"national_id_{country.lower()}", national_forms(country))
            case str() if word == "contains":
                patterns = {name: Contains(name) for name in PATTERN_NAMES} | self.patterns
                if argument not in patterns:
                    raise self._error(rule, f"unknown pattern {argument!r}", *where, word, allowed=patterns)
                return patterns[argument]
            case str():  # yes
                return FieldCondition(word)
            case _:
                return FieldCondition(word, tuple(argument) if isinstance(argument, list) else argument)

    def _error(self, rule: str, message: str, *where: str | int, allowed: Iterable[str] = ()) -> PolicyError:
        return cast("PolicyError", self.document.error(f"rule {rule!r}: {message}", *where, allowed=allowed))
