"""The explorer says what the engine says, on generated data and on a user's own file."""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.csv as pacsv
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.errors import MicroflowError
from microflow.explore import take_sample, try_setting
from microflow.explore.model import LOADS, Sample, Trialled, latencies
from microflow.explore.view import Explorer


def test_a_sample_of_an_own_file_is_read_with_its_schema(tmp_path: Path) -> None:
    """The first rows of a file, typed by its schema; the same rows as were written."""
    rows = take_sample("financial", rows=50, seed=4).rows
    pacsv.write_csv(rows, tmp_path / "own.csv")
    own = take_sample(tmp_path / "own.csv", "financial", rows=20)
    assert own.name == "own.csv"
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
