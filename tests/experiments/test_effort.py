"""Effort is measured on ARX's own data, beside its constants; where they are not at hand, the reason is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.made_up import made_up
from microflow.experiments import effort
from microflow.lab.trials import Planned


def test_without_the_data_the_reason_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment that may be left out names what it lacks."""
    monkeypatch.setenv("MICROFLOW_ARX_ADULT", str(tmp_path))
    assert effort.arx_adult(6) is None
    assert "MICROFLOW_ARX_ADULT" in effort.EFFORT.missing()
    assert effort.EFFORT.optional


def test_hierarchies_of_arx_are_read() -> None:
    """Every value of a column has a path to one root, by the file's own levels."""
    found = effort.arx_adult(8)
    if found is None:
        pytest.skip("Adult as ARX ships it is not at hand: set MICROFLOW_ARX_ADULT to its folder")
    schema, rows = found
    assert rows.num_rows == 30_162
    for column in schema.quasi_identifiers:
        assert column.hierarchy is not None
        values = map(str, rows[column.name].unique().to_pylist())
        assert all(len(column.hierarchy.path(value)) > 1 or column.name in {"sex", "race"} for value in values)
    assert schema["education"].hierarchy is not None
    assert schema["education"].hierarchy.path("Bachelors") == ["Bachelors", "Undergraduate", "Higher education"]


def test_a_trial_loses_less_than_arx_and_suppresses_nothing() -> None:
    """Real rows, six columns, k = 5, the default effort."""
    if effort.missing():
        pytest.skip("Adult as ARX ships it is not at hand: set MICROFLOW_ARX_ADULT to its folder")
    arm = effort.matrix("smoke").arms[0]
    found = effort.trial(arm.config | {"seed": 1})
    assert 0 < found["loss"] < effort.ARX_LOSS[6, 5]
    assert found["suppressed"] == 0
    assert found["samples"][0] > 0


def test_loss_and_time_stand_beside_arx() -> None:
    """Constants by columns and k; ARX was timed at k = 5 alone; the answer compares first and last effort."""

    def result(turn: Planned) -> dict[str, object]:
        own = turn.arm.config["effort"]
        return {"samples": [2.0 * own], "loss": 0.02 / own, "suppressed": 0}

    results = made_up(effort.matrix("paper"), result)
    frame = effort.frame(results).set_index(["columns", "k", "effort"])
    shown = frame.loc[(6, 5, 8), ["seconds", "loss", "arx_loss", "arx_seconds"]].tolist()
    assert shown == pytest.approx([16, 0.0025, 0.020, 0.41])
    assert frame.loc[(8, 50, 1), "arx_loss"] == 0.158
    assert frame["arx_seconds"].isna().sum() == 4
    rows = {row[0]: row for row in effort.table(results).rows}
    assert rows["6 columns, k=5, effort 1"][1:4] == ["0.0200", "0.020", "1.00×"]
    assert rows["8 columns, k=10, effort 1"][5] == ""
    said = effort.answer(results)
    assert said.numbers["rq2 effort 6 columns gain"] == "87.5%"
    assert said.numbers["rq2 effort 8 columns time"] == "8.0×"
