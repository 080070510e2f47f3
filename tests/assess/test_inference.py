"""What a sensitive value and the untouched columns give away, against what anybody could guess."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess import assess
from microflow.assess.inference import epsilon_lower_bound
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, Role


def population(rows: int, *, secret: np.ndarray, sizes: int = 1) -> pa.Table:
    """Persons with an age of their own, ``sizes`` of them of one age, and a secret."""
    return pa.table({
        "age": np.arange(rows) // sizes,
        "illness": [("none", "some")[one] for one in secret.astype(int)],
        "visit": [f"visit {one}" for one in range(rows)],
    })  # fmt: skip


SCHEMA = DatasetSchema(
    "people",
    (
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=10_000),
        Column("illness", Role.SENSITIVE, categories=("none", "some")),
        Column("visit", Role.ATTRIBUTE),
    ),
    policy="combined",
)


def test_a_release_of_everything_gives_the_value_away() -> None:
    """The value follows nothing, so that without the target's row half of the guesses are right, and with it all."""
    secret = np.random.default_rng(1).integers(0, 2, 2_000)
    rows = population(2_000, secret=secret)
    found = assess(rows, rows, np.arange(2_000), SCHEMA).inference
    assert found is not None
    assert found.main.value == 1.0
    assert found.control.low < 0.5 < found.control.high
    assert found.risk == pytest.approx(1.0)


def test_what_everybody_knows_is_no_risk() -> None:
    """Where the value follows the age, a release teaches the rule, and nothing about the target beyond it."""
    rows = population(2_000, secret=np.arange(2_000) >= 1_000)
    found = assess(rows, rows, np.arange(2_000), SCHEMA).inference
    assert found is not None
    assert found.control.value > 0.98
    assert found.main.value - found.control.value < 0.02
    blanked = rows.set_column(0, "age", pa.nulls(2_000, pa.int64()))
    hidden = assess(rows, blanked, np.arange(2_000), SCHEMA).inference
    assert hidden is not None
    assert hidden.main.high < 0.6


def test_large_classes_hide_the_value() -> None:
    """A class of fifty with an even secret: one row more or less moves few guesses."""
    secret = np.random.default_rng(2).integers(0, 2, 2_000)
    rows = population(2_000, secret=secret, sizes=50)
    found = assess(rows, rows, np.arange(2_000), SCHEMA).inference
    assert found is not None
    assert found.risk < 0.25


def test_a_suppressed_target_is_guessed_alike_with_and_without_its_row() -> None:
    """Whose row was not released has no row to be without."""
    secret = np.random.default_rng(3).integers(0, 2, 1_000)
    rows = population(1_000, secret=secret)
    kept = np.arange(0, 1_000, 2)
    found = assess(rows, rows.take(kept), kept, SCHEMA).inference
    assert found is not None
    assert found.main.value == pytest.approx(0.75, abs=0.06)


def test_columns_that_pass_find_the_person_again() -> None:
    """k-anonymity of the quasi-identifiers is no help against who knows the day of the visit."""
    rows = population(1_000, secret=np.zeros(1_000, np.int64))
    blanked = rows.set_column(0, "age", pa.nulls(1_000, pa.int64()))
    found = assess(rows, blanked, np.arange(1_000), SCHEMA)
    assert found.linkage[-1].risk < 0.02
    assert found.linkage_by_passed is not None
    assert found.linkage_by_passed.main.value == 1.0
    assert found.linkage_by_passed.knows == 1
    assert found.inference is None  # all have the same secret
    alike = blanked.set_column(2, "visit", pa.array(["one"] * 1_000))
    assert assess(rows, alike, np.arange(1_000), SCHEMA).linkage_by_passed.main.value == 0.0  # type: ignore[union-attr]


def test_nothing_that_passes_is_no_attack() -> None:
    """A schema without such columns has no such attack, and the report goes on without it."""
    schema = replace(SCHEMA, columns=SCHEMA.columns[:2])
    rows = population(500, secret=np.arange(500) % 2).select(["age", "illness"])
    assert assess(rows, rows, np.arange(500), schema).linkage_by_passed is None


def test_uci_adult_as_expected_from_outside(adult_csv) -> None:
    """k=5 gives some salaries away, k=15 fewer, and noise next to none (figures measured with other software)."""
    from microflow.anonymize import build_anonymizer
    from microflow.anonymize.contract import DatasetAnonymizer
    from microflow.descriptors import load_schema
    from microflow.sources import Quarantine, read_microflows

    schema = load_schema("adult")
    quarantine = Quarantine()
    table = pa.Table.from_batches([flow.rows for flow in read_microflows(adult_csv, schema, quarantine=quarantine)])
    rows = table.combine_chunks().to_batches()[0]
    expected = {
        MethodSettings(Method.K_ANONYMITY, k=5): 0.17,
        MethodSettings(Method.K_ANONYMITY, k=15): 0.07,
        MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=2.0, seed=1): 0.02,
    }
    for settings, risk in expected.items():
        method = build_anonymizer(settings, schema, bytes(64))
        if isinstance(method, DatasetAnonymizer):
            method.observe(rows)
            method.freeze()
        released = method.anonymize(rows)  # type: ignore[attr-defined]
        found = assess(table, pa.Table.from_batches([released.rows]), released.kept, schema).inference
        assert found is not None
        assert found.risk == pytest.approx(risk, abs=0.06)


