"""The paper to start from reads what the figures command writes, and types no number itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from microflow.experiments import all_experiments
from microflow.figures.catalogue import draw_all, write_tables
from microflow.store.experiments import ExperimentStore

pytestmark = pytest.mark.database
PAPER = Path(__file__).resolve().parents[2] / "figures" / "paper.tex"
#: A LaTeX, and its option to stop at the first error. Tectonic runs as often as the references need.
ENGINES = {"tectonic": ["tectonic"], "pdflatex": ["pdflatex", "-interaction=nonstopmode", "-halt-on-error"]}


@pytest.fixture(scope="module")
def folder(complete_store: ExperimentStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The figures folder as `microflow figures` leaves it, and the paper in it."""
    path = tmp_path_factory.mktemp("paper")
    drawn = [*draw_all("smoke", complete_store, path), *write_tables("smoke", complete_store, path)]
    assert not [one.missing for one in drawn if one.missing]
    shutil.copy(PAPER, path)
    return path


def test_every_macro_of_the_paper_is_written(folder: Path) -> None:
    """Numbers and captions that the paper names exist, already in the smallest profile."""
    used = set(re.findall(r"\\(mf[A-Za-z]+)", PAPER.read_text("utf-8")))
    written = "".join((folder / name).read_text("utf-8") for name in ("numbers.tex", "captions.tex"))
    assert len(used) > 20
    assert used <= set(re.findall(r"\\newcommand{\\(\w+)}", written))


def test_the_paper_shows_every_figure_and_table(folder: Path) -> None:
    """A figure that is new in the catalogue belongs into the paper; what it includes has been written."""
    text = PAPER.read_text("utf-8")
    plates = set(re.findall(r"^\\plate{([a-z-]+)}", text, re.MULTILINE))
    assert plates == {one.plot.name for one in all_experiments() if one.plot}
    inputs = set(re.findall(r"\\input{([a-z-]+)}", text))
    assert {path.stem for path in folder.glob("*.tex")} == inputs | {"paper"}


def test_the_paper_types_no_number() -> None:
    """In the text, digits are only those of parameters in mathematics and of percentiles."""
    body = PAPER.read_text("utf-8").partition(r"\begin{document}")[2]
    prose = re.sub(r"\\(label|ref|plate|input)\{[^}]*\}|\$[^$]*\$", "", body)
    assert set(re.findall(r"\d+", prose)) == {"99", "100"}


def test_the_paper_compiles(folder: Path) -> None:
    """No error, nothing undefined and nothing wider than its column, where a LaTeX with IEEEtran is at hand."""
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        pytest.skip("no LaTeX on this machine: install tectonic, or pdflatex with IEEEtran")
    for _ in range(1 if engine == "tectonic" else 2):
        done = subprocess.run([*ENGINES[engine], PAPER.name], cwd=folder, capture_output=True, text=True, check=False)
        if "IEEEtran.cls' not found" in done.stdout:
            pytest.skip("this LaTeX has no IEEEtran: install texlive-publishers")
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = done.stdout + done.stderr
    assert (folder / "paper.pdf").stat().st_size > 20_000
    assert not re.findall(r"(?:undefined|multiply defined|Overfull).*", said)
