"""The explorer says what the engine says, on generated data and on a user's own file."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.csv as pacsv
import pytest
from click.testing import CliRunner

from microflow.anonymize.contract import Method, MethodSettings
from microflow.cli import cli
from microflow.errors import MicroflowError
from microflow.explore import take_sample, try_setting
from microflow.explore.model import LOADS, Sample, Trialled, latencies
from microflow.explore.view import Explorer


def test_a_sample_of_an_own_file_is_read_with_its_schema(tmp_path: Path) -> None:
    """The first rows of a file, typed by its schema; the same rows as were written."""
    rows = take_sample("financial", rows=50, seed=4).rows
    pacsv.write_csv(rows, tmp_path / "own.csv")
    own = take_sample(tmp_path / "own.csv", "financial", rows=20)
    assert own.name == own.file == str(tmp_path / "own.csv")
    assert own.rows.to_pylist() == rows.slice(0, 20).to_pylist()


def test_a_file_without_usable_rows_is_one_clear_line(tmp_path: Path) -> None:
    """No empty plots: the error says where to look."""
    rows = take_sample("iot", rows=1).rows
    pacsv.write_csv(rows.slice(0, 0), tmp_path / "empty.csv")
    with pytest.raises(MicroflowError, match="no usable row"):
        take_sample(tmp_path / "empty.csv", "iot")


def test_what_is_flagged_changed_and_measured_is_shown() -> None:
    """Counts add up, unchanged fields are left out, and the release is as anonymous as it says."""
    tried = try_setting(take_sample("healthcare", rows=300), MethodSettings(Method.K_ANONYMITY, k=4))
    flagged = tried.violations()
    assert sum(int(row[-1]) for row in flagged.rows) == sum(tried.found.values())
    assert flagged.caption.startswith(f"{len(tried.flagged)} of 300")
    assert all(before != after for _, _, before, after in tried.changes().rows)
    assert dict(tried.measures().rows)["smallest equivalence class (k)"] == str(tried.assessment.achieved.k)
    assert tried.assessment.achieved.k >= 4


@pytest.mark.parametrize("method", [Method.TOKENIZATION, Method.K_ANONYMITY])
def test_latency_is_simulated_for_every_pipeline(method: Method) -> None:
    """Every pipeline at every load, in milliseconds, for methods that hold records back as well."""
    found = latencies(try_setting(take_sample("iot", rows=200), MethodSettings(method)))
    assert {(one.pipeline, one.rate) for one in found} == {
        (pipeline, load) for pipeline in ("batch", "stream", "hybrid") for load in LOADS
    }
    assert all(0 < one.p50_ms <= one.p99_ms for one in found)


@pytest.fixture
def shown() -> Explorer:
    explorer = Explorer("healthcare", None, rows=200)
    explorer.wait()
    return explorer


def test_a_control_changes_what_is_shown(shown: Explorer) -> None:
    """Another k is another point in the plot, n is said, and the command does the same to the whole file."""
    before = shown.risk.value
    shown.k.value = 9
    shown.wait()
    assert shown.risk.value != before
    assert "k=9, n = 200" in shown.measured.value
    assert "--method k_anonymity --k 9" in shown.command.value
    assert shown.epsilon.disabled
    assert not shown.k.disabled
    assert shown.risk.value.count("<title>") == 2


def test_superseded_settings_are_dropped(shown: Explorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty presses of an arrow key cost the trial that runs and the last one, not twenty."""
    tried: list[int] = []

    def slow(sample: Sample, settings: MethodSettings, policy: str | None) -> Trialled:
        tried.append(settings.k)
        time.sleep(0.2)
        return try_setting(sample, settings, policy)

    monkeypatch.setattr("microflow.explore.view.try_setting", slow)
    for k in range(6, 26):
        shown.k.value = k
        assert "working" in shown.status.value
    shown.wait()
    assert tried[-1] == 25
    assert len(tried) <= 4
    assert shown.status.value == ""


def test_a_role_can_be_changed(shown: Explorer) -> None:
    """A column that an attacker is not thought to know leaves the quasi-identifiers; what was tried is forgotten."""
    box = next(box for box in shown.roles.children if box.description == "zip")
    assert box.value == "quasi_identifier"
    shown.k.value = 6
    shown.wait()
    box.value = "attribute"
    shown.wait()
    assert shown.risk.value.count("<title>") == 1


def test_advice_is_marked(shown: Explorer) -> None:
    """The recommended setting is ringed in the plot, and its command stands below it."""
    shown.advice.click()
    shown.wait()
    assert 'r="10"' in shown.risk.value
    assert "recommended for these 200 rows" in shown.recommendation.value


def test_a_bad_file_is_an_error_in_words() -> None:
    """No traceback in a thread that nobody sees."""
    broken = Explorer("nowhere.csv", "healthcare", rows=10)
    broken.wait()
    assert "nowhere.csv" in broken.status.value


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of somebody who has no descriptor, in the folder where the notebook runs."""
    monkeypatch.chdir(tmp_path)
    lines = [f"{row % 61 + 18},{row % 40:05},{'FM'[row % 2]},{['flu', 'gout', 'none'][row % 3]},no {row * 37 % 400}"
             for row in range(400)]  # fmt: skip
    (tmp_path / "visits.csv").write_text("\n".join(["age,zip,sex,diagnosis,grp", *lines]) + "\n", "utf-8")
    return tmp_path / "visits.csv"


def test_an_own_file_is_described_decided_and_advised(own_file: Path) -> None:
    """What a person does: name the file, decide the column nobody knows, read the recommendation, save, and use it."""
    shown = Explorer("healthcare", None, rows=300)
    shown.wait()
    shown.data.value = "visits.csv"
    shown.wait()
    assert "undecided: 'grp'" in shown.status.value.replace("&#x27;", "'")
    assert shown.tabs.selected_index == 3
    roles = {box.description: box for box in shown.roles.children}
    assert (roles["age"].value, roles["grp"].value) == ("quasi_identifier", "undecided")
    roles["grp"].value = "identifier"
    shown.wait()
    assert shown.status.value == ""
    assert "microflow run visits.csv released.csv --schema visits.yaml" in shown.command.value
    shown.advice.click()
    shown.wait()
    assert "recommended for these 300 rows" in shown.recommendation.value
    assert "microflow recommend visits.csv --schema visits.yaml --max-risk 0.09" in shown.recommendation.value
    shown.save.click()
    assert "--config visits.toml" in shown.status.value
    done = CliRunner().invoke(
        cli, ["--config", "visits.toml", "run", "visits.csv", "out.csv", "--no-database"], catch_exceptions=False
    )
    assert "400 rows read" in done.output
    shown.save.click()
    assert "visits.yaml" in shown.status.value
    assert "b00" in shown.status.value, "a descriptor that is there is not replaced"


def test_a_large_file_is_described_by_its_beginning(own_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first picture does not wait for the end: rows far behind change nothing, and the last line is whole."""
    monkeypatch.setattr("microflow.explore.model._LOOKED_AT", 2_000)
    own_file.write_text(own_file.read_text("utf-8") + "old,x,y,z,w\n", "utf-8")
    sample = take_sample(own_file, rows=50)
    assert sample.schema["age"].is_numeric
    assert sample.description is not None
    assert sample.description.profile.refused == 0
    assert sample.size == 50
