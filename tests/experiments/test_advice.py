"""Advice: pairs are judged as a release is, beside every candidate in full; architectures are named in a sentence."""

from __future__ import annotations

import pytest

from microflow.advise.capacity import ArchitectureLatency
from microflow.advise.sample import SETTINGS
from microflow.experiments import advice


def test_a_small_trial_holds_every_pair_against_all_settings() -> None:
    """Each file and pair of constraints once; the same seed gives the same answers."""
    config = {"files": ["even", "persons"], "rows": 1_000, "sampled": 500, "seed": 3}
    found = advice.trial(config)
    asked = {(pair["file"], pair["max_risk"], pair["min_utility"]) for pair in found["pairs"]}
    assert asked == {(name, *pair) for name in config["files"] for pair in advice.CONSTRAINTS}
    assert sum(pair["holds"] for pair in found["pairs"]) >= 11
    assert all(0 <= pair["regret"] <= 1 for pair in found["pairs"])
    assert advice.trial(config) == found


K2, K5, TOKENS = SETTINGS[1], SETTINGS[3], SETTINGS[0]


@pytest.mark.parametrize(
    ("advised", "best", "passing", "holds", "regret"),
    [
        (K5, K2, {K2: 0.8, K5: 0.6}, True, 0.25),
        (K5, K5, {K5: 0.6}, True, 0.0),
        (K5, None, {}, False, 0.0),
        (TOKENS, K5, {K5: 0.6}, False, 1.0),
        (None, None, {}, True, 0.0),
        (None, K5, {K5: 0.6}, False, 1.0),
    ],
)
def test_advice_is_judged_beside_the_best(advised, best, passing, holds, regret) -> None:
    """Advice that fails, and declining where something passes, do not hold."""
    candidate = None if advised is None else advice.Candidate(advised)
    found = advice._judged(candidate, best, passing)
    assert (found["holds"], found["regret"]) == (holds, pytest.approx(regret))
    assert found["declined"] is (advised is None)


def test_made_up_files_are_seeded() -> None:
    """The same arguments give the same rows, of the schema's types and within its bounds."""
    for name in advice.SHAPES:
        schema, batches = advice.shape(name, 1_500, 5)
        assert batches == advice.shape(name, 1_500, 5)[1]
        assert sum(batch.num_rows for batch in batches) == 1_500
        assert batches[0].schema == schema.arrow


def test_the_timed_trial_reads_a_file() -> None:
    """Seconds and CPU of advice from a CSV file."""
    found = advice.timed_trial({"file": "iot", "rows": 1_500, "seed": 1})
    assert found["samples"][0] > 0
    assert found["cpu_seconds"] > 0
    assert found["sampled"] == 1_500


def up_to(most: float):
    """One worker keeps up with so many records/s."""
    return lambda rate: ArchitectureLatency("hybrid", rate, 1.0, 3.0, is_sustained=True) if rate <= most else None


def test_where_nothing_keeps_up_it_says_how_many_workers_would() -> None:
    """Never `none`: the fewest workers that share the records, or that there are not enough."""
    assert advice._architecture(20_000, up_to(60_000)) == "at 20,000 records/s hybrid (3 ms)"
    assert advice._architecture(200_000, up_to(60_000)) == (
        "at 200,000 records/s no architecture keeps up with one worker on this machine, 4 would as hybrid (3 ms each)"
    )
    assert advice._architecture(200_000, up_to(100)).endswith("not even with 64 workers like this machine's")
