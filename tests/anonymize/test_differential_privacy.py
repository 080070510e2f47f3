"""Local differential privacy as a method: what is perturbed, what is removed, what the budget is spent on."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.cmac import first_bytes
from microflow.anonymize.contract import Method, MethodSettings, RecordAnonymizer
from microflow.anonymize.differential_privacy import (
    GRID_STEPS,
    Decoder,
    Grid,
    LocalDifferentialPrivacy,
    perturbed_columns,
    public_domain,
)
from microflow.descriptors import load_schema, schema_names
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role, Value

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


SEX = Column("sex", categories=("F", "M", "X"))
FLAG = Column("flag", dtype=Dtype.BOOLEAN)
ZIP = Column("zip", kind="zip", hierarchy=Hierarchy(prefix=(5, 3, 0)))
AGE = Column("age", dtype=Dtype.INTEGER, low=0, high=120)
COST = Column("cost", dtype=Dtype.NUMBER, low=-5.5, high=100_000)

VALUES = [
    (SEX, st.none() | st.sampled_from(["F", "M", "X", "", "f", "other"])),
    (FLAG, st.none() | st.booleans()),
    (ZIP, st.none() | st.text("0123456789AB*é", max_size=6)),
    (AGE, st.none() | st.integers(-(10**6), 10**6)),
    (COST, st.none() | st.floats(-1e9, 1e9)),
]


@pytest.mark.parametrize(("column", "anything"), VALUES, ids=[column.name for column, _ in VALUES])
@given(data=st.data())
def test_one_value_is_coded_like_a_column(
    column: Column, anything: st.SearchStrategy[Value], data: st.DataObject
) -> None:
    """And every code has a value of the column's own type."""
    values = data.draw(st.lists(anything, max_size=20))
    domain = public_domain(column)
    assert domain is not None
    codes = domain.encode(pa.array(values, column.dtype.arrow))
    assert codes.tolist() == [domain.encode_one(value) for value in values]
    released = domain.decode(codes)
    assert released.type == column.dtype.arrow
    assert released.to_pylist() == [domain.values[code] for code in codes]


def test_a_value_of_the_domain_is_its_own_release() -> None:
    """Without noise nothing would change, but for grids wider than their steps."""
    for column, values in ((SEX, ["X", None, "F"]), (FLAG, [True, False, None]), (AGE, [0, 57, 120, None])):
        domain = public_domain(column)
        assert domain is not None
        assert domain.decode(domain.encode(pa.array(values, column.dtype.arrow))).to_pylist() == values


def test_what_lies_outside_is_clamped_or_missing() -> None:
    """Numbers move to the nearer bound; an undeclared text says nothing."""
    age, sex = public_domain(AGE), public_domain(SEX)
    assert age is not None
    assert sex is not None
    assert age.decode(age.encode(pa.array([-4, 150]))).to_pylist() == [0, 120]
    assert sex.decode(sex.encode(pa.array(["?", "f"]))).to_pylist() == [None, None]


def test_of_a_zip_code_one_digit_is_left() -> None:
    """Written as the prefix label that other methods write."""
    domain = public_domain(ZIP)
    assert domain is not None
    released = domain.decode(domain.encode(pa.array(["94110", "941", "0", "K1A", None])))
    assert released.to_pylist() == ["9****", "9****", "0****", None, None]


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), dtype=st.sampled_from([Dtype.INTEGER, Dtype.NUMBER]))
def test_a_grid_stays_within_its_bounds(low: float, width: float, dtype: Dtype) -> None:
    """At most 1,025 points, ascending, the first and last being the bounds themselves."""
    if dtype is Dtype.INTEGER:
        low, width = round(low), max(1, round(width))
    grid = Grid(low, low + width, dtype)
    points = list(grid.values[:-1])
    assert len(points) == grid.size <= GRID_STEPS + 1
    assert points == sorted(set(points))
    assert points[0] == low
    assert points[-1] == pytest.approx(low + width)
    assert max(points) <= low + width


def test_without_a_declaration_there_is_no_domain() -> None:
    """Bounds taken from the data would leak them."""
    unknown = [Column("country"), Column("n", dtype=Dtype.INTEGER), Column("n", dtype=Dtype.INTEGER, low=0)]
    unknown += [Column("day", dtype=Dtype.DATE), Column("code", hierarchy=Hierarchy(prefix=(3, 0)))]
    assert [public_domain(column) for column in unknown] == [None] * 5


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (Dtype.STRING, ("F", "M")),
        (Dtype.STRING, ("E11", "I10", "J45")),
        (Dtype.STRING, ("ä", "no")),
        (Dtype.STRING, ("low", "middle")),
        (Dtype.STRING, ("",)),
        (Dtype.BOOLEAN, (False, True)),
        (Dtype.INTEGER, (0, 5, 2**40)),
        (Dtype.NUMBER, (0.5, -1e300)),
    ],
)
def test_every_code_gives_its_value(dtype: Dtype, values: tuple[Value, ...]) -> None:
    """Texts of equal and of different length, numbers and booleans; the last code is missing, and no code is fine."""
    told = Decoder((*values, None), dtype)
    for codes in ([], [len(values)], [*range(len(values) + 1)] * 3):
        column = told(np.array(codes, np.int64))
        column.validate(full=True)
        assert column.type == dtype.arrow
        assert column.to_pylist() == [(*values, None)[code] for code in codes]


@given(st.lists(st.none() | st.text(max_size=3), max_size=20), st.integers(0, 20))
def test_first_bytes_of_any_text(texts: list[str | None], start: int) -> None:
    """Slices and every script included."""
    column = pa.array(texts, pa.string()).slice(start)
    expected = [text.encode()[0] if text else 0 for text in texts[start:]]
    assert first_bytes(column).tolist() == expected
