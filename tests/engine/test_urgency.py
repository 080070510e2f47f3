"""Which records cannot wait."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from microflow.descriptors import load_schema
from microflow.engine.urgency import Urgency, UrgencyRule, load_urgency
from microflow.errors import SchemaError

RULES = """
- {kind: urgency, at_least: urgent}
- {kind: amount, at_least: 90000}
- {column: sex, one_of: [X]}
- {kind: retain_until, within_days: -1000}
"""


@pytest.mark.parametrize("data_type", ["healthcare", "financial", "ecommerce", "iot"])
def test_rows_and_records_are_judged_alike(data_type: str, make_rows: Callable[..., pa.RecordBatch]) -> None:
    """By every kind of rule, nulls included, and not everything is urgent."""
    schema = load_schema(data_type)
    rules = (
        UrgencyRule(kind="urgency", at_least="urgent"),
        UrgencyRule(kind="amount", at_least=4_900.0),
        UrgencyRule(kind="retain_until", within_days=-2_000),
    )
    urgency = Urgency(schema, rules, date(2026, 1, 1))
    rows = make_rows(schema, 500, bad=0.2)
    expected = [urgency.of_record(record) for record in rows.to_pylist()]
    assert urgency.of_rows(rows).tolist() == expected
    assert 0 < sum(expected) < 500


def test_each_rule_says_what_it_should(tmp_path: Path) -> None:
    """Severity, amount, a column's word and a deadline, read from a file."""
    file = tmp_path / "urgency.yaml"
    file.write_text(RULES)
    urgency = Urgency(load_schema("healthcare"), load_urgency(file), date(2026, 1, 1))
    urgent = [
        {"triage": "emergency"}, {"triage": "urgent"}, {"treatment_cost": 90_000.0}, {"sex": "X"},
        {"retain_until": "2023-04-07"}, {"retain_until": "2019"},
    ]  # fmt: skip
    calm = [{}, {"triage": "routine"}, {"treatment_cost": 89_999.9}, {"sex": "F"}, {"retain_until": "2023-04-08"}]
    assert all(urgency.of_record(record) for record in urgent)
    assert not any(urgency.of_record(record) for record in calm)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: urgency", "must be a list"),
        ("- {kind: urgency}", r"\[0\]: an urgency rule names"),
        ("- {kind: urgency, column: sex, one_of: [X]}", r"\[0\]: an urgency rule names"),
        ("- {kind: urgency, at_leats: urgent}", "unknown key 'at_leats'"),
        ("- [", "not readable as YAML"),
        ("- {kind: urgencies, at_least: urgent}", "unknown kind"),
    ],
)
def test_malformed_rules_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the file, the rule and the words allowed."""
    file = tmp_path / "urgency.yaml"
    file.write_text(text)
    with pytest.raises(SchemaError, match=message) as caught:
        load_urgency(file)
    assert "urgency.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "rule",
    [
        UrgencyRule(column="sex", at_least="X"),
        UrgencyRule(column="triage", at_least="panic"),
        UrgencyRule(column="sex", at_least=3.0),
        UrgencyRule(column="retain_until", within_days=3),
        UrgencyRule(column="nobody", one_of=("x",)),
    ],
)
def test_a_rule_that_does_not_fit_its_column_is_refused(rule: UrgencyRule) -> None:
    """The error comes when the rules are compiled for the data set, not with the first record."""
    with pytest.raises(SchemaError):
        Urgency(load_schema("healthcare"), [rule])


DESCRIBED = """
policy: combined
columns:
  ward: {role: attribute}
  cost: {role: sensitive, type: number}
"""


@pytest.mark.parametrize(
    ("urgent", "record", "expected"),
    [
        ("", {"ward": "intensive", "cost": 9e9}, False),
        ("urgent: []", {"ward": "intensive"}, False),
        ("urgent: [{column: ward, one_of: [intensive]}]", {"ward": "intensive"}, True),
        ("urgent: [{column: cost, at_least: 40000}]", {"cost": 40_000.0}, True),
        ("urgent: [{column: cost, at_least: 40000}]", {"cost": 39_999.0}, False),
    ],
)
def test_a_descriptor_says_what_is_urgent(
    tmp_path: Path, urgent: str, record: dict[str, object], expected: bool
) -> None:
    """Its own rules take the place of the default ones."""
    file = tmp_path / "ward.yaml"
    file.write_text(DESCRIBED + urgent)
    assert Urgency(load_schema(file)).of_record(record) is expected


@pytest.mark.parametrize(
    ("urgent", "message"),
    [
        ("[{column: wards, one_of: [x]}]", "no column 'wards'"),
        ("[{column: ward}]", "one condition"),
        ("[{column: ward, one_off: [x]}]", "one_off"),
        ("{column: ward}", "urgent"),
    ],
)
def test_a_descriptor_with_a_malformed_rule_is_refused(tmp_path: Path, urgent: str, message: str) -> None:
    """With the file and the line."""
    file = tmp_path / "ward.yaml"
    file.write_text(f"{DESCRIBED}urgent: {urgent}\n")
    with pytest.raises(SchemaError, match=message) as caught:
        load_schema(file)
    assert "ward.yaml" in str(caught.value)
