"""A seeded sample of the fault matrix; ``make faults`` runs all of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from faults.company import COMPANY, paused_and_fenced, two_jobs_one_output
from faults.kills import KILLS, Line, kills
from faults.outages import (
    OUTAGES,
    cut_connection,
    full_disk,
    full_disk_of_workers,
    killed_server_stays_away,
    killed_with_workers,
)
from faults.stand import Outcome, Stand

#: Enough to see every kind of output and every way of resuming, in less than a minute.
SAMPLE: tuple[Line, ...] = (
    ("batch", "local", "tokenization", ".csv", 1),
    ("batch", "local", "k_anonymity", ".parquet", 1),
    ("stream", "local", "k_anonymity", ".csv", 1),
    ("hybrid", "local", "tokenization", ".csv.gz", 1),
)


CASES = (
    cut_connection,
    full_disk,
    full_disk_of_workers,
    killed_with_workers,
    killed_server_stays_away,
    paused_and_fenced,
    two_jobs_one_output,
)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Stand:
    return Stand(tmp_path_factory.mktemp("faults"), database_url, rows=600)


@pytest.mark.parametrize("line", SAMPLE, ids=lambda line: "-".join(line[:3]) + line[3])
def test_a_killed_job_ends_as_if_it_never_had_been(stand: Stand, line: Line) -> None:
    """Killed before a seeded call and resumed: output, quarantine and tables are those of an uninterrupted run."""
    outcomes = list(kills(stand, line, seed=1))
    assert len(outcomes) == line[-1]
    assert all(outcome.is_clean for outcome in outcomes), outcomes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_an_outage_is_survived_or_said_clearly(stand: Stand, case: Callable[[Stand, int], Outcome]) -> None:
    """Server, line and disk fail and come back; nothing is lost, doubled or different."""
    assert case(stand, 1).is_clean


def test_the_whole_matrix_is_large() -> None:
    """At least 150 cases: kills on batch, stream, hybrid and Spark, outages, and other jobs and hands."""
    assert sum(line[-1] for line in KILLS) >= 80
    assert {line[0] for line in KILLS} == {"batch", "stream", "hybrid"}
    assert {line[1] for line in KILLS} == {"local", "spark"}
    assert sum(line[-1] for line in KILLS) + sum(OUTAGES.values()) + sum(COMPANY.values()) >= 150
