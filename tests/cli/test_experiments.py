"""The commands around the notebooks and figures, without running an hour of trials."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import MicroflowError
from microflow.lab.trials import Planned, Trial

ROOT = Path(__file__).resolve().parents[2]
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}


def write_notebook(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=KERNEL), path)


def test_parameters_reach_the_notebook_and_copies_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--profile` and `--force` arrive; the executed copy lies in notebooks/executed."""
    monkeypatch.chdir(tmp_path)
    write_notebook(Path("notebooks/rq1.ipynb"), "profile = 'smoke'\nforce = False", "(profile, force)")
    done = CliRunner().invoke(cli, ["experiments", "run", "--profile", "paper", "--force", "--only", "rq1"])
    assert done.exit_code == 0, done.output
    assert "('paper', True)" in Path("notebooks/executed/rq1.ipynb").read_text("utf-8")


def test_away_from_the_repository_the_hint_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback where there are no notebooks."""
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, ["experiments", "run", "--only", "rq1"])
    assert "no such notebook" in str(done.exception)


@pytest.mark.database
def test_a_stopped_run_goes_on_where_it_was(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Experiment by experiment and trial by trial: what ended is kept, what is missing runs, the plan counts both."""
    from microflow.lab import results

    monkeypatch.setenv("DATABASE_URL", database_url)
    measure = ["experiments", "run", "--profile", "smoke", "--experiment", "scalability", "--experiment", "detection"]
    real = results.run_trials

    def stopped(turns: Iterable[Planned], **given: Any) -> Iterator[Trial]:
        for number, trial in enumerate(real(turns, **given)):
            if number == 3:
                raise MicroflowError("the power went out")
            yield trial

    monkeypatch.setattr(results, "run_trials", stopped)
    assert "the power went out" in str(CliRunner().invoke(cli, measure).exception)
    monkeypatch.setattr(results, "run_trials", real)
    again = CliRunner().invoke(cli, measure)
    assert again.exit_code == 0, again.output
    assert "scalability: 10 trials, 7 run now, 3 kept from before" in again.output
    assert "Is a violation overlooked?" in again.output
    assert "Where does a job's time go?" not in again.output
    third = CliRunner().invoke(cli, measure)
    assert "scalability: 10 trials, 0 run now, 10 kept from before" in third.output
    plan = CliRunner().invoke(cli, ["experiments", "plan", "--profile", "smoke"])
    row = next(line.split() for line in plan.output.splitlines() if line.startswith("scalability"))
    assert row[:7] == ["scalability", "10", "1", "10", "10", row[5], "0.0"]


def test_notebooks_and_single_experiments_are_two_things() -> None:
    """Both at once is a question of which."""
    done = CliRunner().invoke(cli, ["experiments", "run", "--only", "rq1", "--experiment", "rq1-storm"])
    assert done.exit_code == 2
    assert "choose" in done.output


@pytest.mark.database
def test_figures_fail_while_trials_are_missing(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit status 1 and what is missing, figure by figure."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    done = CliRunner().invoke(cli, ["figures", "--profile", "paper", "--folder", str(tmp_path)])
    assert done.exit_code == 1
    assert "trials have not run yet" in done.output
    empty = CliRunner().invoke(cli, ["figures", "--profile", "paper", "--readme"])
    assert "no question of profile 'paper' has run yet" in str(empty.exception)


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ([], "reproduce --profile paper"),
        (["PROFILE=quick"], "reproduce --profile quick"),
        (["BUNDLE=my results.zip"], f'reproduce --profile paper "{ROOT}/my results.zip"'),
        (["BUNDLE=/a/my results.zip"], 'reproduce --profile paper "/a/my results.zip"'),
    ],
)
def test_make_reproduces_the_paper_unless_told_otherwise(told: list[str], asked: str) -> None:
    """Experiments are quick by default, a reproduction is of what was printed; a bundle is found from anywhere."""
    environment = {name: value for name, value in os.environ.items() if name not in {"PROFILE", "MAKEFLAGS"}}
    said = subprocess.run(
        ["make", "--dry-run", "reproduce", *told], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert asked in said.stdout
