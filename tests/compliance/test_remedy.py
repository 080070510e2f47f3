"""What each shipped rule finds and leaves, field by field, and what its remedy makes of it: written out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from microflow.compliance import BatchChecker, BatchRemedy, RecordChecker, RecordRemedy, load_policy
from microflow.descriptors import load_schema
from microflow.records import to_batch

REMOVED = object()

#: Data type, fields of a record, the rules it breaks, and the fields after the remedy (REMOVED: no record).
CASES: list[tuple[str, dict[str, Any], list[str], Any]] = [
    ("healthcare", {"ssn": "***-**-****", "email": "", "patient_name": "XXXX xx"}, [], {"ssn": "***-**-****"}),
    ("healthcare", {"patient_name": "Ann X"}, ["hipaa-name"], {"patient_name": None}),
    ("healthcare", {"age": 90}, [], {"age": 90}),
    ("healthcare", {"age": 91}, ["hipaa-age"], {"age": 90}),
    ("healthcare", {"zip": "941"}, [], {"zip": "941"}),
    ("healthcare", {"zip": "000"}, [], {"zip": "000"}),
    ("healthcare", {"zip": "94110"}, ["hipaa-zip"], {"zip": "941"}),
    ("healthcare", {"zip": "03601"}, ["hipaa-zip"], {"zip": "000"}),
    ("healthcare", {"zip": "036"}, ["hipaa-zip"], {"zip": "000"}),
    ("healthcare", {"admission_date": "2021"}, [], {"admission_date": "2021"}),
    ("healthcare", {"admission_date": "2021-03"}, ["hipaa-date"], {"admission_date": "2021"}),
    ("healthcare", {"consent": "withdrawn", "age": 95}, ["hipaa-age", "hipaa-consent"], REMOVED),
    ("healthcare", {"retain_until": "2025-12-31"}, ["hipaa-date", "hipaa-retention"], REMOVED),
    ("healthcare", {"retain_until": "2026-01-01"}, ["hipaa-date"], {"retain_until": "2026"}),
    ("healthcare", {"retain_until": "2026"}, [], {"retain_until": "2026"}),
    ("healthcare", {"retain_until": "2025"}, ["hipaa-retention"], REMOVED),
    (
        "healthcare",
        {"notes": "Ann: 123-45-6789, a@b.org."},
        ["hipaa-text-ssn", "hipaa-text-email"],
        {"notes": "Ann: [SSN], [EMAIL]."},
    ),
    ("ecommerce", {"card_number": "411111******1111"}, [], {"card_number": "411111******1111"}),
    ("ecommerce", {"card_number": "4111111111111112"}, [], {"card_number": "4111111111111112"}),
    ("ecommerce", {"card_number": "4111 1111 1111 1111"}, ["pci-pan"], {"card_number": "411111******1111"}),
    ("ecommerce", {"cvv": "123"}, ["pci-cvv"], {"cvv": None}),
    ("ecommerce", {"comments": "paid 4111-1111-1111-1111"}, ["pci-text-pan"], {"comments": "paid [CARD]"}),
    *(
        ("ecommerce", {"consent": word}, ["pci-consent-withdrawn"], REMOVED)
        for word in (
            "Withdrawn.",
            "WITHDRAWN",
            "no",
            "0",
            "false",
            "opt-out",
            "declined",
            "granted?",
            "revoked 2021",
            "\u200bno",
        )
    ),
    *(
        ("ecommerce", {"consent": word}, [], {"consent": word})
        for word in ("Granted", " YES\u00a0", "TRUE", "Opt In", "opted_in", "\tgiven\n", "1")
    ),
    ("financial", {"legal_basis": "Legal Obligation"}, [], {}),
    ("financial", {"legal_basis": None}, ["gdpr-legal-basis"], REMOVED),
    ("financial", {"legal_basis": "habit"}, ["gdpr-legal-basis-unknown"], REMOVED),
    ("financial", {"legal_basis": "consent", "consent": None}, ["gdpr-consent-missing"], REMOVED),
    ("financial", {"legal_basis": "contract", "consent": None}, [], {"consent": None}),
    ("financial", {"consent": "withdrawn"}, ["gdpr-consent-withdrawn"], REMOVED),
    ("financial", {"legal_basis": "consent", "consent_expires": "2025-06-01"}, ["gdpr-consent-expired"], REMOVED),
    ("financial", {"legal_basis": "contract", "consent_expires": "2025-06-01"}, [], {}),
    ("financial", {"collected_on": "2015-01-01"}, ["gdpr-storage"], REMOVED),
    ("financial", {"special_category": "health"}, [], {"special_category": "health"}),
    (
        "financial",
        {"special_category": "health", "consent": None},
        ["gdpr-special-category"],
        {"special_category": None},
    ),
    ("financial", {"transfer_country": "US"}, ["gdpr-transfer"], {"transfer_country": None}),
    ("financial", {"transfer_country": "NO"}, [], {"transfer_country": "NO"}),
    ("financial", {"transfer_country": "US", "transfer_basis": "adequacy"}, [], {"transfer_country": "US"}),
    ("financial", {"remarks": "to IE29 AIBK 9311 5212 3456 78"}, ["gdpr-text-iban"], {"remarks": "to [IBAN]"}),
    ("iot", {"latitude": 53.12}, [], {"latitude": 53.12}),
    ("iot", {"latitude": 53.1234}, [], {"latitude": 53.1234}),
    ("iot", {"latitude": 53.1234, "consent": None}, ["gdpr-location"], {"latitude": 53.12}),
    ("iot", {"latitude": 53.12, "consent": None}, [], {"latitude": 53.12}),
    ("iot", {"ip_address": "10.0.0.1"}, ["gdpr-ip"], {"ip_address": None}),
]

LAWFUL = {"legal_basis": "contract", "consent": "granted"}


@pytest.mark.parametrize(("data_type", "fields", "rules", "after"), CASES)
def test_a_rule_finds_and_remedies(data_type: str, fields: dict[str, Any], rules: list[str], after: Any) -> None:
    """The rules named, no others, and the remedy written beside them."""
    schema = load_schema(data_type)
    policy = load_policy(schema.policy)
    lawful = {name: value for name, value in LAWFUL.items() if name in schema.names}
    record = dict.fromkeys(schema.names) | lawful | fields
    violations = RecordChecker(policy, schema).check(record)
    assert [violation.rule for violation in violations] == rules
    remedied = RecordRemedy(policy, schema).apply(record, violations)
    assert remedied is None if after is REMOVED else remedied == record | after


def test_a_violation_says_where_and_never_what() -> None:
    """Rule, field, severity, regulation, article and span; the value is nowhere."""
    schema = load_schema("healthcare")
    record = dict.fromkeys(schema.names) | {"notes": "Ann has 123-45-6789 on file"}
    (violation,) = RecordChecker(load_policy("hipaa"), schema).check(record)
    assert violation._asdict() == {
        "rule": "hipaa-text-ssn", "field": "notes", "severity": "critical", "regulation": "HIPAA",
        "article": "45 CFR 164.514(b)(2)(i)(G)", "start": 8, "end": 19,
    }  # fmt: skip
    assert "6789" not in repr(violation)


@pytest.mark.parametrize("looks", [1, 2, 8])
def test_what_is_left_beside_a_mask_is_looked_at_again(monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """Many records together as each by itself; a text that is never done with is blanked."""
    monkeypatch.setattr("microflow.compliance.remedy._LOOKS", looks)
    schema, policy = load_schema("healthcare"), load_policy("hipaa")
    notes = [
        "555-123-4567www.123-45-6789", "stable", "555-123-4567MRN-12123-45-6789.", None, "SSN 123-45-6789, Ann Smith",
        "www. 555-123-4567MRN-12555-123-4567",
    ]  # fmt: skip
    records = [dict.fromkeys(schema.names) | {"notes": text, "patient_name": "Ann Smith"} for text in notes]
    rows = to_batch(records, schema.arrow)
    together, kept = BatchRemedy(policy, schema).apply(rows, BatchChecker(policy, schema).check(rows))
    assert kept.tolist() == list(range(len(notes)))
    check, remedy = RecordChecker(policy, schema).check, RecordRemedy(policy, schema).apply
    alone = [remedy(record, check(record)) for record in records]
    assert together.column("notes").to_pylist() == [record and record["notes"] for record in alone]
    assert together.column("notes").to_pylist()[0] == (None if looks == 1 else "[PHONE][URL]]")
