"""No sentence with a number stands in README or paper without evidence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.cli import cli
from microflow.figures.audit import Audited, audited, documents, page, sentences
from microflow.store.experiments import ExperimentStore

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.database
@pytest.mark.parametrize("document", documents(ROOT), ids=lambda path: path.name)
def test_every_claim_has_evidence(document: Path, complete_store: ExperimentStore) -> None:
    """Each sentence that states a number rests on an experiment's trials or on a command."""
    found = audited([document], "smoke", complete_store)
    assert [one.claim for one in found if not one.evidence] == []
    measured = [one for one in found if one.trials]
    assert len(measured) > 10 or document.name not in {"RESULTS.md", "paper.tex"}
    assert all("block" in one.trials and one.command and one.interval for one in measured)


@pytest.mark.database
def test_a_number_out_of_the_air_is_found(complete_store: ExperimentStore, tmp_path: Path) -> None:
    """In prose and as a macro that nothing defines; the page says NONE and the command ends with 1."""
    path = tmp_path / "README.md"
    path.write_text("# Title 7\n\nIt is 9 times as fast. See Art. 4(5) and Python 3.12.\n", "utf-8")
    (found,) = audited([path], "smoke", complete_store)
    assert found == Audited("README.md", "It is 9 times as fast.", "")
    assert "| NONE |" in page([found])
    paper = tmp_path / "paper.tex"
    paper.write_text("\\begin{document}\nIt takes \\mfNobodyMeasured{} s.\n\\end{document}\n", "utf-8")
    assert [one.evidence for one in audited([paper], "smoke", complete_store)] == [""]


@pytest.mark.database
def test_the_command_writes_the_page(
    complete_store: ExperimentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the repository's root: the page, the number of claims, status 0."""
    monkeypatch.setenv("DATABASE_URL", complete_store.url)
    monkeypatch.chdir(ROOT)
    command = ["experiments", "audit", "--profile", "smoke", "--into", str(tmp_path / "audit.md")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert "0 without evidence" in done.output
    assert "rq1-throughput" in (tmp_path / "audit.md").read_text("utf-8")


def test_names_with_digits_are_no_numbers() -> None:
    """Versions, articles, ciphers and code are no claims; spelled-out large numbers are."""
    assert list(sentences("Java 17 runs. AES-128-CMAC, GDPR Art. 4(5), `k=5`, RQ-1 and SHA-256.")) == []
    assert list(sentences("```\n9 times\n```\n")) == []
    assert list(sentences("We try eleven settings. It is 3 times faster.")) == [
        "We try eleven settings.", "It is 3 times faster."
    ]  # fmt: skip
