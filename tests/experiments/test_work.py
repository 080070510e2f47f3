"""Every trial says which data it saw: equal data have equal checksums, whatever the experiment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from microflow.experiments import detection, load, privacy, whole_job, work
from microflow.experiments.work import DataChecksum, data_checksum, source

CONFIG = {
    "data_type": "healthcare", "rows": 1_500, "seed": 5, "method": {"method": "tokenization"}, "engine": "local",
    "pipeline": "batch", "passes": 1, "released_alike": True, "attempts": 20,
}  # fmt: skip


@pytest.fixture(scope="module")
def expected() -> str:
    return data_checksum(source(CONFIG, 1_500))


@pytest.mark.parametrize(
    "trial",
    [work.throughput, work.volume, detection.trial, privacy.trial],
    ids=["throughput", "volume", "detection", "privacy"],
)
def test_a_trial_names_its_data(trial: Callable[[Mapping[str, Any]], dict[str, Any]], expected: str) -> None:
    """Four experiments on one seed's records name the same data."""
    assert trial(CONFIG)["data_checksum"] == expected


def test_several_batches_are_cut_as_everywhere() -> None:
    """Detection takes batches with their truth, others microflows: the rows are the same, and so is what names them."""
    config = CONFIG | {"rows": 10_500}
    assert detection.trial(config)["data_checksum"] == data_checksum(source(config, 10_500))


@pytest.mark.database
def test_a_whole_job_names_its_data(database_url: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the file that the job reads."""
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", "")  # put back at the end: the trial sets a key of its own
    assert whole_job.trial(CONFIG)["data_checksum"] == expected


def test_a_served_load_names_the_records_it_repeats() -> None:
    """The load generator repeats 20,000 records of the seed."""
    found = load.open_loop(CONFIG | {"loads": [2_000], "seconds": 0.3})
    (p50,), (p90,), (p99,), (worst,) = (found[f"{name}_ns"] for name in ("p50", "p90", "p99", "max"))
    assert 0 < p50 <= p90 <= p99 <= worst
    assert found["data_checksum"] == data_checksum(source(CONFIG, 20_000))


def test_other_data_have_another_checksum(expected: str) -> None:
    """Another seed, or one row less; what passes through is what is counted, and it passes unchanged."""
    assert data_checksum(source(CONFIG | {"seed": 6}, 1_500)) != expected
    assert data_checksum(source(CONFIG, 1_499)) != expected
    checksum = DataChecksum()
    passed = list(checksum.passing(source(CONFIG, 1_500)))
    assert [len(flow) for flow in passed] == [1_000, 500]
    assert checksum.hexdigest() == expected
