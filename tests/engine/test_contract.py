"""What a schema says of attributes that nothing else protects is done by every method."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.engine import ProcessingSpec, build_processor
from microflow.records import microflows
from microflow.schema import Column, DatasetSchema, Dtype, Role
from microflow.timing.clock import PhaseClock

SCHEMA = DatasetSchema(
    "visits",
    (
        Column("id", Role.RECORD_ID, Dtype.INTEGER),
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100),
        Column("ward", categories=("north", "south")),
    ),
    "gdpr",
)
ROWS = pa.record_batch(
    {"id": list(range(40)), "age": [20 + n % 10 for n in range(40)], "ward": ["north", "south"] * 20},
    schema=SCHEMA.arrow,
)
METHODS = (Method.K_ANONYMITY, Method.DIFFERENTIAL_PRIVACY, Method.TOKENIZATION)


def wards(method: Method, unlisted: str, pipeline: str = "batch") -> list[str | None]:
    schema = replace(SCHEMA, unlisted=unlisted)
    settings = MethodSettings(method, k=4, delta=20)
    spec = ProcessingSpec(schema, load_policy("gdpr"), settings, key=bytes(range(32)))
    done = build_processor(spec, pipeline).process(microflows([ROWS]), PhaseClock())
    return [ward for one in done for ward in one.released["ward"].to_pylist()]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pipeline", ["batch", "stream"])
def test_an_attribute_passes_or_is_dropped(method: Method, pipeline: str) -> None:
    """Both ways on both pipelines; as many rows leave (CASTLE holds a few back at the end)."""
    passed = wards(method, "pass", pipeline)
    assert set(passed) == {"north", "south"}
    assert len(passed) >= 30
    assert wards(method, "drop", pipeline) == [None] * len(passed)


def test_an_attribute_is_treated_as_its_method_treats() -> None:
    """A token, a perturbed value of the same domain, or a part of an equivalence class."""
    assert all(ward is not None and ward.startswith("t2.") for ward in wards(Method.TOKENIZATION, "treat"))
    perturbed = wards(Method.DIFFERENTIAL_PRIVACY, "treat")
    assert set(perturbed) <= {"north", "south", None}
    assert perturbed != ["north", "south"] * 20
    spec = ProcessingSpec(
        replace(SCHEMA, unlisted="treat"), load_policy("gdpr"), MethodSettings(Method.K_ANONYMITY, k=4)
    )
    assert [column.name for column in spec.schema.quasi_identifiers] == ["age", "ward"]


def test_a_specification_may_be_changed_and_stays_as_it_is() -> None:
    """Engines derive specifications from each other: the rule is there once."""
    spec = ProcessingSpec(
        replace(SCHEMA, unlisted="drop"), load_policy("gdpr"), MethodSettings(Method.TOKENIZATION), key=bytes(32)
    )
    again = replace(spec, microflow_rows=10)
    assert [rule.id for rule in again.policy.rules].count("unlisted-attribute") == 1
