"""Storm stands beside the engines where it was measured."""

from __future__ import annotations

import pytest
from microflow.figures.storm import storm_table

from microflow.experiments import rq1, transport
from microflow.figures.catalogue import plate
from microflow.lab.results import Results
from microflow.store.experiments import ExperimentStore

pytestmark = pytest.mark.database


def test_the_throughput_figure_names_storm(complete_store: ExperimentStore) -> None:
    """An arm of the figure like Spark: in the panel of its data type, last."""
    figure = plate("throughput", "smoke", complete_store).figure
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()][-1] == "Storm stream"


def test_the_table_has_latency_of_storm_alone(complete_store: ExperimentStore) -> None:
    """In process nothing is carried, so there is nothing to be late; the load is named."""
    table = storm_table("smoke", complete_store)
    cells = {row[0]: row[1:] for row in table.rows}
    assert cells["Storm stream"][-2:] == ["3.0", "8.9"]
    assert cells["stream"][1:] == ["1", "", ""]
    assert "at 200 records/s" in table.caption


def test_without_storm_there_is_the_figure_all_the_same(database_url: str) -> None:
    """The rows of the others stand alone where Storm has not been measured."""
    with ExperimentStore(database_url) as store:
        assert store.trials("rq1-storm").empty
        others = Results(rq1.throughput("smoke"), ())
        assert transport.beside(others, "smoke", store).empty
