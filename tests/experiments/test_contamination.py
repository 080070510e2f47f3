"""The contamination experiment: arms do the same work, intrusions do what they say, penalties are right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psycopg2
import pytest

from lab.made_up import made_up
from microflow.errors import MicroflowError, TimingContaminationError
from microflow.experiments.contamination import (
    CLEAN,
    CONVERSION,
    INTRUSIONS,
    RECORDS_PER_PROGRESS,
    WORKS,
    Place,
    analyses,
    answer,
    matrix,
    open_place,
    table,
    trial,
)
from microflow.lab.results import Results
from microflow.lab.statistics import Verdict
from microflow.lab.trials import Planned, run_trials
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard

pytestmark = pytest.mark.database

ROWS = [{"id": number, "note": "o'brien"} for number in range(250)]


@pytest.fixture(autouse=True)
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", database_url)


def count(place: Place, table: object) -> int:
    place.cursor.execute(f"SELECT * FROM {table.as_string(place.cursor)}")
    return len(place.cursor.fetchall())


def tables(database_url: str) -> list[str]:
    with psycopg2.connect(database_url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'contamination%'")
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize("name", INTRUSIONS)
def test_an_intrusion_does_what_it_says(name: str) -> None:
    """Rows arrive row by row or in one go, progress adds up, the checkpoint is on disk; the clean arm does nothing."""
    with open_place() as place:
        INTRUSIONS[name](place, ROWS)
        place.cursor.execute(f"SELECT done FROM {place.progress_table.as_string(place.cursor)}")
        progress = place.cursor.fetchone()[0]
        found = (count(place, place.rows_table), progress, place.checkpoint.exists())
    assert (
        found
        == {
            CLEAN: (0, 0, False),
            CONVERSION: (0, 0, False),
            "row insert": (250, 0, False),
            "progress update": (0, 250, False),
            "batch insert": (250, 0, False),
            "checkpoint fsync": (0, 0, True),
        }[name]
    )


@pytest.mark.parametrize(("name", "commits"), [("row insert", 250), ("progress update", 3), ("batch insert", 1)])
def test_each_intrusion_commits_as_often_as_it_says(name: str, commits: int) -> None:
    """PostgreSQL's own transaction ids are the oracle: N × overhead is N transactions, a batch is one."""
    assert RECORDS_PER_PROGRESS == 100
    with open_place() as place:
        ids = []
        for _ in range(2):
            place.cursor.execute("SELECT txid_current()")
            ids.append(place.cursor.fetchone()[0])
            if len(ids) == 1:
                INTRUSIONS[name](place, ROWS)
        assert ids[1] - ids[0] - 1 >= commits
        table = place.progress_table if name == "progress update" else place.rows_table
        place.cursor.execute(f"SELECT count(DISTINCT xmin::text) FROM {table.as_string(place.cursor)}")
        assert name == "progress update" or place.cursor.fetchone()[0] == commits


@pytest.mark.parametrize("name", [name for name in INTRUSIONS if name not in {CLEAN, CONVERSION}])
def test_the_guard_would_have_refused_each(name: str) -> None:
    """None of the intrusions can happen in a guarded run: that is what the guard is for."""
    clock = PhaseClock(PurityGuard())
    with open_place() as place:
        with pytest.raises(TimingContaminationError, match=r"at .*contamination\.py:\d+"), clock.pure():
            INTRUSIONS[name](place, ROWS)
        assert count(place, place.rows_table) == 0


def test_nothing_is_left_behind(database_url: str) -> None:
    """Tables and files go, also when a trial fails."""
    with open_place() as place:
        assert len(tables(database_url)) == 2
        assert place.checkpoint.parent.exists()
    assert tables(database_url) == []
    assert not place.checkpoint.parent.exists()
    with pytest.raises(psycopg2.Error), open_place() as place:
        place.cursor.execute("not SQL")
    assert tables(database_url) == []


def test_all_arms_release_the_same_rows() -> None:
    """Batch and stream work, clean and contaminated: one output. Only then are their times comparable."""
    results = {
        (work, intrusion): trial(
            {"work": work, "intrusion": intrusion, "data_type": "healthcare", "rows": 60, "passes": 2, "seed": 5}
        )
        for work in WORKS
        for intrusion in INTRUSIONS
    }
    assert len({result["output_checksum"] for result in results.values()}) == 1
    assert len({result["data_checksum"] for result in results.values()}) == 1
    for (_, intrusion), result in results.items():
        assert len(result["samples"]) == 2
        assert sum(result["microflow_ns"]) == pytest.approx(60 * sum(result["samples"]))
        if intrusion == CLEAN:
            (purity,) = result["evidence"]
            assert purity["spans"] == 2
            assert purity["refused"] + purity["read_calls"] + purity["write_calls"] == 0
            assert purity["helper_calls"] + purity["helper_events"] == 0


def synthetic(factors: dict[str, float], *, drop: int = 0) -> Results:
    """Trials of the paper's pilot whose times are known multiples of the clean arm's."""
    rng = np.random.default_rng(3)

    def result(turn: Planned) -> dict[str, object]:
        return {"samples": list(1_000 * factors.get(turn.arm.config["intrusion"], 1) * rng.lognormal(0, 0.001, 3))}

    whole = made_up(replace(matrix("paper"), precision=None), result)
    return replace(whole, trials=whole.trials[: len(whole.trials) - drop])


def test_penalties_are_ratios_to_the_clean_arm_of_the_same_work() -> None:
    """Four times the time is different, the same time is shown to be equivalent, in the table as in the analysis."""
    results = synthetic({"row insert": 4.0, "batch insert": 1.5, CONVERSION: 1.2})
    found = analyses(results)
    assert {(work, one.arm) for work, analysis in found.items() for one in analysis.comparisons} == {
        (work, arm) for work in WORKS for arm in INTRUSIONS if arm != CLEAN
    }
    assert found["records"]["row insert"].ratio.value == pytest.approx(4, rel=0.01)
    assert found["records"]["row insert"].verdict is Verdict.DIFFERENT
    assert found["records"]["progress update"].verdict is Verdict.EQUIVALENT
    rows = {row[0]: row for row in table(results).rows}
    insert = rows["row insert, records"]
    assert insert[1].startswith("4×")
    assert insert[2].startswith(("74.9%", "75."))
    assert insert[-1] == "different"
    assert "6 blocks" in table(results).caption
    assert "±5%" in table(results).caption


def test_the_database_is_told_from_the_conversion() -> None:
    """Of 4 times the time, 1.2 are there without any database: 70 % of what was measured is the database's."""
    said = answer(synthetic({"row insert": 4.0, CONVERSION: 1.2}))
    share = said.numbers["separation row insert database share"]
    assert float(share.removesuffix(" %")) == pytest.approx(70, abs=0.2)


def test_an_incomplete_experiment_has_no_penalties() -> None:
    """A block without its clean arm is resumed, not analysed."""
    with pytest.raises(MicroflowError, match="incomplete"):
        analyses(synthetic({}, drop=1))


def test_an_arm_runs_in_a_fresh_process() -> None:
    """The planned arm is callable from outside by its name alone, and its conditions are recorded."""
    turn = next(turn for turn in matrix("smoke").cells().values() if turn.arm.name == "microflows: clean")
    (found,) = run_trials([turn])
    assert found.run.result["records"] == turn.arm.config["rows"]
    assert found.run.result["evidence"][0]["refused"] == 0
    assert found.run.usage.cpu_s > 0
