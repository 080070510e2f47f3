"""What may be written in a policy, what is refused and how, and what the shipped policies hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from microflow.compliance import BatchChecker, RecordChecker, load_policy, policy_names
from microflow.compliance.conditions import RESTRICTED_ZIP3, Contains
from microflow.descriptors import load_schema
from microflow.errors import PolicyError
from microflow.schema import Column, DatasetSchema, Dtype

RULE = "{id: own-mail, applies_to: {kinds: [email]}, condition: {present: true}, remedy: blank}"


def written(folder: Path, rules: str = RULE, top: str = "reference_date: 2026-01-01") -> Path:
    path = folder / "own.yaml"
    path.write_text(f"{top}\nrules: [{rules}]\n", "utf-8")
    return path


def test_safe_harbor_is_complete() -> None:
    """Each of the eighteen identifiers of 164.514(b)(2)(i) has a rule of its own, free text aside."""
    letters = {
        rule.article.removeprefix("45 CFR 164.514(b)(2)(i)").strip("()")
        for rule in load_policy("hipaa").rules
        if not isinstance(rule.condition, Contains)
    }
    assert set("ABCDEFGHIJKLMNOPQR") <= letters


def test_the_census_list_is_the_office_for_civil_rights_list() -> None:
    """Seventeen prefixes, as the guidance of 2012 prints them."""
    printed = "036 692 878 059 790 879 063 821 884 102 823 890 203 830 893 556 831"
    assert frozenset(printed.split()) == RESTRICTED_ZIP3


def test_articles_are_cited() -> None:
    """Every shipped rule names the provision it comes from, and the combined policy is the three others."""
    for name in policy_names():
        assert all(rule.article and rule.regulation and rule.title for rule in load_policy(name).rules)
    parts = [rule for name in ("hipaa", "gdpr", "pci_dss") for rule in load_policy(name).rules]
    assert list(load_policy("combined").rules) == parts


@pytest.mark.parametrize(
    ("rules", "message", "hint"),
    [
        (RULE.replace("present", "presnt"), "condition: unknown key 'presnt'", "missing, present"),
        (RULE.replace("email", "mail"), "unknown kinds 'mail'", "account, age"),
        (RULE.replace("blank", "erase"), "unknown remedy 'erase'", "blank, redact, mask_card"),
        (RULE.replace("blank", "year"), "rule 'own-mail': 'year' leaves what the condition finds", "suppress_record"),
        (RULE.replace("present: true", "present: 1"), "unknown present '1'", "true"),
        (RULE.replace("present: true", "above: high"), "above must be a whole number or a number", ""),
        (
            RULE.replace("present: true", "contains: dna"),
            "condition.contains: rule 'own-mail': unknown pattern 'dna'",
            "url, email",
        ),
        (RULE.replace("present: true", "one_of: []"), "'one_of' takes a list of words", ""),
        (RULE.replace("present: true", "present: true, missing: true"), "a condition is exactly one word", "missing"),
        (RULE.replace("kinds: [email]", ""), "rule 'own-mail': applies to nothing", ""),
        (RULE.replace("kinds", "kind"), "applies_to: unknown key 'kind'", "kinds, roles, columns"),
        (RULE.replace("own-mail", "Own Mail"), "rule 'Own Mail': a rule's 'id' is lower-case words joined by '-'", ""),
        (f"{RULE}, {RULE}", "rule 'own-mail' is defined twice", ""),
        (
            RULE.replace("remedy", "when: [{kind: age, contains: card}], remedy"),
            "'contains' cannot stand in 'when'",
            "",
        ),
        ("", "the policy has no rules", ""),
        ("text", "rules[0] must be a mapping", ""),
    ],
)
def test_a_mistake_names_file_rule_and_the_words_allowed(tmp_path: Path, rules: str, message: str, hint: str) -> None:
    """Nothing outside the vocabulary gets in."""
    path = written(tmp_path, rules)
    with pytest.raises(PolicyError) as refused:
        load_policy(path)
    assert message in refused.value.message
    assert refused.value.message.startswith(f"{path}:")
    assert hint in refused.value.hint


@pytest.mark.parametrize("top", ["", "reference_date: 2026-01-01 12:00:00", "reference_date: soon"])
def test_the_reference_date_is_stated(tmp_path: Path, top: str) -> None:
    """A policy says what day it is applied as of; a time or nothing will not do."""
    with pytest.raises(PolicyError, match="reference_date"):
        load_policy(written(tmp_path, top=top))


@pytest.mark.parametrize("text", ["rules: [", "\tname: x", "- a list", "just text", "!!python/object:os.system {}"])
def test_what_is_no_policy_is_refused(tmp_path: Path, text: str) -> None:
    """Broken, unsafe or foreign YAML ends in a `PolicyError` that names the file."""
    path = tmp_path / "own.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(PolicyError, match=r"own\.yaml"):
        load_policy(path)


@pytest.mark.parametrize("name", ["no-such", "", "/", "a\x00b"])
def test_what_cannot_be_read_is_refused(name: str) -> None:
    """The hint lists what ships."""
    with pytest.raises(PolicyError, match="no policy") as refused:
        load_policy(name)
    assert "hipaa" in refused.value.hint


def test_policies_include_shipped_ones_and_neighbours(tmp_path: Path) -> None:
    """Names of the package, and files relative to the including one; a circle is named, not followed."""
    written(tmp_path)
    (tmp_path / "house.yaml").write_text("include: [hipaa, own.yaml]\n", "utf-8")
    house = load_policy(tmp_path / "house.yaml")
    assert [rule.id for rule in house.rules][-1] == "own-mail"
    assert (house.name, house.reference_date) == ("house", date(2026, 1, 1))
    (tmp_path / "own.yaml").write_text("include: [house.yaml]\n", "utf-8")
    with pytest.raises(PolicyError, match="includes itself"):
        load_policy(tmp_path / "house.yaml")


def test_the_reference_date_can_be_another() -> None:
    """The same record is within its retention on one day and beyond it on another."""
    schema, policy = load_schema("healthcare"), load_policy("hipaa")
    record = dict.fromkeys(schema.names) | {"retain_until": "2026"}
    assert RecordChecker(policy, schema).check(record) == []
    later = RecordChecker(replace(policy, reference_date=date(2027, 7, 1)), schema).check(record)
    assert [violation.rule for violation in later] == ["hipaa-retention"]


@pytest.mark.parametrize("compiled", [BatchChecker, RecordChecker])
def test_a_rule_that_a_column_cannot_answer_is_an_error(compiled: type) -> None:
    """An age held as text is not silently left unchecked: the error names rule, column and the types that would do."""
    schema = DatasetSchema("own", (Column("years", kind="age", dtype=Dtype.STRING),), "hipaa")
    with pytest.raises(PolicyError, match="'hipaa-age' cannot be asked of column 'years'") as refused:
        compiled(load_policy("hipaa"), schema)
    assert refused.value.hint == "describe the column as integer or number"


def test_the_documented_policy_is_one(tmp_path: Path) -> None:
    """What docs/policies.md shows can be used as it stands."""
    page = (Path(__file__).parents[2] / "docs" / "policies.md").read_text("utf-8")
    for number, example in enumerate(page.split("```yaml\n")[1:]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(example.split("```")[0], "utf-8")
        assert load_policy(path).rules
