"""A population, and its releases by every method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import DatasetAnonymizer, Method, MethodSettings
from microflow.schema import Column, DatasetSchema, Dtype, Role

SCHEMA = DatasetSchema(
    "people",
    (
        Column("record_id", Role.RECORD_ID, Dtype.INTEGER),
        Column("name", Role.IDENTIFIER),
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100),
        Column("sex", Role.QUASI_IDENTIFIER, categories=("F", "M")),
        Column("town", Role.QUASI_IDENTIFIER, categories=tuple("ABCDEFGH")),
        Column("illness", Role.SENSITIVE, categories=("none", "old age")),
        Column("cost", Role.SENSITIVE, Dtype.NUMBER, low=0, high=1000),
    ),
    policy="combined",
)
Release = Callable[[MethodSettings], tuple[pa.Table, np.ndarray]]


@pytest.fixture(scope="session")
def schema() -> DatasetSchema:
    return SCHEMA


@pytest.fixture(scope="session")
def people() -> pa.Table:
    """1,500 persons; illness follows age, cost follows nothing."""
    rng = np.random.default_rng(1)
    rows = 1_500
    age = rng.integers(0, 101, rows)
    ill = age + rng.normal(0, 10, rows) > 50
    return pa.table(
        {
            "record_id": np.arange(rows) + 10_000,
            "name": [f"person {i}" for i in range(rows)],
            "age": age,
            "sex": rng.choice(["F", "M"], rows),
            "town": pa.array(rng.choice(list("ABCDEFGH"), rows), mask=rng.random(rows) < 0.02),
            "illness": np.where(ill, "old age", "none"),
            "cost": rng.uniform(0, 1000, rows),
        },
        schema=SCHEMA.arrow,
    )


@pytest.fixture(scope="session")
def release(people: pa.Table) -> Release:
    def by(settings: MethodSettings) -> tuple[pa.Table, np.ndarray]:
        anonymizer = build_anonymizer(settings, SCHEMA, bytes(64))
        rows = people.combine_chunks().to_batches()[0]
        if isinstance(anonymizer, DatasetAnonymizer):
            anonymizer.observe(rows)
            anonymizer.freeze()
        released = anonymizer.anonymize(rows)  # type: ignore[attr-defined]
        return pa.Table.from_batches([released.rows]), released.kept

    return by


@pytest.fixture(
    params=[
        MethodSettings(Method.IDENTITY),
        MethodSettings(Method.TOKENIZATION),
        MethodSettings(Method.K_ANONYMITY, k=5),
        MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=1.0, seed=1),
    ],
    ids=lambda settings: settings.method.value,
)
def any_release(request: pytest.FixtureRequest, release: Release) -> tuple[pa.Table, np.ndarray]:
    return release(request.param)
