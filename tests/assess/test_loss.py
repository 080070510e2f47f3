"""Information loss: nothing for an identity, everything for a blank, and cases worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess.loss import Utility, _correlation_change, _score, gcp, measure_loss, measure_utility
from microflow.assess.pair import Pair
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

QI = Role.QUASI_IDENTIFIER
SCHEMA = DatasetSchema(
    "small",
    (
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100),
        Column("sex", Role.QUASI_IDENTIFIER, categories=("F", "M")),
    ),
    "combined",
)
BEFORE = pa.table({"age": [10, 20, 30, 40], "sex": ["F", "M", "F", "M"]}, schema=SCHEMA.arrow)


def loss_of(after: dict[str, list[str | None]], rows: int = 4):
    released = pa.table({name: pa.array(values, pa.string()) for name, values in after.items()})
    return measure_loss(Pair.of(SCHEMA, BEFORE, released, np.arange(rows)), np.random.default_rng(1))


def test_labels_by_hand() -> None:
    """Ranges of 10 of 100 and both of two sexes: an NCP of 0.1 and 1, no distortion, and a flat sex."""
    loss = loss_of({"age": ["[10-20]", "[10-20]", "[30-40]", "[30-40]"], "sex": ["{F,M}"] * 4})
    assert loss.columns["age"].ncp == pytest.approx(0.1)
    assert loss.columns["sex"].ncp == pytest.approx(1)
    assert loss.gcp == pytest.approx(0.55)
    assert loss.columns["age"].distortion == loss.columns["sex"].distortion == 0
    assert loss.columns["sex"].total_variation == pytest.approx(0)


def test_suppressed_rows_are_lost_entirely() -> None:
    """One of four rows left as it was: three quarters of the cells are gone."""
    assert loss_of({"age": ["10"], "sex": ["F"]}, rows=1).gcp == pytest.approx(0.75)


def test_perturbation_is_distortion_not_ncp() -> None:
    """Exact labels that are wrong: ages 30 too high, half of the sexes turned round."""
    loss = loss_of({"age": ["40", "50", "60", "70"], "sex": ["M", "M", "M", "M"]})
    assert loss.gcp == 0
    assert loss.columns["age"].distortion == pytest.approx(0.3)
    assert loss.columns["sex"].distortion == pytest.approx(0.5)
    assert loss.columns["sex"].total_variation == pytest.approx(0.5)


def test_what_was_blanked_is_lost_and_what_was_missing_is_not() -> None:
    """A missing label has an NCP of one, unless there was nothing to tell."""
    loss = loss_of({"age": [None] * 4, "sex": ["F", "M", "F", "M"]})
    assert loss.columns["age"].ncp == 1
    assert loss.columns["age"].total_variation == 1
    blank = pa.table({"age": pa.array([None], pa.int64()), "sex": ["F"]}, schema=SCHEMA.arrow)
    assert measure_loss(Pair.of(SCHEMA, blank, blank, [0]), np.random.default_rng(1)).gcp == 0


def test_an_identity_loses_nothing(people: pa.Table, release, schema: DatasetSchema) -> None:
    """Every measure is zero."""
    loss = measure_loss(Pair.of(schema, people, *release(MethodSettings(Method.IDENTITY))), np.random.default_rng(1))
    assert loss.gcp == loss.correlation_change == 0
    assert all(column.ncp == column.distortion == 0 for column in loss.columns.values())
    assert [column.total_variation for column in loss.columns.values()] == pytest.approx([0] * len(loss.columns))


def gcp_of(column: Column, original: list[object], released: list[str | None]) -> float:
    schema = DatasetSchema("one", (column,), "hipaa")
    before = pa.table({column.name: pa.array(original, column.dtype.arrow)})
    after = pa.table({column.name: pa.array(released, pa.string())})
    return gcp(Pair.of(schema, before, after, np.arange(len(original))))


def test_gcp_is_that_of_the_definition() -> None:
    """By hand: a range by its length, a set by what it names, a node by its leaves, nothing for exact values."""
    age = Column("age", QI, Dtype.INTEGER)
    assert gcp_of(age, [0, 10, 20, 40], ["[0-10]", "[0-10]", "20", "40"]) == pytest.approx(0.25 / 2)
    assert gcp_of(age, [0, None], ["{null,0}", "{null,0}"]) == 1.0
    assert gcp_of(age, [0, 10], ["*", "[-inf-inf]"]) == 1.0
    sex = Column("sex", QI)
    assert gcp_of(sex, ["F", "M", None], ["{null,F}", "M", "{null,F}"]) == pytest.approx(2 * 0.5 / 3)
    place = Column("place", QI, hierarchy=Hierarchy(parents={"FR": "West", "DE": "West", "West": "EU", "IT": "EU"}))
    assert gcp_of(place, ["FR", "DE", "IT"], ["West", "West", "EU"]) == pytest.approx((0.5 + 0.5 + 1) / 3)
    assert gcp_of(sex, ["F", "M", None], ["F", "M", None]) == 0.0


def test_more_privacy_costs_more(people: pa.Table, release, schema: DatasetSchema) -> None:
    """GCP grows with k; distortion and correlation change grow as epsilon shrinks."""

    def of(settings: MethodSettings):
        return measure_loss(Pair.of(schema, people, *release(settings)), np.random.default_rng(1))

    assert np.all(np.diff([of(MethodSettings(Method.K_ANONYMITY, k=k)).gcp for k in (3, 5, 10, 15)]) > 0)
    noisy = [of(MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=e, seed=1)) for e in (0.5, 8.0, 30.0)]
    assert np.all(np.diff([loss.columns["age"].distortion for loss in noisy]) < 0)
    assert np.all(np.diff([loss.correlation_change for loss in noisy]) < 0)


@pytest.mark.filterwarnings("error")
def test_a_column_constant_but_for_rounding_has_no_correlation() -> None:
    """A constant whose standard deviation is 1e-17 is left out rather than divided by: no NaN and no warning."""
    loss = loss_of({"age": ["[0-20]"] * 4, "sex": ["{F,M}"] * 4})
    assert loss.correlation_change == 0
    constant = np.full((3, 1), 0.1)
    assert np.ptp(constant) == 0 < constant.std()
    moving = np.array([[0.0], [0.5], [1.0]])
    columns = np.concatenate([constant, moving, 1 - moving], axis=1)
    assert _correlation_change(columns, columns) == pytest.approx(0)


def utility(pair: Pair) -> Utility:
    found = measure_utility(pair, np.random.default_rng(1))
    assert found is not None
    return found


def test_an_identity_keeps_everything(people: pa.Table, release, schema: DatasetSchema) -> None:
    """Illness follows age, and both models learn the same."""
    found = utility(Pair.of(schema, people, *release(MethodSettings(Method.IDENTITY))))
    assert found.target == "illness"
    assert found.of_originals == found.of_released > 0.8
    assert (found.kept, found.by_chance) == (1, 0.5)


def test_shuffled_labels_keep_nothing(people: pa.Table, schema: DatasetSchema) -> None:
    """The model of a release that tells nothing is no better than chance."""
    shuffled = people.column("illness").take(np.random.default_rng(5).permutation(people.num_rows))
    released = people.set_column(people.column_names.index("illness"), "illness", shuffled)
    found = utility(Pair.of(schema, people, released, np.arange(people.num_rows)))
    assert abs(found.of_released - 0.5) < 0.15
    assert found.of_originals > 0.8


def test_generalised_rows_keep_most(people: pa.Table, release, schema: DatasetSchema) -> None:
    """Ages in classes of five still tell young from old, and both arms have the same originals."""
    found = utility(Pair.of(schema, people, *release(MethodSettings(Method.K_ANONYMITY, k=5))))
    plain = utility(Pair.of(schema, people, *release(MethodSettings(Method.IDENTITY))))
    assert found.kept is not None
    assert found.kept > 0.8
    assert found.of_originals == plain.of_originals


def test_a_number_is_split_at_its_median(people: pa.Table, release, schema: DatasetSchema) -> None:
    """Where no sensitive text is described; cost follows nothing, so there is nothing to keep."""
    numeric = replace(schema, columns=tuple(column for column in schema.columns if column.name != "illness"))
    found = utility(Pair.of(numeric, people, *release(MethodSettings(Method.IDENTITY))))
    assert found.target == "cost"
    assert found.of_originals == pytest.approx(0.5, abs=0.08)


def test_too_few_rows_are_not_judged(people: pa.Table, schema: DatasetSchema) -> None:
    """Ten rows train nothing."""
    few = people.slice(0, 10)
    assert measure_utility(Pair.of(schema, few, few, np.arange(10)), np.random.default_rng(1)) is None


@pytest.mark.filterwarnings("error")
def test_a_class_that_nobody_tested_is_in_does_not_count() -> None:
    """The mean recall of the classes there are, without a warning: 3 of 3 and 1 of 2, whatever else was named."""
    features = np.repeat([[0.0], [1.0], [2.0]], 20, axis=0)
    test = np.array([[0.0], [0.0], [0.0], [1.0], [2.0]])
    assert _score(features, np.repeat([0, 1, 2], 20), test, np.array([0, 0, 0, 1, 1])) == pytest.approx(0.75)
