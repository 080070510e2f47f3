"""A matrix runs once, is kept whole in PostgreSQL, and comes back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from microflow.errors import MicroflowError
from microflow.experiments.matrix import Matrix
from microflow.experiments.results import IncompleteError, Results
from microflow.experiments.runner import Progress, run_matrix
from microflow.store.experiments import ExperimentStore
from microflow.timing.trials import Arm, gather

pytestmark = pytest.mark.database

#: In a fresh process this target returns its own configuration: a result we know.
ECHO = "builtins:dict"
MATRIX = Matrix(
    "echo",
    (
        Arm("slow", ECHO, {"samples": [4.0, 4.5, 4.2], "data_type": "iot", "phases": {"pre": 1.5}}),
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
    """Raw samples, machine, versions, commit and seed are all there."""
    row = store.trials("echo").iloc[0]
    assert row["machine"]["cores"] >= 1
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
    assert (frame["cpu_s"] > 0).all()


def test_an_incomplete_matrix_is_not_read(store: ExperimentStore, first: Progress) -> None:
    """An answer from half of the trials would be a wrong one."""
    with pytest.raises(IncompleteError, match="trials have not run yet"):
        Results.read(replace(MATRIX, seed=99), store)


def test_a_failing_trial_stops_the_run_and_is_not_kept(store: ExperimentStore) -> None:
    """The error reaches the caller; the database holds nothing of it."""
    broken = Matrix("broken", (Arm("exits", "sys:exit", {}),), blocks=1)
    with pytest.raises(MicroflowError, match="sys:exit"):
        run_matrix(broken, store)
    assert store.trials("broken").empty
