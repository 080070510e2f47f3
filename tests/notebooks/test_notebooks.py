"""Notebooks contain no logic and no outputs, and every parameter reaches its notebook."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import nbformat
import pytest

from microflow.errors import InputError, MicroflowError
from microflow.lab.experiment import PROFILES
from microflow.cli.experiments import execute, parameters_of
from microflow.experiments import NOTEBOOKS as RUN

NOTEBOOKS = Path(__file__).resolve().parent.parent.parent / "notebooks"
ALL = sorted(NOTEBOOKS.glob("*.ipynb"))


def code_of(notebook: Path) -> ast.Module:
    cells = nbformat.read(notebook, as_version=4).cells
    return ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))


def test_all_the_questions_have_a_notebook() -> None:
    """What `make experiments` runs is there, and `explore` beside it."""
    assert {path.stem for path in ALL} == {*RUN, "explore"}


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_a_notebook_holds_no_logic(notebook: Path) -> None:
    """No function, class, loop or branch: what is worth testing lives in the package."""
    forbidden = (ast.FunctionDef, ast.Lambda, ast.ClassDef, ast.For, ast.While, ast.If, ast.Try)
    assert not [node for node in ast.walk(code_of(notebook)) if isinstance(node, forbidden)]


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_what_a_notebook_imports_is_there(notebook: Path) -> None:
    """A name that is renamed in the package is renamed in the notebooks."""
    imports = [node for node in ast.walk(code_of(notebook)) if isinstance(node, ast.ImportFrom)]
    names = [(str(node.module), alias.name) for node in imports for alias in node.names]
    assert [name for name in names if not hasattr(import_module(name[0]), name[1])] == []


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(notebook: Path) -> None:
    """Results belong in the database; a diff shows what a person changed."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.mark.parametrize("notebook", ALL, ids=lambda path: path.stem)
def test_every_parameter_is_read(notebook: Path) -> None:
    """Papermill sees each parameter, and the notebook uses each after its parameters cell."""
    declared = parameters_of(notebook)
    assert declared
    names = [node.id for node in ast.walk(code_of(notebook)) if isinstance(node, ast.Name)]
    assert all(names.count(name) >= 2 for name in declared), declared


@pytest.mark.parametrize("name", RUN)
def test_the_profile_reaches_every_experiment(name: str) -> None:
    """`--profile` is a parameter of each notebook, and its default is the one that takes seconds."""
    assert parameters_of(NOTEBOOKS / f"{name}.ipynb")["profile"].strip("\"'") == PROFILES[0]


def test_an_unknown_parameter_is_refused(tmp_path: Path) -> None:
    """Papermill would only log it, and run something else than was asked for."""
    with pytest.raises(InputError, match="'profil' does not reach"):
        execute(NOTEBOOKS / "rq1.ipynb", {"profil": "quick"}, tmp_path)


def test_a_failing_cell_fails_the_run(tmp_path: Path) -> None:
    """The error names the notebook and what went wrong, and the executed copy is kept to look at."""
    cells = [nbformat.v4.new_code_cell("profile = 'smoke'", metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell("raise ValueError('odd ' + profile)"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "broken.ipynb")
    with pytest.raises(MicroflowError, match=r"broken\.ipynb failed: ValueError: odd quick"):
        execute(tmp_path / "notebooks" / "broken.ipynb", {"profile": "quick"}, tmp_path / "executed")
    assert (tmp_path / "executed" / "broken.ipynb").is_file()


def test_no_such_notebook_is_one_clear_line(tmp_path: Path) -> None:
    """Away from the repository the hint says where to go."""
    with pytest.raises(InputError, match="holds notebooks/"):
        parameters_of(tmp_path / "rq1.ipynb")


def test_a_kernel_says_nothing_on_its_way_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Jupyter ends a kernel by an interrupt; its traceback is shown only if the notebook failed."""
    cells = [nbformat.v4.new_code_cell("profile = 'smoke'", metadata={"tags": ["parameters"]})]
    cells.append(nbformat.v4.new_code_cell("import os; os.write(2, b'KeyboardInterrupt in a kernel')"))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "notebooks").mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "notebooks" / "noisy.ipynb")
    execute(tmp_path / "notebooks" / "noisy.ipynb", {"profile": "quick"}, tmp_path / "executed")
    assert capfd.readouterr().err == ""
