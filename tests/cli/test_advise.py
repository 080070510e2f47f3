"""A release meets its thresholds and is certified, or there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from microflow.cli import cli
from microflow.datasets import generate
from microflow.sinks.writers import open_writer


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("release") / "records.csv"
    rows = next(iter(generate("healthcare", 2_000, 6))).rows
    with open_writer(path, rows.schema) as writer:
        writer.write(rows)
    return path


def called(*words: str | Path) -> Result:
    done = CliRunner().invoke(cli, [str(word) for word in words], standalone_mode=True)
    assert not isinstance(done.exception, AssertionError | KeyError | TypeError), done.exception
    return done


def released(records: Path, output: Path, *options: str) -> Result:
    return called("release", records, output, "--schema", "healthcare", "--method", "k_anonymity", *options)


def test_a_release_that_passes_is_certified(records: Path, tmp_path: Path) -> None:
    """The certificate holds what was counted, `verify` accepts it, and one changed byte is refused."""
    output = tmp_path / "safe.csv"
    assert released(records, output, "--k", "10", "--max-risk", "0.3").exit_code == 0
    certificate = tmp_path / "safe.csv.certificate.json"
    document = json.loads(certificate.read_text())
    assert document["verdict"] == "passed"
    assert document["guarantee"]["k"] >= 10
    assert document["counts"]["read"] == 2_000
    assert "triage" in document["passed_unprotected"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["safe.csv", certificate.name]
    verify = ("verify", output, "--schema", "healthcare", "--k", "10", "--certificate", certificate)
    assert called(*verify).exit_code == 0
    output.write_bytes(output.read_bytes().replace(b"I10", b"E11", 1))
    refused = called(*verify)
    assert refused.exception is not None
    assert "not the release" in str(refused.exception)


@pytest.mark.parametrize("limits", [("0.09", "0"), ("0.2", "0.5")])
def test_what_is_advised_can_be_released(records: Path, tmp_path: Path, limits: tuple[str, str]) -> None:
    """Without a method the advised one is taken, and its release meets the limits that it was advised for."""
    output = tmp_path / "safe.csv"
    asked = ("--max-risk", limits[0], "--min-utility", limits[1])
    done = called("release", records, output, "--schema", "healthcare", *asked)
    assert done.exit_code == 0, done.output
    assert "advised: k-anonymity" in done.output
    document = json.loads((tmp_path / "safe.csv.certificate.json").read_text())
    assert document["risk"]["linkage"]["high"] <= float(limits[0])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--k", "2", "--max-risk", "0.01"), "linkage risk"),
        (("--k", "10", "--max-risk", "1", "--min-utility", "0.999"), "information is left"),
        (("--k", "10", "--max-risk", "1", "--min-released", "1"), "rows can be released"),
        (("--k", "10", "--max-risk", "1", "--max-average-risk", "0.01"), "the average risk 0."),
    ],
)
def test_a_release_that_fails_leaves_nothing(
    records: Path, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    """Exit status 1, the threshold named, no file."""
    done = released(records, tmp_path / "safe.csv", *options)
    assert done.exit_code == 1
    assert says in done.output
    assert list(tmp_path.iterdir()) == []


def test_page_and_json_say_the_verdict_first(records: Path, tmp_path: Path) -> None:
    """A person reads the page, a program the document: verdict, thresholds, hashes, tables; also of what fails."""
    page = tmp_path / "page.html"
    done = released(records, tmp_path / "safe.csv", "--k", "10", "--max-risk", "0.3", "--html", str(page), "--json")
    found = json.loads(done.stdout)
    assert (found["verdict"], found["failures"], found["thresholds"]["max_risk"]) == ("passed", [], 0.3)
    assert found["achieved_by_file"]["k"] >= 10
    text = page.read_text("utf-8")
    assert text.index("<h1>Released</h1>") < text.index("<table>")
    document = json.loads((tmp_path / "safe.csv.certificate.json").read_text())
    assert document["output"]["sha256"] in text
    assert document["guarantee"]["l"].keys() == {"diagnosis", "treatment_cost"}
    failing = released(records, tmp_path / "no.csv", "--k", "2", "--max-risk", "0.01", "--html", str(page), "--json")
    assert failing.exit_code == 1
    assert json.loads(failing.stdout)["verdict"] == "failed"
    assert "<h1>Not released</h1>" in page.read_text("utf-8")
    assert not (tmp_path / "no.csv").exists()


def test_nothing_is_overwritten_unasked(records: Path, tmp_path: Path) -> None:
    """A file of the user's stays as it was."""
    output = tmp_path / "mine.csv"
    output.write_text("mine")
    done = released(records, output, "--k", "5")
    assert done.exit_code != 0
    assert output.read_text() == "mine"
