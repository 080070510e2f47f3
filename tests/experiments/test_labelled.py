"""An independent labelled set: what the scanner finds in texts that we did not write."""

from __future__ import annotations

from pathlib import Path

import pytest

from microflow.experiments.labelled import detection, own_name_recall

CORPUS = Path(__file__).parents[3] / "shared" / "data" / "pii_prose.jsonl"
needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the labelled corpus is not beside the checkout")


def test_recall_and_precision_are_counted(tmp_path: Path) -> None:
    """By hand: two phones labelled, one found; one card found that nobody labelled."""
    line = '{"text": "call +14155550123 or 0; 4111111111111111", "spans": [%s]}'
    spans = '{"kind": "PHONE_NUMBER", "start": 5, "end": 17}, {"kind": "PHONE_NUMBER", "start": 21, "end": 22}'
    path = tmp_path / "x.jsonl"
    path.write_text(line % spans + "\n", "utf-8")
    phone = detection(path)["phone"]
    assert (phone.labels, phone.covered, phone.recall, phone.precision) == (2, 1, 0.5, 1.0)


@needs_corpus
def test_kinds_on_the_independent_set() -> None:
    """Recall by kind is what was measured when this was written, or better, and hardly anything else is found."""
    found = detection(CORPUS)
    least = {"card": 1.0, "email": 1.0, "iban": 1.0, "ip": 1.0, "phone": 0.97, "ssn": 1.0, "url": 1.0}
    assert {kind: round(found[kind].recall, 3) for kind in least if found[kind].recall < least[kind]} == {}
    assert all(found[kind].precision >= 0.97 for kind in least)


@needs_corpus
def test_own_names_on_the_independent_set() -> None:
    """Persons whose names a column holds are found in the text."""
    persons, found = own_name_recall(CORPUS)
    assert found >= 0.999 * persons
