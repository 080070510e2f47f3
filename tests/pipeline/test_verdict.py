"""The last words of a job name what it did not protect."""

from __future__ import annotations

from dataclasses import replace

import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.pipeline.metrics import JobVerdict, quarantine_reasons, verdict
from microflow.schema import Column, DatasetSchema, Dtype, Role
from microflow.sources.reader import REPEATED_ID

SCHEMA = DatasetSchema(
    "visits",
    (
        Column("id", Role.RECORD_ID),
        Column("name", Role.IDENTIFIER, kind="name"),
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=120),
        Column("job", Role.QUASI_IDENTIFIER),
        Column("illness", Role.SENSITIVE, categories=("a", "b")),
        Column("ward"),
        Column("notes", Role.FREE_TEXT),
    ),
    "hipaa",
)
METRICS = {"processing_metrics": {"released": 70, "suppressed": 20, "quarantined": 10}}


def judged(method: Method, **settings: object) -> JobVerdict:
    given = MethodSettings(method, **settings)  # type: ignore[arg-type]
    return verdict(METRICS, SCHEMA, load_policy("hipaa"), given, claim={"guarantee": "so much"})


def test_every_row_is_accounted_for() -> None:
    """Read is the sum of the fates, and the most frequent reason comes first."""
    reasons = {"not a number": 7, "3 fields": 3}
    lines = list(replace(judged(Method.K_ANONYMITY), quarantine_reasons=reasons).lines())
    assert lines[0] == "100 rows read = 70 released + 20 suppressed + 10 quarantined"
    assert lines[1] == "  quarantined: 7 × not a number"
    assert judged(Method.K_ANONYMITY).share_released == 0.7


def test_reasons_name_the_column_and_what_to_do(tmp_path) -> None:
    """The name of a column that the schema does not know may be a person's, and is not said."""
    path = tmp_path / "quarantine.csv"
    rows = ["2,'=age,not a whole number", "3,'=age,not a whole number", "4,,not UTF-8 text"]
    rows += ["5,Alice Doe,the schema does not describe it", "6,Alice Doe,named twice"]
    path.write_text("\n".join(["line,column,reason", *rows]), "utf-8")
    reasons = quarantine_reasons(path)
    assert reasons == {
        "column '=age': not a whole number": 2,
        "not UTF-8 text": 1,
        "the schema does not describe it": 1,
        "named twice": 1,
    }
    lines = list(replace(judged(Method.K_ANONYMITY), quarantine_reasons=reasons).lines())
    assert lines[1] == "  quarantined: 2 × column '=age': not a whole number"
    assert "source: {missing: [NaN]}" in lines[2]
    assert "source: {encoding: cp1252}" in lines[4]


@pytest.mark.parametrize(
    ("method", "passed", "blanked"),
    [
        (Method.K_ANONYMITY, ("ward",), ()),
        (Method.DIFFERENTIAL_PRIVACY, ("ward",), ("job",)),
        (Method.TOKENIZATION, ("age", "job", "illness", "ward"), ()),
    ],
)
def test_what_passes_and_what_was_blanked_is_said(
    method: Method, passed: tuple[str, ...], blanked: tuple[str, ...]
) -> None:
    """An attribute passes every method; noise needs public bounds; tokens leave quasi-identifiers as they are."""
    found = judged(method)
    assert (found.passed_unprotected, found.blanked) == (passed, blanked)
    assert "ssn" in found.unnamed_kinds
    assert "name" not in found.unnamed_kinds


def test_what_is_easily_overlooked_is_said() -> None:
    """l = 1, rows instead of persons, prose; and none of it where it does not apply."""
    warnings = " ".join(judged(Method.K_ANONYMITY).warnings)
    assert "l = 1" in warnings
    assert "role: person" in warnings
    assert "prose in notes" in warnings
    assert "l = 1" not in " ".join(judged(Method.K_ANONYMITY, l_diversity=2).warnings)


def test_what_was_achieved_is_said() -> None:
    """And is read back from the metrics document."""
    claim = {"guarantee": "so much", "scope": "dataset", "unit": "person", "k": 5, "achieved_k": 6, "classes": 9}
    claim |= {"achieved_l": {"illness": 2.0}, "achieved_t": {"illness": 0.25}}
    found = verdict(METRICS, SCHEMA, load_policy("hipaa"), MethodSettings(Method.K_ANONYMITY), claim=claim)
    line = "achieved: k = 6 persons, the least of 9 classes (scope: dataset); l of illness = 2; t of illness = 0.25"
    assert line in list(found.lines())
    assert JobVerdict.from_dict(found.to_dict()) == found
    assert not judged(Method.TOKENIZATION).achieved


def test_who_is_counted_is_said() -> None:
    """A column named like a person's without that role, and an id that repeats: both may be persons."""
    named = replace(SCHEMA, columns=(*SCHEMA.columns, Column("patient_id", Role.IDENTIFIER)))
    described = replace(SCHEMA, columns=(*SCHEMA.columns, Column("patient_id", Role.PERSON)))
    asked = MethodSettings(Method.K_ANONYMITY)
    notes = {
        schema: "\n".join(verdict(METRICS, schema, load_policy("hipaa"), asked, claim={}).warnings)
        for schema in (SCHEMA, named, described)
    }
    assert "k counts rows: where" in notes[SCHEMA]
    assert "k counts rows, and patient_id is named like a person's" in notes[named]
    assert "k counts rows" not in notes[described]
    lines = replace(judged(Method.K_ANONYMITY), quarantine_reasons={REPEATED_ID: 9}).lines()
    assert "  (where it names a person, and not a record, describe it with role: person)" in lines