def randomised(epsilon: float, rows: int, seed: int, values: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Generalised randomised response: the truth with e^ε times the probability of each other value."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, values, rows)
    keep = rng.random(rows) < math.exp(epsilon) / (math.exp(epsilon) + values - 1)
    other = (truth + rng.integers(1, values, rows)) % values
    return truth, np.where(keep, truth, other)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 2.0])
def test_the_bound_is_below_and_near(epsilon: float) -> None:
    """Over 200 releases it exceeds ε in at most 5 % (binomial: 18 or fewer), and typically finds most of it."""
    found = [epsilon_lower_bound([randomised(epsilon, 5_000, seed)]) for seed in range(200)]
    assert sum(one > epsilon for one in found) <= 18
    assert np.median(found) > epsilon - 0.45


def test_columns_add_up() -> None:
    """Two columns of ε = 1 are a record of ε = 2."""
    columns = [randomised(1.0, 50_000, seed) for seed in (1, 2)]
    assert 1.6 < epsilon_lower_bound(columns) <= 2.0


def test_a_release_of_everything_has_no_small_epsilon() -> None:
    """Where the value itself is released, more rows refute ever larger ε; where noise alone is, none."""
    truth = np.arange(10_000) % 2
    assert epsilon_lower_bound([(truth, truth)]) > 6
    assert epsilon_lower_bound([(truth, np.random.default_rng(1).integers(0, 2, 10_000))]) < 0.1


def test_too_few_rows_say_nothing() -> None:
    """Nothing is claimed from values that hardly anybody has."""
    assert epsilon_lower_bound([(np.arange(40), np.arange(40))]) == 0.0
    assert epsilon_lower_bound([]) == 0.0


NUMBERED = DatasetSchema(
    "people", (Column("record_id", Role.RECORD_ID, Dtype.INTEGER), *SCHEMA.columns[:2]), "combined"
)


def numbered(first: int, ages: np.ndarray) -> pa.Table:
    return pa.table({
        "record_id": np.arange(first, first + len(ages)),
        "age": ages,
        "illness": np.where(np.arange(len(ages)) % 2, "some", "none"),
    })  # fmt: skip


def test_who_is_in_it_is_told_by_values_that_only_members_have() -> None:
    """Every member's age is released, and none of the others': all are told apart, and a row fits its person alone."""
    members, others = numbered(0, np.arange(0, 2_000, 2)), numbered(5_000, np.arange(1, 2_001, 2))
    found = assess(members, members, np.arange(1_000), NUMBERED, control=others).presence
    assert found is not None
    assert (found.membership.main.value, found.membership.control.value) == (1.0, 0.0)
    assert found.membership.risk == 1.0
    assert (found.population, found.k_map, found.delta_low, found.delta_high) == (2_000, 1, 1.0, 1.0)


def test_who_is_in_it_is_hidden_among_others_of_equal_values() -> None:
    """Three others of each member's age: a guess is no better than chance, and every fourth who fits is a member."""
    ages = np.arange(500)
    members, others = numbered(0, ages), numbered(5_000, np.tile(ages, 3))
    found = assess(members, members, np.arange(500), NUMBERED, control=others).presence
    assert found is not None
    assert found.membership.low == 0.0
    assert (found.k_map, found.delta_low, found.delta_high) == (4, 0.25, 0.25)


def test_suppressed_rows_are_no_members() -> None:
    """Who was left out of the release is not attacked as a member, and still belongs to the population."""
    members, others = numbered(0, np.arange(0, 2_000, 2)), numbered(5_000, np.arange(1, 2_001, 2))
    kept = np.arange(0, 1_000, 2)
    found = assess(members, members.take(pa.array(kept)), kept, NUMBERED, control=others).presence
    assert found is not None
    assert found.membership.main.value == 1.0
    assert (found.population, found.delta_low) == (2_000, 1.0)


@pytest.mark.parametrize(("first", "ages", "told"), [(0, [7], "belong to persons"), (9_000, [], "no rows")])
def test_a_control_holds_others(first: int, ages: list[int], told: str) -> None:
    """Members among the control would hide the risk."""
    members = numbered(0, np.arange(100))
    with pytest.raises(InputError, match=told):
        assess(members, members, np.arange(100), NUMBERED, control=numbered(first, np.array(ages, np.int64)))
