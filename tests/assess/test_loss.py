"""Information loss: nothing for an identity, everything for a blank, and cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.penalty import certainty_penalty
from microflow.assess.loss import Encoded, _correlation_change, measure_loss
from microflow.assess.pair import Pair
from microflow.schema import Column, DatasetSchema, Dtype, Role

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


@pytest.mark.parametrize("k", [3, 15])
def test_gcp_is_the_penalty_that_benchmarks_compare(k: int, people: pa.Table, release, schema: DatasetSchema) -> None:
    """One notion of loss in the house; how missing values and bounds are counted differs by a few per cent."""
    released, ordinals = release(MethodSettings(Method.K_ANONYMITY, k=k))
    gcp = measure_loss(Pair.of(schema, people, released, ordinals), np.random.default_rng(1)).gcp
    batches = [table.combine_chunks().to_batches()[0] for table in (people, released)]
    assert gcp == pytest.approx(certainty_penalty(*batches, schema), rel=0.1)


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
    columns = [Encoded(constant, constant), Encoded(moving, moving), Encoded(1 - moving, 1 - moving)]
    assert _correlation_change(columns) == pytest.approx(0)
