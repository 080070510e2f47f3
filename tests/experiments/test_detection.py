"""Detection is measured against the truth, and reaches what the rules are held to."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from scipy.stats import binomtest

from microflow.datasets import DATA_TYPES, GeneratedBatch, generate
from microflow.errors import InputError
from microflow.experiments import detection
from microflow.experiments.detection import (
    Accuracy,
    Counts,
    by_regulation,
    corpus_counts,
    measure_accuracy,
    own_name_counts,
)

CORPUS = detection.corpus_file()
needs_corpus = pytest.mark.skipif(CORPUS is None, reason="the labelled corpus is not beside the checkout")


@pytest.mark.parametrize("data_type", DATA_TYPES)
def test_every_rule_reaches_the_goal_with_hard_cases(data_type: str) -> None:
    """On 20,000 records with near misses, every rule that is broken is found, and found right."""
    measured = measure_accuracy(data_type, generate(data_type, 20_000, seed=11))
    assert [one.rule for one in measured if not one.reaches_goal] == []
    assert sum(one.counts.hits for one in measured) > 1_000


def test_what_is_wrong_is_counted_as_wrong() -> None:
    """A truth that the check cannot meet shows as a miss, and a finding without truth as a false alarm."""
    batch = next(generate("healthcare", 1_000, seed=5))
    kept = batch.truth.slice(1)
    dropped = batch.truth.slice(0, 1).to_pylist()[0]
    clean = next(row for row in range(1_000) if row not in set(batch.truth["row"].to_pylist()))
    invented = pa.RecordBatch.from_pylist([{**dropped, "row": clean}], schema=batch.truth.schema)
    truth = pa.Table.from_batches([kept, invented]).combine_chunks().to_batches()[0]
    measured = measure_accuracy("healthcare", [GeneratedBatch(batch.rows, truth)])
    wrong = {one.rule: one.counts for one in measured}[dropped["rule"]]
    assert (wrong.false_alarms, wrong.misses) == (1, 1)


def test_intervals_are_wilson_s() -> None:
    """Recall and precision have the interval that SciPy gives."""
    counts = Counts(hits=90, false_alarms=5, misses=10)
    expected = binomtest(90, 100).proportion_ci(method="wilson")
    assert (counts.recall.low, counts.recall.high) == pytest.approx((expected.low, expected.high))
    expected = binomtest(90, 95).proportion_ci(method="wilson")
    assert (counts.precision.low, counts.precision.high) == pytest.approx((expected.low, expected.high))


def test_regulations_pool_their_rules() -> None:
    """A regulation's counts are the sum of its rules', over data types."""
    measured = [Accuracy("a", "R", "r-1", Counts(1, 2, 3)), Accuracy("b", "R", "r-2", Counts(10, 20, 30))]
    assert by_regulation(measured) == {"R": Counts(11, 22, 33)}


def test_prose_of_others_stands_beside_conformance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A labelled corpus is an arm of its own, by its hash; another file is refused; without a corpus, no arm."""
    corpus = tmp_path / "prose.jsonl"
    text = "Write to ann@example.org or to the office."
    span = {"kind": "EMAIL_ADDRESS", "start": 9, "end": 24}
    missed = {"text": "Card four one one one.", "spans": [{"kind": "CREDIT_CARD", "start": 5, "end": 21}]}
    corpus.write_text(json.dumps({"text": text, "spans": [span]}) + "\n" + json.dumps(missed) + "\n")
    monkeypatch.setenv("MICROFLOW_PROSE", str(corpus))
    arm = next(arm for arm in detection.matrix("smoke").arms if "corpus" in arm.config)
    found = detection.corpus_trial(arm.config | {"seed": 1})
    counts = {one["rule"]: one["counts"] for one in found["rules"]}
    assert counts["email"] == {"hits": 1, "false_alarms": 0, "misses": 0}
    assert counts["card"] == {"hits": 0, "false_alarms": 0, "misses": 1}
    with pytest.raises(InputError, match="not there"):
        detection.corpus_trial({"corpus": "0" * 64})
    monkeypatch.setenv("MICROFLOW_PROSE", str(tmp_path / "nothing"))
    assert [arm.absent for arm in detection.matrix("smoke").arms if "corpus" in arm.config] == [True]


def test_recall_and_precision_are_counted(tmp_path: Path) -> None:
    """By hand: two phones labelled, one found; one card found that nobody labelled."""
    line = '{"text": "call +14155550123 or 0; 4111111111111111", "spans": [%s]}'
    spans = '{"kind": "PHONE_NUMBER", "start": 5, "end": 17}, {"kind": "PHONE_NUMBER", "start": 21, "end": 22}'
    path = tmp_path / "x.jsonl"
    path.write_text(line % spans + "\n", "utf-8")
    phone = corpus_counts(path)["phone"]
    assert phone == Counts(hits=1, false_alarms=0, misses=1)
    assert (phone.recall.value, phone.precision.value) == (0.5, 1.0)


@needs_corpus
def test_kinds_on_the_independent_set() -> None:
    """Recall by kind is what was measured when this was written, or better, and hardly anything else is found."""
    found = corpus_counts(CORPUS)
    least = {"card": 1.0, "email": 1.0, "iban": 1.0, "ip": 1.0, "phone": 0.97, "ssn": 1.0, "url": 1.0}
    assert {kind: round(found[kind].recall.value, 3) for kind in least if found[kind].recall.value < least[kind]} == {}
    assert all(found[kind].precision.value >= 0.97 for kind in least)


@needs_corpus
def test_own_names_on_the_independent_set() -> None:
    """Persons whose names a column holds are found in the text."""
    assert own_name_counts(CORPUS).recall.value >= 0.999
