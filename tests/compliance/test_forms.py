"""Identifiers that a policy adds: found as they are written, by both forms of the check, and refused where unsafe."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from microflow.compliance import BatchChecker, RecordChecker, RecordRemedy, load_policy
from microflow.compliance.forms import COUNTRIES, national_forms, pattern_of
from microflow.compliance.scanner import TextScanner
from microflow.errors import PolicyError
from microflow.records import to_batch
from microflow.schema import Column, DatasetSchema, Role

SCHEMA = DatasetSchema("visits", (Column("note", Role.FREE_TEXT), Column("tax", Role.IDENTIFIER)), "own")
OWN = """
reference_date: 2026-01-01
include: [hipaa]
patterns:
  - {name: badge, form: 'B-?[0-9]{6}'}
  - {name: plate, form: '[A-Z]{2}_[0-9]{3,4}'}
  - {name: ticket, form: '#[0-9]{5}'}
  - {name: member, form: '[0-9]{7}', checksum: luhn}
rules:
  - {id: own-badge, applies_to: {roles: [free_text]}, condition: {contains: badge}, remedy: redact}
  - {id: own-plate, applies_to: {roles: [free_text]}, condition: {contains: plate}, remedy: redact}
  - {id: own-ticket, applies_to: {roles: [free_text]}, condition: {contains: ticket}, remedy: redact}
  - {id: own-member, applies_to: {roles: [free_text]}, condition: {contains: member}, remedy: redact}
  - {id: own-de, applies_to: {roles: [free_text], columns: [tax]}, condition: {national_id: {country: DE}},
     remedy: redact}
  - {id: own-es, applies_to: {roles: [free_text]}, condition: {national_id: {country: ES}}, remedy: redact}
"""

REDACTED = [
    ("badge B-123456, B654321 and XB123456", "badge [BADGE], [BADGE] and XB123456"),
    ("car AB_1234, AB-1234", "car [PLATE], AB-1234"),
    ("see #12345 and #123456", "see [TICKET] and #123456"),
    ("member 1234566, not 1234567", "member [MEMBER], not 1234567"),
    ("ID 36 574 261 809, 36574261809 or 36574261808", "ID [NATIONAL_ID_DE], [NATIONAL_ID_DE] or 36574261808"),
    ("DNI 54362315-K, NIE x2482300w", "DNI [NATIONAL_ID_ES], NIE [NATIONAL_ID_ES]"),
    ("３６５７４２６１８０９", "[NATIONAL_ID_DE]"),
]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(OWN, "utf-8")
    return path


@pytest.mark.parametrize(("text", "after"), REDACTED)
def test_what_a_policy_adds_is_found_and_redacted(own: Path, text: str, after: str) -> None:
    """In prose, to the character, by both checks; with wrong check digits, or glued, it is left."""
    policy = load_policy(own)
    record = {"note": text, "tax": None}
    found = RecordChecker(policy, SCHEMA).check(record)
    batch = BatchChecker(policy, SCHEMA)
    assert [one for _, one in batch.violations(batch.check(to_batch([record], SCHEMA.arrow)))] == found
    assert RecordRemedy(policy, SCHEMA).apply(record, found) == record | {"note": after}


def test_a_column_of_national_numbers_is_checked_too(own: Path) -> None:
    """The same condition on a column of its own."""
    found = RecordChecker(load_policy(own), SCHEMA).check({"note": None, "tax": "36574261809"})
    assert [(one.rule, one.field) for one in found] == [("own-de", "tax")]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("(a+)+1", "a form is made of"), ("[0-9]*", "a form is made of"), ("[0-9]+", "a form is made of"),
        ("a|1", "a form is made of"), ("[^a]1", "a form is made of"), ("^1", "a form is made of"),
        ("[A-Z]{4}", "holds a digit"), ("1?2", "begins with what is always there"), ("", "begins with"),
        ("[0-9]{41}", "at most 40"), ("1[0-9]{5,2}", "at most 40"), ("1" + "[0-9]?" * 12, "too many repetitions"),
        ("[z-a]1", "characters and ranges"), ("[a#]1", "letters and digits, or with marks"), ("[A--]1", "once"),
    ],
)  # fmt: skip
def test_a_form_that_could_be_slow_or_is_none_is_refused(tmp_path: Path, form: str, reason: str) -> None:
    """The error names the line and says why; no text is searched with it."""
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace("B-?[0-9]{6}", form), "utf-8")
    with pytest.raises(PolicyError, match=r"own\.yaml:5: patterns\[0\]\.form") as refused:
        load_policy(path)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("luhn", "luhm", "no such checksum"), ("luhn", "../os", "no such checksum"), ("name: badge", "name: card",
        "already"),
        ("name: plate", "name: badge", "already"), ("name: badge", "name: B", "lower-case"),
        ("contains: badge", "contains: badgers", "unknown pattern 'badgers'"), ("DE}}", "XX}}", "unknown country 'XX'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_pattern_is_named(tmp_path: Path, old: str, new: str, reason: str) -> None:
    """File, line and the words that would do."""
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace(old, new), "utf-8")
    with pytest.raises(PolicyError, match=reason):
        load_policy(path)


@pytest.mark.parametrize("country", COUNTRIES)
def test_the_numbers_that_python_stdnum_documents_are_found(country: str) -> None:
    """Each example of its own documentation that it calls valid, without a country's letters in front."""
    scanner = TextScanner([], [pattern_of("number", *form) for form in national_forms(country)])
    for _, checksum in national_forms(country):
        module = import_module(f"stdnum.{checksum}")
        examples = re.findall(r">>> validate\('([^']*)'\)", module.__doc__)
        for one in filter(module.is_valid, examples):
            number = one.removeprefix(f"{country} ").removeprefix(f"{country}-")
            if (country, number) != ("IT", "00743110157"):  # a company's
                assert scanner.spans(f"id {number}, ok") == [("number", 3, 3 + len(number))]


@pytest.mark.parametrize("country", ["DE", "IT", "FI", "MX"])
@pytest.mark.parametrize("unit", ["1", "1 ", "a", "a1", "1-"])
def test_national_numbers_take_linear_time(country: str, unit: str, growth: Any) -> None:
    """Twice the length, twice the time."""
    scanner = TextScanner([], [pattern_of("number", *form) for form in national_forms(country)])
    assert growth(scanner.spans, unit, 10_000) < 3.2
