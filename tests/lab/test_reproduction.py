"""What is run again is held against what was recorded, and what came out otherwise is listed, whatever it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from lab.made_up import launched
from microflow.cli import cli
from microflow.errors import MicroflowError
from microflow.experiments import all_experiments, select
from microflow.lab.bundle import export_bundle
from microflow.lab.experiment import Experiment, Matrix, beside
from microflow.lab.report import Answer
from microflow.lab.reproduction import Agreement, answers_of, repeated, reproduce
from microflow.lab.results import Progress, run_matrix
from microflow.lab.trials import Arm, Planned, Trial
from microflow.store.database import create_database, drop_database
from microflow.store.experiments import ExperimentStore

ECHO = "builtins:dict"
#: Two arms with known times: one takes twice the other's.
MATRIX = Matrix(
    "repeated",
    (
        Arm("slow", ECHO, {"samples": [4.0, 4.2], "rows": 7, "output_checksum": "a", "loss": 0.1 + 0.2}),
        Arm("fast", ECHO, {"samples": [2.0, 2.1], "rows": 7, "output_checksum": "a", "loss": 0.5}),
    ),
    blocks=2,
)


def made(matrix: Matrix, **changes: Any) -> Experiment:
    """An experiment with this matrix, whose answer is empty."""
    given = Experiment(
        name=matrix.experiment,
        asks="Again?",
        notebook="rq1",
        matrix=lambda _: matrix,
        frame=lambda found: found.frame,
        answer=lambda _: Answer(""),
        tables={},
        seconds=lambda _: 0.1,
        same=("rows", "output_checksum", "loss"),
        ratios=lambda found: beside(found.trials, "fast"),
    )
    return replace(given, **changes)


QUESTION = made(MATRIX)


@pytest.fixture
def recorded(database_url: str) -> Iterator[ExperimentStore]:
    """A recording in a database of its own."""
    name = f"microflow_test_{uuid.uuid4().hex[:12]}"
    with ExperimentStore(create_database(database_url, name)) as store:
        yield store
    drop_database(database_url, name)


def record_otherwise(store: ExperimentStore, experiment: str, arm: str, **changes: Any) -> None:
    """Change what the recording says of one arm: results by name, or the factor of its samples."""
    factor, samples = changes.pop("factor", 1.0), store.samples(experiment)
    for row in store.trials(experiment).to_dict("records"):
        if row["config"]["name"] == arm:
            own = samples[samples["trial_id"] == row.pop("trial_id")].groupby("name")["value"]
            row["metrics"]["result"] |= changes
            del row["created_at"]
            store.record_trial(experiment, **row, samples={name: list(values * factor) for name, values in own})


def again(recorded: ExperimentStore) -> Agreement:
    with repeated(recorded, "smoke") as store:
        return next(reproduce(recorded, store, "smoke", [QUESTION]))


@pytest.mark.database
def test_the_same_answers_and_ratios_agree(recorded: ExperimentStore) -> None:
    """Nothing differs, everything was compared, the recording is as it was, and the repetition's database is gone."""
    run_matrix(MATRIX, recorded)
    before = recorded.trials("repeated")
    assert again(recorded) == Agreement("repeated", 4, 12, 1, ())
    assert recorded.trials("repeated").equals(before)
    with repeated(recorded, "smoke") as store:
        assert store.experiments() == []


@pytest.mark.database
def test_another_answer_is_reported_by_trial_and_name(recorded: ExperimentStore) -> None:
    """One count more in the recording, or a figure lost since: both are listed, in every block; rounding is not."""
    run_matrix(MATRIX, recorded)
    record_otherwise(recorded, "repeated", "slow", rows=8, loss=0.3, gain=1)
    assert [str(one) for one in again(recorded).differences] == [
        f"repeated: slow, block {block}, rows: recorded 8, now 7" for block in (0, 1)
    ]
    record_otherwise(recorded, "repeated", "slow", rows=7, loss=0.3 + 1e-6)
    assert {one.where for one in again(recorded).differences} == {"slow, block 0, loss", "slow, block 1, loss"}


@pytest.mark.database
def test_a_ratio_outside_the_interval_is_reported_with_both(recorded: ExperimentStore) -> None:
    """Recorded three times as slow: the intervals do not meet, and both are said."""
    run_matrix(MATRIX, recorded)
    record_otherwise(recorded, "repeated", "slow", factor=3.0)
    (found,) = again(recorded).differences
    assert (found.where, found.recorded[:2], found.now[:2]) == ("slow beside fast", "6 ", "2 ")


@pytest.mark.database
def test_arms_that_differed_have_no_ratio(recorded: ExperimentStore) -> None:
    """A recording whose arms released other rows is no ground for a ratio: the checksum is reported, and why."""
    run_matrix(MATRIX, recorded)
    record_otherwise(recorded, "repeated", "slow", output_checksum="b")
    found = again(recorded).differences
    assert [one.where for one in found] == [
        "slow, block 0, output_checksum",
        "slow, block 1, output_checksum",
        "ratios",
    ]
    assert "differ in output_checksum" in found[-1].now


