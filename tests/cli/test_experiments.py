"""The commands around the notebooks and figures, without running an hour of trials."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from click.testing import CliRunner

from microflow.cli import cli

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
