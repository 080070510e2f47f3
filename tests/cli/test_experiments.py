"""The commands around the notebooks and figures, without running an hour of trials."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from microflow.cli import cli

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
