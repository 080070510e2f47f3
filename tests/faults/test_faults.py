"""A seeded sample of the fault matrix; ``make faults`` runs all of it."""

from __future__ import annotations

import pytest

from faults.__main__ import MATRIX
from faults.stand import Stand

#: Enough to see every kind of output and every way of resuming, in less than a minute.
SAMPLE = (
    "SIGKILL batch local tokenization .csv",
    "SIGKILL batch local k_anonymity .parquet",
    "SIGKILL stream local k_anonymity .csv",
    "SIGKILL hybrid local tokenization .csv.gz",
    "SIGKILL with workers",
    "connection cut",
    "disk full",
    "disk full for workers",
    "server killed, stays away",
    "paused and fenced",
    "two jobs, one output",
)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Stand:
    return Stand(tmp_path_factory.mktemp("faults"), database_url, rows=600)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_broken_job_ends_as_if_nothing_had_been(stand: Stand, name: str) -> None:
    """Killed, cut, paused or without room, then resumed: files and tables are those of an uninterrupted run."""
    case, _ = MATRIX[name]
    assert case(stand, 1).is_clean


def test_the_whole_matrix_is_large() -> None:
    """At least 150 cases, and kills on batch, stream, hybrid and Spark."""
    assert sum(times for _, times in MATRIX.values()) >= 150
    kills = {name for name in MATRIX if name.startswith("SIGKILL")}
    assert all(any(word in name for name in kills) for word in ("batch", "stream", "hybrid", "spark", "workers"))
