"""Debiased estimates recover what perturbation hid, with honest standard errors."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.differential_privacy import LocalDifferentialPrivacy, perturbed_columns
from microflow.anonymize.marginals import (
    Estimate,
    debias_grid,
    estimate_marginal,
    estimate_mean,
    estimate_missing,
    estimate_shares,
)
from microflow.anonymize.mechanisms import RandomisedResponse, TruncatedGeometric, Uniforms
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError

ROWS = 100_000


def drawn(shares: list[float], seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(shares), ROWS, p=shares)


def near(estimate: Estimate, truth: float) -> bool:
    return abs(estimate.value - truth) < 4.5 * estimate.standard_error


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_shares_are_recovered(epsilon: float) -> None:
    """Every category's and the missing ones', within their standard errors."""
    codes = drawn([0.5, 0.3, 0.15, 0.05])
    mechanism = RandomisedResponse(3, epsilon)
    released = mechanism.perturb(codes, Uniforms(1, seed=2).many(ROWS)[0])
    estimates = estimate_shares(released, mechanism)
    assert len(estimates) == 4
    assert all(near(one, float((codes == code).mean())) for code, one in enumerate(estimates))
    assert sum(one.value for one in estimates) == pytest.approx(1)


@pytest.mark.parametrize("size", [2, 11, 12, 121])
@pytest.mark.parametrize("epsilon", [0.2, 1.0, 4.0])
def test_means_and_missing_are_recovered(size: int, epsilon: float) -> None:
    """A skewed column, a tenth of it missing, on grids with and without a middle."""
    rng = np.random.default_rng(3)
    codes = np.minimum(rng.geometric(min(0.9, 4 / size), ROWS) - 1, size - 1)
    codes[rng.random(ROWS) < 0.1] = size
    mechanism = TruncatedGeometric(size, epsilon)
    released = mechanism.perturb(codes, Uniforms(1, seed=4).many(ROWS)[0])
    present = codes[codes < size]
    assert near(estimate_missing(released, mechanism), float((codes == size).mean()))
    assert near(estimate_mean(released, mechanism, 10.0 + 2.0 * np.arange(size)), float(10 + 2 * present.mean()))


def test_marginals_of_a_release_are_recovered() -> None:
    """The whole way: 40,000 hospital records perturbed by the method, each column estimated from what was released."""
    schema, epsilon, rows = load_schema("healthcare"), 5.0, 40_000
    rng = np.random.default_rng(9)
    truth = {
        "record_id": np.arange(rows),
        "age": np.clip(rng.normal(60, 15, rows), 0, 120).astype(int),
        "sex": rng.choice(["F", "M", "X"], rows, p=[0.55, 0.43, 0.02]),
        "zip": rng.choice(["94110", "10001"], rows, p=[0.7, 0.3]),
        "treatment_cost": rng.gamma(2, 2_000, rows),
    }
    columns = [
        pa.array(truth[field.name]) if field.name in truth else pa.nulls(rows, field.type) for field in schema.arrow
    ]
    method = LocalDifferentialPrivacy(MethodSettings(Method.DIFFERENTIAL_PRIVACY, epsilon=epsilon, seed=2), schema)
    released = method.anonymize(pa.RecordBatch.from_arrays(columns, schema=schema.arrow)).rows
    found = {
        one.column.name: estimate_marginal(released.column(one.column.name), one)
        for one in perturbed_columns(schema, epsilon)
    }
    assert near(found["age"]["mean"], float(truth["age"].mean()))
    assert near(found["treatment_cost"]["mean"], float(truth["treatment_cost"].mean()))
    assert near(found["sex"]["F"], float((truth["sex"] == "F").mean()))
    assert near(found["zip"]["9****"], float((truth["zip"] == "94110").mean()))
    assert near(found["diagnosis"]["missing"], 1.0)
    assert near(found["age"]["missing"], 0.0)


def test_debiasing_is_exact_in_expectation() -> None:
    """For any function on the grid, the debiased numbers' expectation is the function: no sampling involved."""
    mechanism = TruncatedGeometric(9, 1.3)
    values = np.random.default_rng(0).normal(size=9)
    debiased = debias_grid(values, mechanism.alpha)
    for true in range(9):
        chances = np.array([float(mechanism.probability(code, true)) for code in range(9)])
        told = 1 - float(mechanism.probability(9, true))
        assert chances @ debiased / told == pytest.approx(values[true], rel=1e-9, abs=1e-9)


def test_standard_errors_cover() -> None:
    """Of 200 repeated releases about 95 % have the truth within 1.96 standard errors."""
    codes = drawn([0.6, 0.4])[:2_000]
    mechanism = RandomisedResponse(2, 1.0)
    truth = float((codes == 0).mean())
    hits = 0
    for uniforms in Uniforms(200, seed=6).many(len(codes)):
        estimate = estimate_shares(mechanism.perturb(codes, uniforms), mechanism)[0]
        hits += abs(estimate.value - truth) < 1.96 * estimate.standard_error
    assert 180 <= hits <= 200


def test_one_record_tells_nothing() -> None:
    """There is no standard error of a single number."""
    with pytest.raises(MicroflowError):
        Estimate.of(np.array([1.0]))
