"""Results and headlines are blocks that a command writes, and nothing else of their pages is touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import MicroflowError
from microflow.experiments import all_experiments
from microflow.figures.catalogue import answers, headlines_block, results_block, table, with_block, with_blocks
from microflow.lab.reproduction import bundled
from microflow.lab.results import Results
from microflow.store.experiments import ExperimentStore

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "data" / "paper.zip"


@pytest.mark.database
def test_the_pages_say_what_the_published_recording_says(database_url: str) -> None:
    """After an import of the recording, every number of both pages is the same to the last digit, without a trial."""
    with ExperimentStore(database_url) as server, bundled(server, RECORDING) as store:
        for experiment in all_experiments():
            Results.read(experiment.matrix("paper"), store)
        for page in (ROOT / "RESULTS.md", ROOT / "README.md"):
            published = page.read_text("utf-8")
            assert with_blocks(published, "paper", store) == published


@pytest.mark.database
def test_a_headline_has_its_interval_and_its_design(complete_store: ExperimentStore) -> None:
    """Four sentences, each with its rows or cases, blocks and trials."""
    lines = headlines_block("smoke", complete_store).splitlines()[2:-2]
    assert len(lines) == 4
    assert all("block" in line and "trials" in line for line in lines)


@pytest.mark.database
def test_the_block_answers_every_question_in_the_words_of_the_answers(complete_store: ExperimentStore) -> None:
    """Each sentence and each table is in it, and no line is doubly blank."""
    block = results_block("smoke", complete_store)
    for one, answer in answers("smoke", complete_store):
        assert f"**{one.asks}** {answer.sentence}" in block
        for name in one.tables:
            assert table(one.name, "smoke", complete_store, name).to_markdown() in block
    assert "\n\n\n" not in block


@pytest.mark.database
def test_only_the_block_is_written(
    complete_store: ExperimentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    r"""Text around the marks stays, a second run changes nothing, and a group reference in the text is text."""
    monkeypatch.setenv("DATABASE_URL", complete_store.url)
    path = tmp_path / "README.md"
    path.write_text("Before \\1.\n\n<!-- results -->\nwhat stood here\n<!-- /results -->\n\nAfter.\n", "utf-8")
    command = ["figures", "--profile", "smoke", "--readme", "--into", str(path)]
    assert CliRunner().invoke(cli, command).exit_code == 0
    written = path.read_text("utf-8")
    assert written.startswith("Before \\1.\n\n<!-- results -->\n")
    assert written.endswith("\n<!-- /results -->\n\nAfter.\n")
    assert "what stood here" not in written
    CliRunner().invoke(cli, command)
    assert path.read_text("utf-8") == written


def test_a_file_without_a_place_is_refused() -> None:
    """No marks, or two pairs: nothing is guessed."""
    for text in ("", "<!-- results --><!-- /results -->" * 2):
        with pytest.raises(MicroflowError, match="no single place"):
            with_block(text, "<!-- results -->new<!-- /results -->")
