"""A matrix runs once, is kept whole in PostgreSQL, and comes back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lab.made_up import launched
from microflow.errors import MicroflowError
from microflow.lab.experiment import Matrix, Precision
from microflow.lab.launch import Machine
from microflow.lab.results import IncompleteError, Progress, Results, run_matrix
from microflow.lab.statistics import log_ratio
from microflow.lab.trials import Arm, gather
from microflow.store.experiments import ExperimentStore

pytestmark = pytest.mark.database

#: In a fresh process this target returns its own configuration: a result we know.
ECHO = "builtins:dict"
MATRIX = Matrix(
    "echo",
    (
        Arm("slow", ECHO, {"samples": [4.0, 4.5, 4.2], "data_type": "iot", "phases": {"pre": 1.5}, "none": []}),
        Arm("fast", ECHO, {"samples": [2.0, 2.1, 2.2], "data_type": "iot", "phases": {"pre": 0.5}}),
    ),
    blocks=2,
)


@pytest.fixture(scope="module")
def store(database_url: str) -> Iterator[ExperimentStore]:
    with ExperimentStore(database_url) as opened:
        yield opened


@pytest.fixture(scope="module")
def first(store: ExperimentStore) -> Progress:
    return run_matrix(MATRIX, store)


def test_what_is_complete_does_not_run_again(store: ExperimentStore, first: Progress) -> None:
    """The second run finds every cell in the database; a grown matrix runs only its new cells."""
    assert (first.cells, first.ran, first.kept) == (4, 4, 0)
    assert run_matrix(MATRIX, store).kept == 4
    grown = run_matrix(replace(MATRIX, blocks=3), store)
    assert (grown.ran, grown.kept) == (2, 4)


def test_force_runs_everything_and_supersedes(store: ExperimentStore, first: Progress) -> None:
    """Forced cells are measured again; one current trial a cell remains."""
    before = store.trials("echo")
    seen: list[Progress] = []
    assert run_matrix(MATRIX, store, force=True, observer=seen.append).ran == 4
    assert [progress.ran for progress in seen] == [1, 2, 3, 4]
    after = store.trials("echo")
    assert len(after) == len(before)
    assert not set(after["trial_id"]) >= set(before["trial_id"])


def test_a_trial_is_a_row_with_all_that_explains_it(store: ExperimentStore, first: Progress) -> None:
    """Raw samples, machine, load, memory, resources, versions, commit, its dirty flag and the seed are all there."""
    row = store.trials("echo").iloc[0]
    machine, metrics = row["machine"], row["metrics"]
    assert machine["cores"] >= 1
    assert machine["cpu_model"]
    assert machine["memory_bytes"] > 2**20
    assert {"governor", "commit", "dirty", "kernel", "python"} <= machine.keys()
    assert row["git"].endswith(" (dirty)") == bool(machine["dirty"])
    assert min(metrics["load_before"], metrics["load_after"]) >= 0
    assert metrics["usage"]["cpu_s"] > 0
    assert metrics["usage"]["peak_rss_bytes"] >= metrics["usage"]["rss_before_bytes"] > 2**20
    assert "numpy" in row["versions"]
    assert row["git"]
    assert row["seed"] > 0
    samples = store.samples("echo", "samples")
    assert samples[samples["trial_id"] == row["trial_id"]]["value"].tolist() == row["config"]["config"]["samples"]


def test_results_come_back_ready_to_compare(store: ExperimentStore, first: Progress) -> None:
    """What `gather` would have said right after the run, it says of what the database gives back."""
    results = Results.read(MATRIX, store)
    blocks = gather(results.trials)
    assert [block.tolist() for block in blocks["slow"]] == [[4.0, 4.5, 4.2]] * 2
    frame = results.frame
    assert set(frame["phases.pre"]) == {0.5, 1.5}
    assert [one.run.result.get("none") for one in results.trials if one.planned.arm.name == "slow"] == [[]] * 2
    assert (frame["cpu_s"] > 0).all()


def test_an_incomplete_matrix_is_not_read(store: ExperimentStore, first: Progress) -> None:
    """An answer from half of the trials would be a wrong one."""
    with pytest.raises(IncompleteError, match="trials have not run yet"):
        Results.read(replace(MATRIX, seed=99), store)


def test_an_absent_arm_is_read_where_it_was_recorded_and_never_run(store: ExperimentStore) -> None:
    """A machine without an arm's data leaves the arm out, unless another machine has recorded it."""
    guest = Arm("guest", ECHO, {"samples": [1.0]})
    elsewhere = Matrix("guests", (*MATRIX.arms, guest), blocks=1)
    here = replace(elsewhere, arms=(*MATRIX.arms, replace(guest, absent=True)))
    assert run_matrix(here, store).ran == 2
    assert {trial.planned.arm.name for trial in Results.read(here, store).trials} == {"slow", "fast"}
    assert run_matrix(elsewhere, store).ran == 1
    assert {trial.planned.arm.name for trial in Results.read(here, store).trials} == {"slow", "fast", "guest"}


