"""What a notebook shows beside figures says what the trials say."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from microflow.figures.screen import scaling_table, table_or_reason

from microflow.errors import SetupError
from microflow.experiments import cores, scalability, transport
from microflow.figures import screen
from microflow.figures.paper import TABLES
from microflow.lab.results import Results, Skipped
from microflow.store.experiments import ExperimentStore

OPTIONAL = pytest.mark.parametrize(("name", "experiment"), [("storm", transport), ("cores", cores)])


@pytest.mark.database
@pytest.mark.parametrize("name", ["storm", "cores"])
def test_what_was_measured_is_the_table_of_the_paper(name: str, complete_store: ExperimentStore) -> None:
    """Also on a machine that could not measure it: only the database is asked."""
    assert table_or_reason(name, "smoke", complete_store) == TABLES[name]("smoke", complete_store)


@pytest.mark.database
@OPTIONAL
def test_what_cannot_run_here_says_why_as_its_run_did(
    name: str, experiment: ModuleType, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No cell of a notebook fails without Java, and both cells about it show one reason in one way."""

    def no_java() -> None:
        raise SetupError("Java is missing", hint="install it")

    monkeypatch.setattr(experiment, "find_java", no_java)
    with ExperimentStore(database_url) as store:
        shown = table_or_reason(name, "smoke", store)
        assert shown == experiment.run("smoke", store)
    assert shown == Skipped(experiment.matrix("smoke").experiment, "Java is missing (install it)")


@pytest.mark.database
@OPTIONAL
def test_what_could_run_and_did_not_says_how_much_is_missing(
    name: str, experiment: ModuleType, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason does not blame the machine's software where the experiment was only not run yet."""
    monkeypatch.setitem(screen._MISSING, name, str)
    with ExperimentStore(database_url) as store:
        shown = table_or_reason(name, "smoke", store)
    wanted = experiment.matrix("smoke")
    count = len(wanted.cells())
    assert shown == Skipped(wanted.experiment, f"{count} of {count} trials have not run yet")


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
