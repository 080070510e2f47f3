"""A record's own identifiers in its own prose: found as people write them, and by both compiled checks alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.compliance import BatchChecker, BatchRemedy, RecordChecker, RecordRemedy, load_policy
from microflow.compliance.own import joined_spans
from microflow.compliance.scanner import load_recogniser
from microflow.errors import SetupError
from microflow.records import to_batch
from microflow.schema import Column, DatasetSchema, Dtype, Role

SCHEMA = DatasetSchema(
    "visits",
    (
        Column("name", Role.IDENTIFIER, kind="name"),
        Column("phone", Role.IDENTIFIER, kind="phone"),
        Column("mrn", Role.IDENTIFIER, kind="mrn"),
        Column("address", Role.IDENTIFIER, kind="street_address"),
        Column("code", Role.IDENTIFIER, kind="code"),
        Column("member", Role.PERSON),
        Column("badge", Role.IDENTIFIER, Dtype.INTEGER),
        Column("note", Role.FREE_TEXT),
    ),
    policy="hipaa",
)
POLICY = load_policy("hipaa")
BATCH, RECORD = BatchChecker(POLICY, SCHEMA), RecordChecker(POLICY, SCHEMA)

#: Column, its value, a note, and the parts of it that are the person's.
FOUND = [
    ("name", "Siobhán O'Neill", "SIOBHAN and O’Neill came", ["SIOBHAN", "O’Neill"]),
    ("name", "Siobhán O'Neill", "for O'Neill, Siobhan.", ["O'Neill, Siobhan"]),
    ("name", "John F. Kennedy", "John F. Kennedy's leg", ["John F. Kennedy"]),
    ("name", "Jürgen Müller", "Hr. mueller_jurgen.pdf", ["mueller_jurgen"]),
    ("name", "Ludwig van Beethoven", "a van hit ludwig van beethoven", ["ludwig van beethoven"]),
    ("name", "Li Bo", "li bo: Bo has it, li has not", ["li bo", "Bo"]),
    ("name", "Mark Young", "mark the wound; Mark is young", ["Mark"]),
    ("name", "Ann Lee", "the annual leek of Ann", ["Ann"]),
    ("name", "Ann Lee", "An\u200bn lee", ["An\u200bn lee"]),
    ("phone", "(415) 555-0123", "at 415 55 50 123, or 555-0123", ["415 55 50 123", "555-0123"]),
    ("phone", "+44 7911 123456", "07911123456", ["07911123456"]),
    ("phone", "07911 123456", "+447911123456", ["+447911123456"]),
    ("mrn", "MRN-1234567", "chart 123 4567 of", ["123 4567"]),
    ("address", "12 High Street, Dublin 4", "lives in 12, high street", ["12, high street"]),
    ("code", "AB12CD34", "see ab12cd34.", ["ab12cd34"]),
    ("member", "M-77-1234", "member m771234", ["m771234"]),
    ("badge", 4711123, "badge 4711123", ["4711123"]),
]


@pytest.mark.parametrize(("column", "value", "note", "parts"), FOUND)
def test_own_identifiers_are_found(column: str, value: Any, note: str, parts: list[str]) -> None:
    """Each part, to the character, by both forms."""
    record = dict.fromkeys(SCHEMA.names) | {column: value, "note": note}
    for found in both(record):
        assert [note[v.start : v.end] for v in found if v.field == "note"] == parts


@pytest.mark.parametrize(
    ("column", "value", "note"),
    [
        ("name", "Ann Lee", "annual leeway"),
        ("name", "Dr. A", "a dr. a"),
        ("name", "xxxx xxxx", "XXXX"),
        ("name", "Will Long", "she will stay long"),
        ("mrn", "12", "12 mg"),
        ("mrn", "1234567", "91234567"),
        ("mrn", "1234567", "12345678"),
        ("member", "M-1", "m-1"),
    ],
)
def test_what_would_redact_prose_is_not_looked_for(column: str, value: Any, note: str) -> None:
    """Parts of words, titles, masks, everyday words in small letters, short numbers, parts of numbers."""
    record = dict.fromkeys(SCHEMA.names) | {column: value, "note": note}
    assert [[v for v in found if v.field == "note"] for found in both(record)] == [[], []]


def both(record: dict[str, Any]) -> list[list[Any]]:
    batch = BATCH.violations(BATCH.check(to_batch([record], SCHEMA.arrow)))
    return [RECORD.check(record), [violation for _, violation in batch]]


_NAMES = st.one_of(
    st.sampled_from(
        ["Siobhán O'Neill", "Li Bo", "Ann", "xx", "J.P. Ng", "Ó Briain", "Ås", "May-Li Ø", "Ａｎｎ", "a b", "&Ouml;zil"]
    ),
    st.text("ab'.- éßøA", max_size=9),
)
_NUMBERS = st.one_of(
    st.sampled_from(["+44 7911 123456", "(415) 555-0123", "07911 123456"]), st.text("0123 +-a", max_size=12)
)
_WORDS = st.sampled_from(
    [
        "ann", "ANN", "siobhan", "o’neill", "bo", "Li", "xx", "jp", "J.P.", "ng", "briain", "as", "ß", "&", "[NAME]",
        "7911123456", "555-0123", "0", "44", "+", "12", "a", "b", " ", ", ", "-", ".", "_", "\u200b", "@x.io", "özil",
    ]
)  # fmt: skip


@settings(max_examples=40)
@given(st.data())
def test_both_forms_and_remedies_agree(data: st.DataObject) -> None:
    """On notes made of the record's own values and what looks like them: same findings, and nothing left after."""
    records = []
    for _ in range(data.draw(st.integers(1, 4))):
        own = {name: data.draw(st.none() | _NUMBERS) for name in ("phone", "mrn", "address", "code", "member")}
        own |= {"name": data.draw(st.none() | _NAMES), "badge": data.draw(st.none() | st.integers(0, 10**8))}
        values = [str(value) for value in own.values() if value is not None]
        pieces = data.draw(st.lists(st.one_of(_WORDS, st.sampled_from(["", *values])), max_size=6))
        records.append({**own, "note": "".join(pieces)})
    expected = [RECORD.check(record) for record in records]
    batch = to_batch(records, SCHEMA.arrow)
    found = BATCH.check(batch)
    rows: list[list[Any]] = [[] for _ in records]
    for row, violation in BATCH.violations(found):
        rows[row].append(violation)
    assert rows == expected
    remedied, _ = BatchRemedy(POLICY, SCHEMA).apply(batch, found)
    one_by_one = [RecordRemedy(POLICY, SCHEMA).apply(*each) for each in zip(records, expected, strict=True)]
    assert remedied.to_pylist() == [
        {name: record.get(name) for name in SCHEMA.names} for record in one_by_one if record
    ]
    assert len(BATCH.check(remedied)) == 0


