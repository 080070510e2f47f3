"""Everything a paper embeds comes from the database: figures, tables, numbers, and what is missing of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from microflow.figures.numbers import macro, numbers_tex

from microflow.errors import MicroflowError
from microflow.experiments import detection
from microflow.figures.catalogue import FIGURES, draw_all, plate
from microflow.figures.paper import answers_table, write_tables
from microflow.lab.results import run_matrix
from microflow.store.experiments import ExperimentStore


@pytest.fixture(scope="module")
def store(database_url: str) -> Iterator[ExperimentStore]:
    """A database that holds one small experiment."""
    with ExperimentStore(database_url) as opened:
        run_matrix(detection.matrix("smoke"), opened)
        yield opened


@pytest.mark.parametrize("entry", FIGURES, ids=lambda entry: entry.name)
def test_every_entry_names_a_drawing(entry: object) -> None:
    """Each figure's module draws, and its caption says something."""
    assert callable(import_module(f"microflow.figures.{entry.drawing}").draw)
    assert entry.caption.endswith(".")


@pytest.mark.database
def test_what_is_complete_is_drawn_twice_the_same(store: ExperimentStore, tmp_path: Path) -> None:
    """The same database gives the same bytes; figures without trials say so and leave no file."""
    once, again = (draw_all("smoke", store, tmp_path / name) for name in ("once", "again"))
    drawn = {one.name: one for one in once}
    assert [path.suffix for path in drawn["detection-accuracy"].files] == [".pdf", ".png"]
    assert [path.read_bytes() for one in once for path in one.files] == [
        path.read_bytes() for one in again for path in one.files
    ]
    assert "have not run yet" in drawn["throughput"].missing
    assert len(list((tmp_path / "once").iterdir())) == 2


@pytest.mark.database
def test_numbers_of_the_text_come_from_the_answers(store: ExperimentStore, tmp_path: Path) -> None:
    """numbers.tex defines a macro for what could be answered and names what could not."""
    written = {one.name: one for one in write_tables("smoke", store, tmp_path)}
    text = (tmp_path / "numbers.tex").read_text("utf-8")
    assert r"\newcommand{\mfDetectionHIPAARecall}{1.0000}" in text
    assert "have not run yet" in written["numbers"].missing
    assert answers_table("smoke", store).rows[0][0] == "detection"


@pytest.mark.database
def test_an_unknown_figure_names_the_known_ones(store: ExperimentStore) -> None:
    """A typing error ends in a hint."""
    with pytest.raises(MicroflowError, match="detection-accuracy"):
        plate("detektion", "smoke", store)


def test_two_numbers_never_share_a_macro() -> None:
    """`a b` and `a-b` would; the second is refused instead of lost."""
    assert macro("a b") == macro("a-b")
    with pytest.raises(MicroflowError, match="two numbers"):
        numbers_tex({"a b": "1", "a-b": "2"})
