"""Local differential privacy as it is meant to be used: estimates from a whole release, and an audit of its ε."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Method
from microflow.engine import ProcessingSpec
from microflow.lab.report import Table, design

if TYPE_CHECKING:
    from microflow.anonymize.differential_privacy import Perturbed
    from microflow.lab.results import Results

__all__ = ["aggregates_table", "of_noise"]

Index = npt.NDArray[np.int64]
#: Domains larger than this have estimators that take longer than the release.
_LARGEST_DOMAIN = 256


def of_noise(spec: ProcessingSpec, original: pa.Table, released: pa.Table, ordinals: Index) -> dict[str, Any]:
    """What is measured of perturbed columns with small domains: estimates from them, and an audit of ε."""
    if spec.method.method is not Method.DIFFERENTIAL_PRIVACY:
        return {"aggregates": [], "epsilon_shown": None}
    from microflow.anonymize.differential_privacy import perturbed_columns
    from microflow.assess.inference import epsilon_lower_bound

    columns = [
        perturbed
        for perturbed in perturbed_columns(spec.schema, spec.method.epsilon)
        if perturbed.domain.size <= _LARGEST_DOMAIN
    ]
    truths, reported = ([_codes(perturbed, table) for perturbed in columns] for table in (original, released))
    return {
        "aggregates": [_estimate(*parts) for parts in zip(columns, truths, reported, strict=True)],
        "epsilon_shown": epsilon_lower_bound(
            [(truth[ordinals], out) for truth, out in zip(truths, reported, strict=True)]
        ),
    }


def _codes(perturbed: Perturbed, table: pa.Table) -> Index:
    return perturbed.domain.encode(
        table[perturbed.column.name].combine_chunks().cast(perturbed.column.dtype.arrow)
    ).astype(np.int64)


def _estimate(perturbed: Perturbed, truth: Index, reported: Index) -> dict[str, Any]:
    """How far an unbiased estimate of a statistic of a column is from the truth.

    Categories: the frequency of the first; numbers: the mean. With the mechanism's matrix ``P[true, released]`` the
    estimator ``mean(w[released])`` with ``P w = v`` is unbiased for ``mean(v[true])``; its standard deviation follows
    from the same matrix (Kairouz, Bonawitz and Ramage 2016 for randomised response).
    """
    codes, values = range(perturbed.domain.size + 1), perturbed.domain.values
    matrix = np.array([[float(perturbed.mechanism.probability(out, true)) for out in codes] for true in codes])
    numbers = perturbed.domain.is_ordered
    wanted = np.array([float(value or 0) for value in values]) if numbers else np.eye(len(codes))[0]
    weights = np.linalg.solve(matrix, wanted)
    variance = matrix @ weights**2 - (matrix @ weights) ** 2
    counts: npt.NDArray[np.int64] = np.bincount(truth, minlength=len(codes))
    return {
        "column": perturbed.column.name,
        "statistic": "mean" if numbers else f"frequency of {values[0]}",
        "truth": float(wanted[truth].mean()),
        "estimate": float(weights[reported].mean()),
        "theory_sd": math.sqrt(float(counts @ variance)) / len(truth),
    }


def aggregates_table(results: Results) -> Table:
    """Local differential privacy as it is meant to be used: estimates over the whole release, beside their theory."""
    rows = []
    for arm in results.matrix.arms:
        own = [result["aggregates"] for result in results.of(arm)]
        for parts in zip(*own, strict=True):
            errors = np.array([part["estimate"] - part["truth"] for part in parts])
            theory = float(np.mean([part["theory_sd"] for part in parts]))
            measured = float(np.sqrt(np.mean(errors**2)))
            rows.append([
                arm.config["setting"], f"{parts[0]['statistic']} ({parts[0]['column']})", f"{parts[0]['truth']:.3g}",
                f"{measured:.2g}", f"{theory:.2g}", f"{measured / theory:.2f}",
            ])  # fmt: skip
    rows_of = results.matrix.arms[0].config["rows"]
    return Table(
        ["ε", "estimate", "truth", "error", "error in theory", "error / theory"],
        rows,
        f"Unbiased estimates from a release of {rows_of:,} records: root mean square error over "
        f"{results.matrix.blocks} data set{'s' * (results.matrix.blocks != 1)}, and the standard deviation that the "
        f"mechanism's probabilities give. {design(results)}.",
    )
