"""The benchmark of k-anonymity compares like with like: both sides k-anonymous, one measure of loss."""

from __future__ import annotations

from pathlib import Path

import pytest
from pycanon import anonymity as canon

from benchmarks.k_anonymity import adult, anonypy_labels, information_loss
from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.k_anonymity import KAnonymity


@pytest.mark.parametrize("k", [5, 15])
def test_ours_loses_less_than_anonypy(adult_csv: Path, monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    """On UCI Adult both are k-anonymous by pycanon's count, and ours keeps more by the same measure."""
    monkeypatch.setenv("MICROFLOW_ADULT", str(adult_csv))
    found = adult()
    assert found is not None
    schema, rows = found[0], found[1].slice(0, 6_000)
    anonymizer = KAnonymity(MethodSettings(Method.K_ANONYMITY, k=k), schema)
    anonymizer.observe(rows)
    anonymizer.freeze()
    ours, theirs = anonymizer.anonymize(rows).rows, anonypy_labels(rows, schema, k)
    quasi = [column.name for column in schema.quasi_identifiers]
    for released in (ours, theirs):
        assert released.num_rows == rows.num_rows
        frame = released.select(quasi).to_pandas().fillna("(missing)")
        assert canon.k_anonymity(frame, quasi) >= k
    assert information_loss(rows, ours, schema) < information_loss(rows, theirs, schema)
