"""Attacks succeed where they must, fail where they must, and count by the labels' own meaning."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from statsmodels.stats.proportion import proportion_confint

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.generalise import parse
from microflow.assess.attacks import Attack, Rate, _guesses, linkage, matches, singling_out
from microflow.assess.pair import Pair
from microflow.schema import Column, DatasetSchema, Dtype, Role


@given(attempts=st.integers(1, 5_000), data=st.data())
def test_wilson_is_that_of_statsmodels(attempts: int, data: st.DataObject) -> None:
    """At both ends, too."""
    successes = data.draw(st.integers(0, attempts))
    rate = Rate.of(successes, attempts)
    assert (rate.low, rate.high) == pytest.approx(proportion_confint(successes, attempts, method="wilson"), abs=1e-9)


def test_a_risk_is_what_exceeds_chance() -> None:
    """(main - control) / (1 - control); an attack that does worse than chance is no risk."""
    half, tenth, none = Rate.of(500, 1_000), Rate.of(100, 1_000), Rate.of(0, 1_000)
    assert Attack.of("a", 1, half, tenth).risk == pytest.approx(0.4 / 0.9)
    assert Attack.of("a", 1, tenth, half).risk == 0
    assert Attack.of("a", 1, half, none).risk == 0.5
    attack = Attack.of("a", 1, half, tenth)
    assert attack.low == pytest.approx((half.low - tenth.high) / (1 - tenth.high))
    assert attack.high == pytest.approx((half.high - tenth.low) / (1 - tenth.low))


def test_where_chance_always_wins_there_is_no_risk() -> None:
    """No division by zero, and no attempts leave everything open."""
    sure = Rate.of(10, 10)
    assert Attack.of("a", 1, sure, sure).risk == 0
    assert (Rate.of(0, 0).low, Rate.of(0, 0).high) == (0, 1)


def rng() -> np.random.Generator:
    return np.random.default_rng(2)


def unique_people(rows: int) -> tuple[DatasetSchema, pa.Table]:
    """Everybody differs from everybody in the second of two columns."""
    columns = (Column("sex", Role.QUASI_IDENTIFIER), Column("n", Role.QUASI_IDENTIFIER, Dtype.INTEGER))
    schema = DatasetSchema("unique", columns, "combined")
    return schema, pa.table({"sex": ["F", "M"] * (rows // 2), "n": np.arange(rows)}, schema=schema.arrow)


def test_who_is_unique_is_found_for_certain() -> None:
    """Knowing everything links every record and singles it out; chance finds nobody."""
    schema, table = unique_people(600)
    pair = Pair.of(schema, table, table, np.arange(600))
    found, isolated = linkage(pair, 2, 300, rng()), singling_out(pair, 200, rng())
    assert found.main.value == 1
    assert found.control.value < 0.02
    assert isolated.main.value == 1
    assert isolated.control.value == 0


def test_knowing_less_finds_fewer() -> None:
    """One column of two, chosen by lot for each target: half the attackers know only the sex."""
    schema, table = unique_people(600)
    pair = Pair.of(schema, table, table, np.arange(600))
    assert 0.4 < linkage(pair, 1, 600, rng()).main.value < 0.6


def test_the_order_of_release_does_not_matter() -> None:
    """A win is the target's row by its ordinal, not by its place."""
    schema, table = unique_people(200)
    order = rng().permutation(200)
    pair = Pair.of(schema, table, table.take(order), order)
    assert linkage(pair, 2, 200, rng()).main.value == 1


def test_a_suppressed_person_is_not_found() -> None:
    """Half the rows did not leave: at most half the targets can be found."""
    schema, table = unique_people(400)
    pair = Pair.of(schema, table, table.slice(0, 200), np.arange(200))
    assert linkage(pair, 2, 400, rng()).main.value == pytest.approx(0.5)


