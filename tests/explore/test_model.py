"""The explorer says what the engine says, on generated data and on a user's own file."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv as pacsv
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.errors import MicroflowError
from microflow.explore import take_sample, try_setting
from microflow.explore.model import latency_frame
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
    """A curve each, in milliseconds, for methods that hold records back as well."""
    sample = take_sample("iot", rows=200)
    frame = latency_frame(try_setting(sample, MethodSettings(method)).spec, sample)
    assert set(frame["arm"]) == {"batch", "stream", "hybrid"}
    assert (frame["p99_ms"] >= frame["p50_ms"]).all()
    assert (frame["p50_ms"] > 0).all()


def test_a_control_changes_what_is_shown() -> None:
    """Another k is another point in the plot; a bad file is an error in words, not a traceback."""
    explorer = Explorer("healthcare", None, rows=200)
    before = explorer.risk.value
    explorer.k.value = 9
    assert explorer.risk.value != before
    assert "k=9" in explorer.measured.value
    assert explorer.epsilon.disabled
    assert not explorer.k.disabled
    broken = Explorer("nowhere.csv", "healthcare", rows=10)
    assert "nowhere.csv" in broken.status.value
