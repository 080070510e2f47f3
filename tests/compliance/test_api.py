"""The seed's entry point takes whatever a caller has, and says what it could not read."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from microflow.compliance import detailed_compliance_check, is_compliant
from microflow.errors import SchemaError


@pytest.mark.parametrize(
    ("record", "rules", "unreadable"),
    [
        ({"record_id": 1}, [], []),
        ({"record_id": "1", "age": " 95 ", "zip": 94110}, ["hipaa-zip", "hipaa-age"], []),
        ({"age": 95.0, "ssn": 123456789}, ["hipaa-age", "hipaa-ssn"], []),
        ({"age": "very old", "notes": ["123-45-6789"]}, [], ["age", "notes"]),
        ({"admission_date": date(2021, 3, 4)}, [], ["admission_date"]),
        ({"ssn": True, "age": None, "email": ""}, ["hipaa-ssn"], []),
        ({"age": "95", "unknown": "123-45-6789"}, ["hipaa-age"], []),
        ({"age": float("nan")}, [], ["age"]),
    ],
)
def test_any_record_is_answered(record: dict[str, Any], rules: list[str], unreadable: list[str]) -> None:
    """Values are converted as a file's would be; what cannot be is named, and nobody vouches for it."""
    answer = detailed_compliance_check(record, "healthcare")
    assert [violation["rule"] for violation in answer["violations"]] == rules
    assert answer["unreadable"] == unreadable
    assert answer["compliant"] == is_compliant(record, "healthcare") == (not rules and not unreadable)
    assert (answer["policy"], answer["data_type"]) == ("hipaa", "healthcare")


def test_an_unknown_data_type_is_named() -> None:
    """The hint lists those there are."""
    with pytest.raises(SchemaError, match="'hospital'"):
        detailed_compliance_check({}, "hospital")
