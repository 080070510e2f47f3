"""A rule that a user writes in YAML is enforced by every processor, without a line of Python."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.compliance.findings import Targets
from microflow.descriptors import load_schema
from microflow.engine import (
    HybridProcessor,
    LocalBatchProcessor,
    ProcessingSpec,
    StormStreamProcessor,
)
from microflow.records import microflows
from microflow.timing.clock import PhaseClock

HOUSE = """
name: house
include: [hipaa]
rules:
  - {id: house-hiv, title: No HIV diagnosis leaves the house, article: house rule 1, severity: critical,
     applies_to: {columns: [diagnosis]}, condition: {one_of: [B20]}, remedy: suppress_record}
  - {id: house-text-iban, title: No account number in notes, article: house rule 2, severity: high,
     applies_to: {roles: [free_text]}, condition: {contains: iban}, remedy: redact}
"""
IBAN = "pays by IE29 AIBK 9311 5212 3456 78"


@pytest.fixture
def spec(tmp_path: Path) -> ProcessingSpec:
    """HIPAA and two rules of a hospital over its encounters, rows otherwise unchanged."""
    (tmp_path / "house.yaml").write_text(HOUSE, "utf-8")
    schema = load_schema("healthcare")
    return ProcessingSpec(schema, load_policy(tmp_path / "house.yaml"), MethodSettings(Method.IDENTITY))


@pytest.fixture
def rows(spec: ProcessingSpec, make_rows: Callable[..., pa.RecordBatch]) -> pa.RecordBatch:
    """Rows that break only the two own rules: every tenth note names an account."""
    clean = make_rows(spec.schema, 300, bad=0.0)
    notes = [IBAN if i % 10 == 0 else "stable" for i in range(300)]
    at = clean.schema.get_field_index("notes")
    return clean.set_column(at, clean.schema.field(at), pa.array(notes, pa.string()))


def assert_enforced(processor: Any, spec: ProcessingSpec, rows: pa.RecordBatch) -> None:
    """Every breach is found, every such record suppressed, every account number redacted."""
    done = list(processor.process(microflows([rows], 100), PhaseClock()))
    hiv = [i for i, diagnosis in enumerate(rows.column("diagnosis").to_pylist()) if diagnosis == "B20"]
    assert hiv
    rules = [target.rule.id for target in Targets(spec.policy, spec.schema).all]
    found, notes = [], {}
    for one in done:
        broken = zip(one.findings.rows.tolist(), one.findings.targets.tolist(), strict=True)
        found += [(one.first_row + row, rules[target]) for row, target in broken]
        notes |= dict(zip(one.ordinals.tolist(), one.released.column("notes").to_pylist(), strict=True))
    assert sorted(row for row, rule in found if rule == "house-hiv") == hiv
    assert sorted(row for row, rule in found if rule == "house-text-iban") == list(range(0, 300, 10))
    assert sorted(row for one in done for row in one.suppressed.tolist()) == hiv
    assert sorted(notes) == sorted(set(range(300)) - set(hiv))
    assert all(note == ("pays by [IBAN]" if row % 10 == 0 else "stable") for row, note in notes.items())


@pytest.mark.parametrize("processor", [LocalBatchProcessor, StormStreamProcessor, HybridProcessor])
def test_a_rule_in_yaml_is_enforced(processor: Any, spec: ProcessingSpec, rows: pa.RecordBatch) -> None:
    """Batch, stream and hybrid find, suppress and redact by rules that no code knows."""
    assert_enforced(processor(spec), spec, rows)
