"""The tables of ratios say what the trials in the database say, with intervals, effect sizes and corrected tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from microflow.experiments import contamination, rq1, rq2
from microflow.figures.paper import contamination_table, pipelines_table, throughput_table
from microflow.lab.launch import Launch
from microflow.lab.machine import Machine
from microflow.lab.results import run_matrix
from microflow.store.experiments import ExperimentStore
from microflow.timing.resources import ResourceUsage

pytestmark = pytest.mark.database

#: What an intrusion, or a pipeline, multiplies the time by.
FACTORS = {"row insert": 4.0, "batch insert": 1.5, "stream": 10.0}


@pytest.fixture
def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExperimentStore]:
    """Three quick experiments whose times are known, in a real database."""
    rng, usage = np.random.default_rng(3), ResourceUsage(1.0, 1.0, 2**28, 2**27)

    def launched(_: str, config: dict[str, Any], **__: float) -> Launch:
        factor = FACTORS.get(config.get("intrusion", config.get("pipeline")), 1.0)
        return Launch({"samples": (1_000 * factor * rng.lognormal(0, 0.001, 4)).tolist()}, Machine.here(), 0, 0, usage)

    monkeypatch.setattr("microflow.lab.trials.launch", launched)
    with ExperimentStore(database_url) as opened:
        for matrix in (contamination.matrix("quick"), rq1.throughput("quick"), rq2.speed("quick")):
            run_matrix(matrix, opened)
        yield opened


def test_the_contamination_table_has_every_arm_with_its_intervals(store: ExperimentStore) -> None:
    """Single inserts, progress, batch inserts and checkpoints, for both kinds of work; what costs nothing is none."""
    table = contamination_table("quick", store)
    rows = {row[0]: row for row in table.rows}
    kinds = ("row insert", "progress update", "batch insert", "checkpoint fsync")
    assert rows.keys() == {f"{kind}, {work}" for work in ("microflows", "records") for kind in kinds}
    insert = rows["row insert, records"]
    assert insert[1].startswith("4×")
    assert "[" in insert[1]
    assert insert[2].startswith(("74.9%", "75."))
    assert "[" in insert[2]
    assert insert[-1] == "higher"
    assert rows["progress update, records"][-1] == "none"
    assert "records" in table.caption
    assert r"\bottomrule" in table.to_latex("contamination")


def test_the_throughput_table_says_how_sure_it_is(store: ExperimentStore) -> None:
    """Ratio with interval, effect size and p beside every arm but the reference."""
    table = throughput_table("quick", store)
    assert table.columns[3:] == ["time beside batch", "g", "p", "difference"]
    stream = next(row for row in table.rows if row[:2] == ["healthcare", "stream"])
    assert stream[3].startswith("10")
    assert float(stream[4]) > 1
    assert stream[-1] == "higher"
    assert next(row for row in table.rows if row[1] == "batch")[-1] == "reference"


def test_the_pipelines_table_has_a_row_a_setting_and_a_column_a_place(store: ExperimentStore) -> None:
    """The typical settings and the identity; what was not measured somewhere has an empty cell there."""
    table = pipelines_table("quick", store)
    assert table.columns[1:5] == [
        f"{place} rows" for place in ("batch, 10,000", "stream, 10,000", "hybrid, 10,000", "batch, 40,000")
    ]
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["k-anonymity, k=5", "differential privacy, ε=1", "tokenization, 256 bits", "identity"]
    assert rows["identity"][1] == ""
    assert rows["tokenization, 256 bits"][0].startswith(("1M ±", "999k ±", "1,000k ±"))
    assert rows["tokenization, 256 bits"][1].startswith(("100k ±", "99.9k ±"))
