"""Everything a paper embeds comes from the database: figures, tables, numbers, and what is missing of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from microflow import experiments
from microflow.errors import MicroflowError
from microflow.experiments import all_experiments, experiment_named
from microflow.figures import catalogue
from microflow.figures.catalogue import (
    Plate,
    answer,
    answers_table,
    draw_all,
    macro,
    numbers_tex,
    plan,
    plate,
    table,
    write_tables,
)
from microflow.lab.report import Table
from microflow.lab.results import IncompleteError, Skipped, run_matrix
from microflow.store.experiments import ExperimentStore


@pytest.fixture(scope="module")
def store(database_url: str) -> Iterator[ExperimentStore]:
    """A database that holds one small experiment."""
    with ExperimentStore(database_url) as opened:
        run_matrix(experiment_named("detection").matrix("smoke"), opened)
        yield opened


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
    assert answers_table("smoke", store).rows[0][0] == "Is a violation overlooked?"


@pytest.mark.database
def test_an_unknown_figure_names_the_known_ones(store: ExperimentStore) -> None:
    """A typing error ends in a hint."""
    with pytest.raises(MicroflowError, match="rq1-throughput"):
        plate("detektion", "smoke", store)
    with pytest.raises(MicroflowError, match="has no figure"):
        plate("rq2-speed", "smoke", store)
    with pytest.raises(MicroflowError, match="its tables are: methods, attacks, aggregates"):
        table("rq2-privacy", "smoke", store, "methodes")


def test_two_numbers_never_share_a_macro() -> None:
    """`a b` and `a-b` would; the second is refused instead of lost."""
    assert macro("a b") == macro("a-b")
    with pytest.raises(MicroflowError, match="two numbers"):
        numbers_tex({"a b": "1", "a-b": "2"})


@pytest.mark.database
def test_captions_say_rows_blocks_machine_and_preview(complete_store: ExperimentStore) -> None:
    """A figure shows its caption in a notebook, with what it rests on."""
    shown = plate("rq1-throughput", "smoke", complete_store)
    assert isinstance(shown, Plate)
    for words in ("Preview (smoke).", "2,000 rows", "2 blocks, 10 trials", "cores of"):
        assert words in shown.caption
    assert "<figcaption>Preview (smoke)." in shown._repr_html_()
    assert "preview" in {text.get_text() for text in shown.figure.texts}


@pytest.mark.database
@pytest.mark.parametrize("one", all_experiments(), ids=lambda one: one.name)
def test_every_table_and_answer_can_be_shown(one: object, complete_store: ExperimentStore) -> None:
    """No raw frame and no nan reaches a reader; previews say so; every table names blocks and machine."""
    said = answer(one.name, "smoke", complete_store)
    assert said.sentence.startswith("Preview (smoke): ")
    assert "nan" not in said.sentence
    for name in one.tables:
        shown = table(one.name, "smoke", complete_store, name)
        assert isinstance(shown, Table)
        assert all("nan" not in cell.split() for row in shown.rows for cell in row)
        assert "block" in shown.caption
        assert "cores of" in shown.caption


@pytest.mark.database
def test_what_cannot_run_here_says_why_and_what_could_must_have_run(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Java a notebook's cells show the reason; a question that could have run raises."""
    lacking = replace(experiment_named("rq1-storm"), missing=lambda: "Java is missing (install it)")
    monkeypatch.setattr(
        catalogue, "experiment_named", lambda name: lacking if name == "rq1-storm" else experiment_named(name)
    )
    with ExperimentStore(database_url) as empty:
        assert table("rq1-storm", "paper", empty) == Skipped("rq1-storm", "Java is missing (install it)")
        assert answer("rq1-storm", "paper", empty) == Skipped("rq1-storm", "Java is missing (install it)")
        with pytest.raises(IncompleteError):
            answer("rq2-speed", "paper", empty)


def test_a_plan_is_generated_from_the_matrix() -> None:
    """Arms, rows and blocks of a profile, and that it is a preview."""
    matrix = experiments.experiment_named("rq2-speed").matrix("quick")
    note = plan("rq2-speed", "quick")._repr_markdown_()
    assert f"{len(matrix.arms)} arms on 5,000 rows, {matrix.repetitions}" in note
    assert "preview" in note
    assert "preview" not in plan("rq2-speed", "paper").text
