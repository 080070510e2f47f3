"""What a notebook shows beside figures says what the trials say."""

from __future__ import annotations

import re

import pytest

from microflow.experiments import scalability
from microflow.experiments.results import Results
from microflow.figures.screen import scaling_table
from microflow.store.experiments import ExperimentStore


@pytest.mark.database
def test_scaling_is_one_row_a_pipeline_with_a_bar_a_volume(complete_store: ExperimentStore) -> None:
    """The exponent is the fit's; memory that does not change gives bars of one height."""
    table = scaling_table("smoke", complete_store)
    results = Results.read(scalability.volumes("smoke"), complete_store)
    laws = scalability.laws(results)
    assert [row[0] for row in table.rows] == list(laws)
    assert [row[1] for row in table.rows] == [f"{law.exponent.value:.2f}" for law in laws.values()]
    volumes = len({arm.config["rows"] for arm in results.matrix.arms})
    for row in table.rows:
        bars = re.fullmatch(r"256 ([▁▂▃▄▅▆▇█]+) 256", row[3])
        assert bars is not None
        assert bars[1] == "█" * volumes
    assert "▁" in table._repr_html_() or "█" in table._repr_html_()
