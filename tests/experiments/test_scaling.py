"""A job's fixed cost is told from its rate, and a core more from a core less."""

from __future__ import annotations

import pytest

from lab.made_up import made_up
from microflow.experiments import cores
from microflow.lab.results import Results
from microflow.lab.trials import Planned


def costing(profile: str, fixed_s: float, slope_s: float, local_ns: float) -> Results:
    """Jobs that cost exactly this, the slope shared by the cores; the first pass of each volume was disturbed."""

    def result(turn: Planned) -> dict[str, object]:
        config = turn.arm.config
        times = [fixed_s + slope_s / config["cores"] * rows for rows in config["volumes"]]
        return {"action_s": [[2 * time, time] for time in times], "samples": [local_ns] * 2, "data_checksum": "same"}

    return made_up(cores.cores_matrix(profile), result)


def test_the_fixed_cost_is_told_from_the_rate() -> None:
    """Half a second and 4 µs a record come back as such; two cores are twice as fast, each as far from local."""
    frame = cores.cores_frame(costing("quick", 0.5, 4e-6, 2_000)).set_index("cores")
    assert frame["fixed_s"].tolist() == pytest.approx([0.5, 0.5])
    assert frame["rate"].tolist() == pytest.approx([250_000, 500_000])
    assert frame["local"].tolist() == pytest.approx([500_000, 500_000])
    assert [one.value for one in frame["beside"]] == pytest.approx([2, 2])


def test_a_larger_job_that_was_no_slower_gives_no_rate() -> None:
    """On a busy machine small volumes may come out upside down: the answer says so, and the notebook goes on."""
    results = costing("smoke", 0.5, -1e-6, 2_000)
    assert "not known" in cores.cores_table(results).rows[0][2]
    assert "not known" in cores.cores_answer(results).sentence


def test_no_arm_has_more_cores_than_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four cores on two are no four cores."""
    monkeypatch.setattr(cores, "cores_here", lambda: 2)
    assert [arm.config["cores"] for arm in cores.cores_matrix("paper").arms] == [1, 2]
    monkeypatch.setattr(cores, "cores_here", lambda: 8)
    assert [arm.config["cores"] for arm in cores.cores_matrix("paper").arms] == [1, 2, 4, 8]


def test_the_exponent_of_a_linear_pipeline_is_one() -> None:
    """Proportional times give an exponent of 1 with a narrow interval; every method has its memory said."""
    matrix = cores.scaling_matrix("quick")
    results = made_up(matrix, lambda turn: {"samples": [2e-6 * turn.arm.config["rows"]]})
    frame = cores.scaling_frame(results)
    assert frame["exponent"].to_numpy() == pytest.approx(1.0)
    table = cores.scaling_table(results)
    assert [row[0] for row in table.rows] == list(frame["arm"].unique())
    assert {"batch, k-anonymity", "batch, differential privacy", "stream"} <= {row[0] for row in table.rows}
    assert all("256" in row[3] for row in table.rows)
    assert "not shown to be pure" in table.caption


def test_print_has_three_runs_of_each_volume() -> None:
    """An exponent's interval needs more than one run a size."""
    assert cores.scaling_matrix("paper").blocks >= 3


def test_every_volume_is_whole_repetitions_of_the_smallest() -> None:
    """The line is fitted at the numbers of rows that were really run."""
    for profile in ("smoke", "quick", "paper"):
        for arm in cores.cores_matrix(profile).arms:
            smallest = min(arm.config["volumes"])
            assert all(rows % smallest == 0 for rows in arm.config["volumes"])


@pytest.mark.spark
def test_a_trial_runs_spark_on_as_many_threads() -> None:
    """Real jobs at both volumes: every pass has a time, and the local engine one beside it."""
    (arm,) = cores.cores_matrix("smoke").arms
    found = cores.trial({**arm.config, "seed": 3})
    assert [len(passes) for passes in found["action_s"]] == [1, 1]
    assert all(seconds > 0 for passes in found["action_s"] for seconds in passes)
    assert len(found["samples"]) == 1
