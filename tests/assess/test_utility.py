"""A model trained on the release, tested on originals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess.pair import Pair
from microflow.assess.utility import Utility, _score, measure_utility
from microflow.schema import DatasetSchema


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