@pytest.mark.database
def test_what_is_not_recorded_is_a_difference_or_an_error(recorded: ExperimentStore) -> None:
    """Another configuration than the recorded one is said, not run; with no recording at all there is nothing to do."""
    grown = made(replace(MATRIX, blocks=3))
    with repeated(recorded, "smoke") as store, pytest.raises(MicroflowError, match="nothing is recorded"):
        next(reproduce(recorded, store, "smoke", [QUESTION]))
    run_matrix(MATRIX, recorded)
    with repeated(recorded, "smoke") as store:
        _, found = reproduce(recorded, store, "smoke", [QUESTION, grown])
    assert found.differences[0].recorded == "repeated: 2 of 6 trials have not run yet"


@pytest.mark.database
def test_what_need_not_be_recorded_is_left_out(recorded: ExperimentStore) -> None:
    """An optional experiment without a recording is no difference; the others are still repeated."""
    missing = made(replace(MATRIX, seed=9), optional=True)
    run_matrix(MATRIX, recorded)
    with repeated(recorded, "smoke") as store:
        (only,) = reproduce(recorded, store, "smoke", [missing, QUESTION])
    assert only.differences == ()


def test_a_ratio_has_the_interval_of_a_paired_t_test() -> None:
    """By scipy, on the logarithms of the blocks: three blocks of an arm beside the reference of its group."""
    times = {"iot: batch": (1.0, 1.1, 0.9), "iot: stream": (5.0, 6.0, 4.1)}
    trials = [
        Trial(Planned(Arm(name, ECHO, {}), block, 0, 1), launched({"samples": [value]}))
        for name, values in times.items()
        for block, value in enumerate(values)
    ]
    (found,) = beside(trials, "batch").values()
    logs = np.log(np.divide(times["iot: stream"], times["iot: batch"]))
    low, high = np.exp(stats.t.interval(0.95, 2, loc=logs.mean(), scale=stats.sem(logs)))
    assert (found.value, found.low, found.high) == pytest.approx((np.exp(logs.mean()), low, high))


@pytest.mark.database
def test_a_repetition_that_was_stopped_continues(recorded: ExperimentStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ran before the stop is kept by name of profile; the end removes it."""
    # A process of its own would look at the work tree anew: a commit just now would make the first half stale.
    monkeypatch.setattr("microflow.lab.trials.launch", lambda _, config, **__: launched(config))
    run_matrix(MATRIX, recorded)

    def stop(progress: Progress) -> None:
        if progress.ran == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), repeated(recorded, "smoke") as store:
        list(reproduce(recorded, store, "smoke", [QUESTION], stop))
    ran = []
    with repeated(recorded, "smoke") as store:
        list(reproduce(recorded, store, "smoke", [QUESTION], ran.append))
    assert [(one.ran, one.kept) for one in ran] == [(1, 2), (2, 2)]


@pytest.mark.database
def test_real_trials_are_repeated_by_the_command(
    recorded: ExperimentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Detection and attacks of the smallest size, from a bundle: status 0; with other data, 1 and the line."""
    monkeypatch.setenv("DATABASE_URL", recorded.url)
    for one in select(["detection", "rq2-privacy"]):
        run_matrix(one.matrix("smoke"), recorded)
    export_bundle(recorded, tmp_path / "good.zip")
    kept = tmp_path / "mine.zip"
    command = ["experiments", "reproduce", "--profile", "smoke", "--only", "detection"]
    good = [*command, "--only", "rq2-privacy", str(tmp_path / "good.zip"), "--keep", str(kept)]
    done = CliRunner().invoke(cli, good)
    assert done.exit_code == 0, done.output
    assert done.output.endswith("\n0 differences\n")
    assert kept.is_file()
    record_otherwise(recorded, "detection", "healthcare", data_checksum="other")
    changed = CliRunner().invoke(cli, command)
    assert changed.exit_code == 1
    assert "\ndetection: healthcare, block 0, data_checksum: recorded other, now " in changed.output
    assert changed.output.endswith("\n1 difference\n")


def test_names_that_nobody_runs_end_in_a_hint() -> None:
    """A typing error names the experiments there are."""
    with pytest.raises(MicroflowError, match="no experiment 'rq3'"):
        select(["rq3"])


@pytest.mark.database
@pytest.mark.parametrize("question", [one for one in all_experiments() if not one.optional], ids=lambda one: one.name)
def test_real_trials_hold_the_answers_that_are_compared(
    question: Experiment, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that no result has would compare nothing, silently."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "0" * 64)  # a trial sets its own, which must not outlive the test
    arm = question.matrix("smoke").arms[0]
    module, _, target = arm.target.partition(":")
    found = getattr(import_module(module), target)(arm.config | {"seed": 1})
    for name in question.same:
        assert answers_of(found, (name,)), name
