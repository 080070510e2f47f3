"""Local differential privacy as a method: what is perturbed, what is removed, what the budget is spent on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, MethodSettings, RecordAnonymizer
from microflow.anonymize.differential_privacy import LocalDifferentialPrivacy, perturbed_columns
from microflow.descriptors import load_schema, schema_names
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

SCHEMA = DatasetSchema(
    "mine",
    (
        Column("record_id", Role.RECORD_ID, Dtype.INTEGER, required=True),
        Column("name", Role.IDENTIFIER),
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=120, share=2),
        Column("sex", Role.QUASI_IDENTIFIER, categories=("F", "M")),
        Column("zip", Role.QUASI_IDENTIFIER, kind="zip", hierarchy=Hierarchy(prefix=(5, 3, 0))),
        Column("village", Role.QUASI_IDENTIFIER),
        Column("smoker", Role.SENSITIVE, Dtype.BOOLEAN),
        Column("income", Role.SENSITIVE, Dtype.NUMBER, low=0, high=1e6),
        Column("remark", Role.FREE_TEXT),
    ),
    policy="combined",
)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "record_id": st.integers(0, 2**63 - 1),
            "name": st.none() | st.text(max_size=5),
            "age": st.none() | st.integers(-5, 130),
            "sex": st.none() | st.sampled_from(["F", "M", "?"]),
            "zip": st.none() | st.text("0123456789", max_size=5),
            "village": st.none() | st.text(max_size=3),
            "smoker": st.none() | st.booleans(),
            "income": st.none() | st.floats(-1e7, 1e7),
            "remark": st.none() | st.text(max_size=3),
        }
    ),
    max_size=8,
)


def method(epsilon: float = 1.0, seed: int | None = 3, schema: DatasetSchema = SCHEMA) -> LocalDifferentialPrivacy:
    return LocalDifferentialPrivacy(MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=epsilon, seed=seed), schema)


def batch(records: list[dict[str, object]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(records, schema=SCHEMA.arrow)


@settings(max_examples=50)
@given(records=RECORDS)
def test_columns_and_records_give_equal_rows(records: list[dict[str, object]]) -> None:
    """With a seed, in any order: noise follows the record id."""
    made = method()
    assert isinstance(made, RecordAnonymizer)
    released = made.anonymize(batch(records))
    released.rows.validate(full=True)
    assert released.rows.schema == made.output_schema == SCHEMA.arrow
    assert released.rows.to_pylist() == [made.anonymize_record(record) for record in records]
    assert released.kept.tolist() == list(range(len(records)))
    assert made.anonymize(batch(records[::-1])).rows.to_pylist() == released.rows.to_pylist()[::-1]


@given(records=RECORDS)
def test_nothing_leaves_but_the_public_domain(records: list[dict[str, object]]) -> None:
    """Identifiers and columns without a domain are missing; perturbed values say nothing the descriptor does not."""
    released = method(seed=None).anonymize(batch(records)).rows.to_pylist()
    domains = {one.column.name: set(one.domain.values) for one in perturbed_columns(SCHEMA, 1.0)}
    for before, after in zip(records, released, strict=True):
        assert after["name"] is after["village"] is None
        assert all(after[name] in values for name, values in domains.items())
        assert (after["record_id"], after["remark"]) == (before["record_id"], before["remark"])


def test_the_budget_is_split_by_the_declared_shares() -> None:
    """Five perturbed fields, one of which has a share of two."""
    spent = method(3.0).describe()["epsilon_of_field"]
    assert spent == pytest.approx({"age": 1.0, "sex": 0.5, "zip": 0.5, "smoker": 0.5, "income": 0.5})


@pytest.mark.parametrize("name", schema_names())
def test_every_shipped_schema_spends_exactly_its_budget(name: str) -> None:
    """The epsilons of the fields add up to the record's, and what passes unprotected is named."""
    schema = load_schema(name)
    claim = method(2.0, schema=schema).describe()
    assert math.fsum(claim["epsilon_of_field"].values()) == pytest.approx(2.0)
    named = {*claim["epsilon_of_field"], *claim["removed"], *claim["passed_unprotected"]}
    assert named == set(schema.names)
    protected = {column.name for column in schema.with_role(Role.IDENTIFIER, Role.QUASI_IDENTIFIER, Role.SENSITIVE)}
    assert not protected & set(claim["passed_unprotected"])
    assert claim["privacy_unit"] == "one record"


def test_two_records_are_alike_up_to_epsilon() -> None:
    """Sequential composition, exactly: the product of all fields' worst ratios is at most e^epsilon."""
    epsilon = 1.5
    small = replace(SCHEMA, columns=tuple(column for column in SCHEMA.columns if column.name != "income"))
    worst = 0.0
    for one in perturbed_columns(small, epsilon):
        codes = range(one.domain.size + 1)
        columns = [[one.mechanism.probability(released, true) for true in codes] for released in codes]
        worst += math.log(max(max(column) / min(column) for column in columns))
    assert worst <= epsilon


def test_seeds_repeat_and_differ_and_none_does_not_repeat() -> None:
    """The seed is in the claim, so that a run records it."""
    rows = batch([{"record_id": i, "age": i % 100, "sex": "F"} for i in range(300)])
    once, again, other = (method(seed=seed).anonymize(rows).rows for seed in (1, 1, 2))
    assert once.equals(again)
    assert not once.equals(other)
    assert not method(seed=None).anonymize(rows).rows.equals(method(seed=None).anonymize(rows).rows)
    assert method(seed=1).describe()["randomness"] == "seed 1"


def test_noise_of_fields_is_independent() -> None:
    """Two columns of equal truths are released with uncorrelated noise."""
    pair = tuple(Column(name, Role.QUASI_IDENTIFIER, Dtype.NUMBER, low=0, high=1) for name in "ab")
    schema = DatasetSchema("pair", pair, "combined")
    rows = pa.RecordBatch.from_pydict({"a": [0.5] * 20_000, "b": [0.5] * 20_000}, schema=schema.arrow)
    released = method(16, schema=schema).anonymize(rows).rows.to_pandas().dropna()
    assert abs(np.corrcoef(released["a"], released["b"])[0, 1]) < 0.03


def test_a_schema_without_public_domain_is_refused() -> None:
    """There would be nothing to release."""
    bare = DatasetSchema("bare", (Column("village", Role.QUASI_IDENTIFIER),), "combined")
    with pytest.raises(MicroflowError, match="public domain") as caught:
        method(schema=bare)
    assert "categories" in caught.value.hint


@pytest.mark.parametrize("epsilon", [0.0, -1.0, 1e-4, 200.0])
def test_a_budget_out_of_range_is_refused(epsilon: float) -> None:
    """A share of it must be a budget that can be kept."""
    with pytest.raises(MicroflowError, match="epsilon"):
        method(epsilon)