def test_pieces_beside_patterns_do_not_overlap() -> None:
    """A pattern's span stays whole, and what is left of an own identifier beside it is redacted, too."""
    text = "Anna anna@x.org Anna"
    own = [("name", 0, 9), ("name", 16, 20)]
    assert joined_spans(text, [("email", 5, 15)], own) == [("name", 0, 4), ("email", 5, 15), ("name", 16, 20)]


def test_time_is_linear_in_own_identifiers(growth: Any) -> None:
    """A text full of the beginnings of a value takes twice the time for twice the length."""
    own = {"name": "aa aab", "mrn": "1" * 12, "phone": "1" * 10, "member": "a1" * 9}
    record = dict.fromkeys(SCHEMA.names) | own
    assert growth(lambda text: RECORD.check(record | {"note": text}), "aa a1 1 11 aaa", 20_000, 0.02) < 4


def zeds(text: str) -> list[tuple[str, int, int]]:
    """Finds ``Zed``, as a language model finds names."""
    return [("name", text.index("Zed"), text.index("Zed") + 3)] if "Zed" in text else []


@pytest.mark.parametrize("names", [("note",), ("note", "name")])
def test_a_language_model_finds_names_where_a_policy_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """In both forms, with and without columns of the record's own, beside what patterns find."""
    monkeypatch.setattr("microflow.compliance.findings.load_recogniser", lambda _: zeds)
    policy = replace(POLICY, recogniser="spacy:any")
    schema = DatasetSchema("visits", tuple(SCHEMA[name] for name in names), "hipaa")
    records = [dict.fromkeys(names) | {"note": note} for note in ("hi Zed", "Zed: a@b.io", "nothing", None)]
    alone = [RecordChecker(policy, schema).check(record) for record in records]
    rows, batch = to_batch(records, schema.arrow), BatchChecker(policy, schema)
    found = batch.check(rows)
    assert [one for _, one in batch.violations(found)] == [one for each in alone for one in each]
    after, _ = BatchRemedy(policy, schema).apply(rows, found)
    assert after.column("note").to_pylist() == ["hi [NAME]", "[NAME]: [EMAIL]", "nothing", None]


@pytest.mark.parametrize("name", ["presidio:x", "spacy", "other", "spacy:"])
def test_an_unknown_recogniser_is_refused(name: str) -> None:
    """With what may be written."""
    with pytest.raises(SetupError, match="presidio"):
        load_recogniser(name)
