"""Advice that holds when it is followed: on generated records, with constraints that can and cannot be met."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from microflow.advise.page import page
from microflow.advise.recommend import Goals
from microflow.advise.search import Constraints
from microflow.cli import cli
from microflow.datasets import generate
from microflow.sinks.writers import open_writer


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("advise") / "records.csv"
    batches = [batch.rows for batch in generate("healthcare", 6_000, 5)]
    with open_writer(path, batches[0].schema) as writer:
        for rows in batches:
            writer.write(rows)
    return path


def recommend(path: Path, *options: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["recommend", str(path), "--schema", "healthcare", *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_the_advised_setting_meets_the_constraints_and_keeps_most(records: Path) -> None:
    """No other candidate that is allowed keeps more; the command names it; the page says the same."""
    from microflow.advise.recommend import advise

    found = advise(records, "healthcare", Constraints(0.1, 0.5), Goals())
    assert found.advised is not None
    assert found.advised.meets(found.search.constraints)
    allowed = [one for one in found.search.candidates if one.meets(found.search.constraints)]
    assert found.advised.utility >= max(one.utility for one in allowed) - 0.001
    assert found.command is not None
    assert f"--k {found.advised.settings.k}" in found.command
    drawn = page(found)
    assert found.command in drawn
    assert drawn.count("<tr") == len(found.search.candidates) + 1


def test_a_rate_compares_architectures(records: Path) -> None:
    """The advised pipeline keeps up within the latency asked for."""
    status, text = recommend(records, "--rate", "2000/s", "--latency", "250ms", "--json")
    found = json.loads(text)
    assert status == 0
    arms = {arm["pipeline"]: arm for arm in found["architectures"]}
    assert set(arms) == {"batch", "stream", "hybrid"}
    assert arms[found["pipeline"]]["p99_ms"] <= 250
    assert found["pipeline"] != "batch", "a full microflow takes half a second to fill at this rate"


def test_what_cannot_be_met_names_the_constraint_to_give_up(records: Path) -> None:
    """Exit status 1, and for each constraint by how much it would have to give way."""
    status, text = recommend(records, "--max-risk", "0.01", "--min-utility", "0.99")
    assert status == 1
    assert "Give up on risk: --max-risk" in text
    assert "Give up on utility: --min-utility" in text


@pytest.mark.parametrize(("option", "value"), [("--rate", "fast"), ("--deadline", "1 year"), ("--rows", "-3")])
def test_a_wrong_word_is_explained(records: Path, option: str, value: str) -> None:
    """A unit or number that cannot be read is an error of one line, before anything is tried."""
    status, text = recommend(records, option, value)
    assert status != 0
    assert "write" in text


def test_the_answer_has_everything_that_it_rests_on(records: Path, tmp_path: Path) -> None:
    """Intervals, a frontier, a command, the reasons, times on measured and on more workers; and the page draws it."""
    page = tmp_path / "advice.html"
    status, text = recommend(
        records, "--max-risk", "0.2", "--rows", "1e6", "--deadline", "1h", "--json", "--html", str(page)
    )
    found = json.loads(text)
    assert status == 0
    assert found["advised"] in found["frontier"]
    assert all(one["risk"]["low"] <= one["risk"]["value"] <= one["risk"]["high"] for one in found["candidates"])
    assert all(one["risk"]["is_extrapolated"] for one in found["candidates"])
    said = " ".join(found["reasons"])
    assert "keeps most" in said
    assert "Second best:" in said
    assert "With --max-risk" in said, "what would change the choice"
    assert found["command"].startswith(f"microflow run {records} ")
    by_workers = {int(count): one for count, one in found["job_seconds"].items()}
    measured = 2 if (os.cpu_count() or 1) > 1 else 1
    assert {count: one["is_extrapolated"] for count, one in by_workers.items()} == {
        count: count > measured for count in (1, 2, 4, 8)
    }
    assert all(one["low"] <= one["seconds"] <= one["high"] for one in by_workers.values())
    drawn = page.read_text("utf-8")
    assert found["advised"] in drawn
    assert 'r="10"' in drawn, "the advised setting is ringed"
    assert "greatest risk allowed" in drawn


VISITS = """name: visits
policy: combined
source: {delimiter: ";", encoding: cp1252, decimal: ","}
columns:
  pat: {role: person, kind: unique_id}
  geb: {role: quasi_identifier, type: date, kind: date, format: DD.MM.YYYY}
  ort: {role: quasi_identifier}
  größe: {role: sensitive, type: number, format: "1,5"}
"""


def test_another_dialect_and_policy_are_followed(tmp_path: Path) -> None:
    """Jobs are timed on a copy that can be read; the command names the policy, and a file that it can write."""
    (tmp_path / "visits.yaml").write_text(VISITS, "utf-8")
    rows = [
        f"p{n % 2_500};{n % 28 + 1:02}.0{n % 9 + 1}.{1950 + n * 7 % 60};Ort {n % 509};1,{n % 80 + 10}"
        for n in range(5_000)
    ]
    (tmp_path / "my visits.2024.txt").write_text("\n".join(["pat;geb;ort;größe", *rows, ""]), "cp1252")
    done = CliRunner().invoke(cli, [
        "recommend", str(tmp_path / "my visits.2024.txt"), "--schema", str(tmp_path / "visits.yaml"),
        "--policy", "hipaa", "--max-risk", "0.2", "--deadline", "1h", "--json",
    ])  # fmt: skip
    found = json.loads(done.output)
    assert done.exit_code == 0
    assert set(found["job_seconds"]) == {"1", "2", "4", "8"}
    said = shlex.split(found["command"])
    assert said[:4] == ["microflow", "run", str(tmp_path / "my visits.2024.txt"), "my visits.released.csv"]
    assert said[said.index("--policy") + 1] == "hipaa"
    kept = {one["setting"]: 1 - one["loss"]["value"] for one in found["candidates"]}
    assert kept["k-anonymity, k=2"] > 0.5, "persons are counted, and a year covers its days"


def test_a_deadline_that_was_not_checked_is_not_met(records: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens cannot be timed without a key: no word that the deadline holds, and what is missing."""
    monkeypatch.delenv("MICROFLOW_TOKEN_KEY", raising=False)
    monkeypatch.delenv("MICROFLOW_TOKEN_KEY_FILE", raising=False)
    status, text = recommend(records, "--max-risk", "1", "--deadline", "1h")
    assert status == 1
    assert "The deadline was not checked: tokens need a key" in text


def test_a_deadline_that_cannot_be_met_says_what_to_allow(records: Path) -> None:
    """By how much the time would have to give way; exit status 1."""
    status, text = recommend(records, "--max-risk", "0.2", "--rows", "1e9", "--deadline", "1s")
    assert status == 1
    assert "is not met with up to 8 workers: allow" in text
