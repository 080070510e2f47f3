"""The README's results are a block that a command writes, and nothing else of the README is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.errors import MicroflowError
from microflow.figures.paper import ANSWERS, TABLES
from microflow.figures.readme import MARKED, results_block, with_block
from microflow.lab.reproduction import bundled
from microflow.store.experiments import ExperimentStore

README = Path(__file__).resolve().parents[2] / "README.md"
RECORDING = README.parent / "data" / "paper.zip"


def published() -> str:
    """The results as they stand in the README."""
    (block,) = (found[0] for found in MARKED.finditer(README.read_text("utf-8")) if found[1] == "results")
    return block


def shape(block: str) -> list[str]:
    """What every line of a block is, whatever its numbers are: a question's name, a table's head, the origin."""
    kinds = []
    for line in block.splitlines():
        if asked := re.match(r"\*\*(.+?)\*\* \S", line):
            kinds.append(asked[1])
        elif line.startswith("| ") and not line.startswith("| ---"):
            kinds.append("row" if re.search(r"\d", line) else line)
        elif line.startswith("*Profile"):
            kinds.append(re.sub(r"Profile \w+, on .+;", "", line))
    return [kind for kind in kinds if kind != "row"]


@pytest.mark.database
def test_the_block_in_the_readme_is_what_the_command_writes(complete_store: ExperimentStore) -> None:
    """Questions, heads of tables and origin, in this order; what had not run when it was written may be missing."""
    block = published()
    rest = iter(shape(results_block("smoke", complete_store)))
    assert [line for line in shape(block) if line not in rest] == []  # `in` reads on: order counts
    assert shape(block)[-1] == "* written by `make readme`.*"
    assert len(shape(block)) > 1


@pytest.mark.database
def test_the_readme_says_what_the_published_recording_says(database_url: str) -> None:
    """Whoever imports the recording gets every number in the README, to the last digit, and runs nothing."""
    block = published()
    with ExperimentStore(database_url) as server, bundled(server, RECORDING) as store:
        assert results_block("paper", store) == block


@pytest.mark.database
def test_the_block_answers_every_question_in_the_words_of_the_answers(complete_store: ExperimentStore) -> None:
    """Each sentence and each table is in it, and no line is doubly blank."""
    block = results_block("smoke", complete_store)
    for ask in ANSWERS.values():
        assert ask("smoke", complete_store).sentence in block
    for build in TABLES.values():
        assert build("smoke", complete_store).to_markdown() in block
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
