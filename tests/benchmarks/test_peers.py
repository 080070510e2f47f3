"""The table beside other tools says what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import bench
from benchmarks.harness import Line, document, peers_block
from microflow.figures.catalogue import MARKED

ROOT = Path(__file__).resolve().parents[2]
LINES = [
    Line("ours", 2e6, "records/s", "theirs", 8.0, 7.5, 8.25),
    Line("loss", 0.25, "NCP", "theirs", 0.5),
]


def blocks(readme: Path) -> dict[str, str]:
    return {found[1]: found[0] for found in MARKED.finditer(readme.read_text("utf-8"))}


def test_the_readme_says_what_was_recorded() -> None:
    """The recording contains every number of the table, and the machine."""
    recorded = json.loads((ROOT / "data" / "peers.json").read_text("utf-8"))
    assert blocks(ROOT / "docs" / "peers.md")["peers"] == peers_block(recorded)


def test_a_line_has_its_ratio_and_its_interval_where_there_is_one() -> None:
    """Rates in short, ratios with their intervals; a score has none."""
    block = peers_block(document(LINES))
    assert "| ours | 2M records/s | theirs | 8× [7.5, 8.25] |" in block
    assert "| loss | 0.25 NCP | theirs | 0.5× |" in block


def test_the_command_writes_between_the_marks_and_keeps_the_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is kept gives what was written; the rest of the file stays."""
    monkeypatch.setattr("benchmarks.__main__.measured", lambda *_: LINES)
    readme, kept = tmp_path / "README.md", tmp_path / "peers.json"
    readme.write_text("Before.\n<!-- peers -->\n<!-- /peers -->\nAfter.\n", "utf-8")
    done = CliRunner().invoke(bench, ["peers", "--json", str(kept), "--into", str(readme)])
    assert done.exit_code == 0, done.output
    assert blocks(readme)["peers"] == peers_block(json.loads(kept.read_text("utf-8")))
    assert readme.read_text("utf-8").startswith("Before.\n<!-- peers -->")
    assert readme.read_text("utf-8").endswith("<!-- /peers -->\nAfter.\n")


def test_only_peers_have_a_table(tmp_path: Path) -> None:
    """Another suite is not measured for minutes before it is refused."""
    readme = tmp_path / "README.md"
    readme.touch()
    done = CliRunner().invoke(bench, ["store", "--into", str(readme)])
    assert done.exit_code == 2
    assert "--into" in done.output