def test_equal_people_are_found_by_lot() -> None:
    """In a class of four the attacker is right one time in four, and it is all chance beyond that."""
    schema, _ = unique_people(1_000)
    four = pa.table({"sex": ["F"] * 1_000, "n": np.arange(1_000) // 4}, schema=schema.arrow)
    pair = Pair.of(schema, four, four, np.arange(1_000))
    assert linkage(pair, 2, 1_000, rng()).main.value == pytest.approx(0.25, abs=0.05)


def test_ties_are_broken_by_lot_over_rows() -> None:
    """Six rows in classes of one, two and three, all equally near: each is named equally often."""
    schema, _ = unique_people(2)
    table = pa.table({"sex": ["F"] * 6, "n": [1, 2, 2, 3, 3, 3]}, schema=schema.arrow)
    pair = Pair.of(schema, table, table, np.arange(6))
    told = np.zeros(3_000, np.int64)
    guesses = _guesses(pair, told, np.tile([True, False], (3_000, 1)), rng())
    assert chisquare(np.bincount(guesses, minlength=6)).pvalue > 1e-3


def test_of_two_labels_that_fit_the_narrower_is_believed() -> None:
    """And a label that does not fit is not, however narrow."""
    schema = DatasetSchema("n", (Column("n", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100),), "combined")
    before = pa.table({"n": [50, 50, 50]}, schema=schema.arrow)
    pair = Pair.of(schema, before, pa.table({"n": ["[0-100]", "[40-60]", "[51-52]"]}), np.arange(3))
    assert set(_guesses(pair, np.zeros(50, np.int64), np.ones((50, 1), np.bool_), rng())) == {1}


def test_k_anonymity_bounds_linkage_and_tokens_do_not(people: pa.Table, release, schema: DatasetSchema) -> None:
    """The bound is 1/k for whoever knows all quasi-identifiers; tokens leave them as they were."""
    risk = {}
    for settings in (
        MethodSettings(Method.IDENTITY),
        MethodSettings(Method.TOKENIZATION),
        MethodSettings(Method.K_ANONYMITY, k=5),
        MethodSettings(Method.K_ANONYMITY, k=15),
        MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=0.5, seed=1),
    ):
        pair = Pair.of(schema, people, *release(settings))
        risk[settings.method, settings.k] = linkage(pair, 3, 1_000, rng())
    plain = risk[Method.IDENTITY, 5].main.value
    assert plain > 0.5
    assert risk[Method.TOKENIZATION, 5].main.value == pytest.approx(plain)
    assert risk[Method.K_ANONYMITY, 5].main.low < 1 / 5
    assert risk[Method.K_ANONYMITY, 15].main.low < 1 / 15
    assert risk[Method.K_ANONYMITY, 15].main.value < risk[Method.K_ANONYMITY, 5].main.value
    assert risk[Method.DIFFERENTIAL_PRIVACY, 5].main.value < 0.02


def test_matches_count_what_labels_cover(any_release, people: pa.Table, schema: DatasetSchema) -> None:
    """Equal to asking each label of each row about every person."""
    released, ordinals = any_release
    pair = Pair.of(schema, people, released, ordinals)
    rows = np.arange(0, released.num_rows, 111)
    found = matches(pair, rows, np.ones((people.num_rows, 1)))[:, 0]
    names = [column.name for column in schema.quasi_identifiers]
    persons = people.select(names).to_pylist()
    for row, count in zip(released.select(names).take(rows).to_pylist(), found, strict=True):
        labels = {name: parse(None if row[name] is None else str(row[name]), schema[name]) for name in names}
        assert count == sum(all(labels[name].covers(person[name]) for name in names) for person in persons)


def test_singling_out_under_k_anonymity_is_no_better_than_chance(
    people: pa.Table, release, schema: DatasetSchema
) -> None:
    """Labels were made so that nobody stands alone behind them."""
    pair = Pair.of(schema, people, *release(MethodSettings(Method.K_ANONYMITY, k=5)))
    assert singling_out(pair, 500, rng()).low == 0
    plain = Pair.of(schema, people, *release(MethodSettings(Method.IDENTITY)))
    assert singling_out(plain, 500, rng()).low > 0.2