def test_a_failing_trial_stops_the_run_and_is_not_kept(store: ExperimentStore) -> None:
    """The error reaches the caller; the database holds nothing of it."""
    broken = Matrix("broken", (Arm("exits", "sys:exit", {}),), blocks=1)
    with pytest.raises(MicroflowError, match="sys:exit"):
        run_matrix(broken, store)
    assert store.trials("broken").empty


def restless(config: dict[str, Any]) -> dict[str, Any]:
    """A target whose times are known: ``typical``, times a noise of ``noise`` that the block's seed decides."""
    rng = np.random.default_rng([config["seed"], len(config["name"])])
    return {"samples": (config["typical"] * rng.lognormal(0, config["noise"], 3)).tolist()}


def noisy(experiment: str, noise: float, precision: Precision | None) -> Matrix:
    """Two groups with a reference and an arm each, four blocks."""
    arms = [
        Arm(f"{group}: {name}", "restless", {"name": name, "typical": typical, "noise": noise})
        for group in ("iot", "financial")
        for name, typical in (("base", 1.0), ("other", 2.0))
    ]
    return Matrix(experiment, tuple(arms), blocks=4, precision=precision)


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials of `restless` without a process for each."""
    monkeypatch.setattr("microflow.lab.trials.launch", lambda _, config, **__: launched(restless(config)))


@pytest.mark.usefixtures("_in_this_process")
def test_a_pilot_decides_how_many_blocks_follow(store: ExperimentStore) -> None:
    """More noise, more blocks; the ratio is then as sure as was asked for; a second run has nothing to do."""
    matrix = noisy("noisy", 0.05, Precision(0.05, "base", most=60))
    progress = run_matrix(matrix, store)
    results = Results.read(matrix, store)
    assert 4 < results.matrix.blocks < 60
    assert progress.cells == progress.ran == len(results.trials) == 4 * results.matrix.blocks
    samples = gather(results.trials)
    found = log_ratio(samples["iot: other"], samples["iot: base"])
    assert found.high - found.low <= 2 * 0.05
    assert abs(found.mean - np.log(2)) <= 0.05
    again = run_matrix(matrix, store)
    assert (again.ran, again.kept) == (0, progress.ran)
    quiet = noisy("quiet", 0.0001, matrix.precision)
    assert run_matrix(quiet, store).ran == 4 * quiet.blocks


@pytest.mark.usefixtures("_in_this_process")
def test_no_pilot_asks_for_more_than_there_may_be(store: ExperimentStore) -> None:
    """The bound holds, every trial says by which rule it was repeated, and without a rule the number is fixed."""
    bounded = noisy("bounded", 0.5, Precision(0.001, "base", most=6))
    assert run_matrix(bounded, store).cells == 4 * 6
    kept = [config["repetitions"] for config in store.trials("bounded")["config"]]
    rule = {"pilot": 4, "half_width": 0.001, "reference": "base", "most": 6}
    assert kept == [rule | {"blocks": 4}] * 16 + [rule | {"blocks": 6}] * 8
    fixed = noisy("fixed", 0.5, None)
    assert run_matrix(fixed, store).cells == 16
    assert {str(config["repetitions"]) for config in store.trials("fixed")["config"]} == {"{'blocks': 4}"}


@pytest.mark.usefixtures("_in_this_process")
def test_a_matrix_whose_pilot_is_all_there_is_incomplete(store: ExperimentStore) -> None:
    """A matrix that was stopped after its pilot is not read as complete; the next run completes it."""
    matrix = noisy("stopped", 0.5, Precision(0.001, "base", most=6))
    run_matrix(replace(matrix, precision=None), store)
    with pytest.raises(IncompleteError, match="8 of 24"):
        Results.read(matrix, store)
    finished = run_matrix(matrix, store)
    assert (finished.ran, finished.kept) == (8, 16)


@pytest.mark.usefixtures("_in_this_process")
def test_trials_of_another_machine_are_not_merged(store: ExperimentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of a matrix ran here, the other half elsewhere: what the database holds of both is never read as one."""
    matrix = noisy("moved", 0.01, None)
    run_matrix(replace(matrix, blocks=2), store)
    elsewhere = replace(Machine.here(), cpu_model="another")
    there = replace(launched({"samples": [1.0]}), machine=elsewhere)
    monkeypatch.setattr("microflow.lab.trials.launch", lambda *_, **__: there)
    assert run_matrix(matrix, store).ran == 8
    with pytest.raises(MicroflowError, match="unlike machines cannot be merged: cpu_model differ"):
        Results.read(matrix, store)
    bounded = replace(matrix, precision=Precision(0.01, "base", most=8))
    with pytest.raises(MicroflowError, match="unlike machines"):
        run_matrix(bounded, store)
