"""Predictions beyond what was measured: sizes by power laws, workers by Amdahl's law."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.advise.capacity import Capacity, Observed, fit
from microflow.advise.sample import SETTINGS, FileSample, Trial, Trials, sample_rows
from microflow.advise.search import Candidate, Constraints, Search, _is_out, extrapolate, search
from microflow.anonymize.contract import Method
from microflow.compliance import load_policy
from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Role

SCHEMA = DatasetSchema("d", (Column("n"), Column("s", Role.SENSITIVE)), "gdpr")


def batches(rows: int, size: int = 700) -> list[pa.RecordBatch]:
    sick = ["ill" if row % 10 == 0 else "well" for row in range(rows)]
    whole = pa.record_batch({"n": [str(row) for row in range(rows)], "s": sick})
    return [whole.slice(first, size) for first in range(0, rows, size)]


def test_uniqueness_of_rows_is_predicted() -> None:
    """The share of unique draws falls with n; the prediction's interval holds the truth at ten times the size."""
    rng = np.random.default_rng(1)
    values = np.minimum(rng.pareto(1.2, 200_000) * 50, 50_000).astype(int)

    def unique(size: int) -> float:
        counts = np.unique(values[:size], return_counts=True)[1]
        return len(counts) / size

    sizes = [2_000, 8_000, 20_000]
    shares = [unique(size) for size in sizes]
    found = extrapolate(sizes, shares, (shares[-1] * 0.97, shares[-1] * 1.03), 200_000)
    assert found.is_extrapolated
    assert found.low <= unique(200_000) <= found.high
    assert found.value < shares[-1]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=4),
    st.integers(1, 10**9),
)
def test_a_share_stays_a_share(values: list[float], rows: int) -> None:
    """Whatever was measured: no risk below 0 or above 1, and the interval holds the value."""
    sizes = [1_000 * 4**power for power in range(len(values))]
    found = extrapolate(sizes, values, (values[-1] * 0.9, min(values[-1] * 1.1, 1)), rows)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_one_size_alone_predicts_little() -> None:
    """A setting tried on a single size may fall with 1/n: it is not dropped for what its small sample showed."""
    found = extrapolate([1_000], [0.5], (0.45, 0.55), 100_000)
    assert found.low == pytest.approx(0.0045)


def test_amdahl_is_recovered_from_noisy_jobs() -> None:
    """Start, serial and shared part within 10 %, and the interval of a larger job holds the truth."""
    rng = np.random.default_rng(2)
    law = Capacity(0.5, 1e-6, 4e-6, 0.0, 2)
    jobs = [
        Observed(rows, workers, law.seconds(rows, workers).seconds * float(np.exp(rng.normal(0, 0.02))))
        for rows in (100_000, 1_000_000)
        for workers in (1, 2)
        for _ in range(5)
    ]
    found = fit(jobs)
    assert found.serial == pytest.approx(1e-6, rel=0.2)
    assert found.parallel == pytest.approx(4e-6, rel=0.1)
    eight = found.seconds(10_000_000, 8)
    assert eight.is_extrapolated
    assert eight.low <= law.seconds(10_000_000, 8).seconds <= eight.high


def test_one_worker_count_promises_no_speed_up() -> None:
    """Nothing is known of sharing from jobs on one worker: more of them are not said to help."""
    found = fit([Observed(1_000, 1, 0.6), Observed(100_000, 1, 1.5), Observed(200_000, 1, 2.4)])
    assert found.seconds(200_000, 8).seconds == pytest.approx(found.seconds(200_000, 1).seconds)


def test_disturbed_jobs_promise_no_row_for_nothing() -> None:
    """Where the job of few rows took longer than that of many, a row still costs its pure processing."""
    disturbed = [Observed(1_200, 1, 0.9), Observed(6_000, 1, 0.8), Observed(6_000, 2, 0.8)]
    assert fit(disturbed).seconds(1e9).high < 2, "the fit alone would promise this"
    assert fit(disturbed, least_parallel=2e-6).seconds(1e9, 8).low > 200


def test_jobs_of_one_size_are_refused() -> None:
    """A start cannot be told from a slope."""
    with pytest.raises(ValueError, match="two sizes"):
        fit([Observed(10, 1, 1.0), Observed(10, 2, 0.8)])


def test_every_prefix_of_a_sample_is_stratified() -> None:
    """A tenth of the rows is ill; so is a tenth of any prefix, to one row, and no row is drawn twice."""
    sample = sample_rows(batches(20_000), SCHEMA, most=2_000)
    assert (sample.rows.num_rows, sample.rows_in_file) == (2_000, 20_000)
    assert len(set(sample.rows.column("n").to_pylist())) == 2_000
    ill = sample.rows.column("s").to_pylist().count("ill") / 2_000
    for size in (100, 500, 1_000):
        found = sample.first(size).column("s").to_pylist().count("ill")
        assert found == pytest.approx(ill * size, abs=1)


@pytest.mark.parametrize("seed", [1, 2, 7])
def test_a_file_made_with_the_seed_of_the_draw_is_sampled_at_random(seed: int) -> None:
    """The rows drawn do not follow the file's values, whatever seed made these: mean and spread are the file's."""
    values = np.random.default_rng(seed).random(20_000)
    whole = pa.record_batch({"n": values.astype(str), "s": ["well"] * 20_000})
    drawn = sample_rows([whole], SCHEMA, most=2_000, seed=seed).rows.column("n").to_numpy(zero_copy_only=False)
    assert float(drawn.astype(float).mean()) == pytest.approx(0.5, abs=4 * 0.289 / 2_000**0.5)
    assert float(drawn.astype(float).std()) == pytest.approx(0.289, abs=0.02)


def test_a_small_file_is_taken_whole() -> None:
    """Nothing is sampled where nothing needs to be."""
    sample = sample_rows(batches(1_500), SCHEMA)
    assert sample.rows.num_rows == sample.rows_in_file
    assert sorted(map(int, sample.rows.column("n").to_pylist())) == list(range(1_500))


def test_no_rows_are_an_error_in_words() -> None:
    """An empty file gives one line that says where to look."""
    with pytest.raises(InputError, match="no usable row"):
        sample_rows([], SCHEMA)


def test_rungs_end_with_everything() -> None:
    """The last sample is the largest, and steps are large enough to be worth a trial."""
    sample = FileSample(SCHEMA, batches(9_000, 9_000)[0], 9_000)
    assert sample.rungs() == [2_000, 9_000]


def test_persons_are_drawn_with_all_of_their_rows() -> None:
    """Who is in the sample is there with every row; otherwise persons of many rows would look like persons of few."""
    schema = DatasetSchema("p", (Column("n"), Column("who", Role.PERSON)), "gdpr")
    whole = pa.record_batch(
        {"n": [str(row) for row in range(9_000)], "who": [f"p{row % 3_000}" for row in range(9_000)]}
    )
    sample = sample_rows([whole.slice(first, 500) for first in range(0, 9_000, 500)], schema, most=900)
    rows = Counter(sample.rows.column("who").to_pylist())
    assert sum(rows.values()) == 900
    assert sum(count != 3 for count in rows.values()) <= 1


@pytest.mark.parametrize("unlisted", ["pass", "treat", "drop"])
def test_a_trial_does_not_depend_on_those_before_it(unlisted: str) -> None:
    """What a policy removes under one method (whose rows they are) is still there for the next, which counts it."""
    columns = (
        Column("who", Role.PERSON, kind="unique_id"), Column("town", Role.QUASI_IDENTIFIER), Column("s", Role.ATTRIBUTE)
    )  # fmt: skip
    schema = DatasetSchema("p", columns, "hipaa", unlisted=unlisted)
    cells = [[f"p{row % 500}" for row in range(1_000)], [f"t{row % 40}" for row in range(1_000)], ["x"] * 1_000]
    rows = pa.RecordBatch.from_arrays([pa.array(texts) for texts in cells], schema=schema.arrow)
    alone, later = (Trials(FileSample(schema, rows, 1_000), load_policy("hipaa")) for _ in range(2))
    later.attempt(SETTINGS[0], 1_000)
    found, again = (trials.attempt(SETTINGS[3], 1_000) for trials in (alone, later))
    assert (found.risk, found.loss) == (again.risk, again.loss)
    assert found.loss < 0.5


def test_a_method_that_cannot_be_used_is_left_out_and_said() -> None:
    """No public domain, no noise: the other methods are advised, and the reason is there."""
    schema = DatasetSchema("d", (Column("town", Role.QUASI_IDENTIFIER), Column("s", Role.SENSITIVE)), "gdpr")
    rows = pa.record_batch({"town": [f"t{n % 40}" for n in range(800)], "s": ["ill"] * 800})
    found = search(Trials(FileSample(schema, rows, 800), load_policy("gdpr")), Constraints(0.5))
    assert found.advised is not None
    assert {one.method for one in found.refused} == {Method.DIFFERENTIAL_PRIVACY}
    assert "public domain" in next(iter(found.refused.values()))


def test_a_candidate_is_allowed_where_its_release_will_be_too() -> None:
    """The interval of the attack on the release comes on top of the predicted one."""
    candidate = Candidate(SETTINGS[1])
    candidate.add(Trial(SETTINGS[1], 1_000, (0.08, 0.072, 0.088), 0.1, 1_000, 1), 1_000)
    assert 0.088 < candidate.needs < 0.1
    assert not candidate.meets(Constraints(0.09))
    assert candidate.meets(Constraints(0.1))


def test_what_cannot_be_the_answer_drops_out() -> None:
    """A candidate that is sure to miss the risk, and one that is sure to keep less than another that is allowed."""

    def tried(risk: float, loss: float) -> Candidate:
        candidate = Candidate(SETTINGS[1])
        candidate.add(Trial(SETTINGS[1], 9_000, (risk, risk * 0.9, risk * 1.1), loss, 9_000, 1), 9_000)
        return candidate

    risky, good, worse = tried(0.5, 0.1), tried(0.05, 0.2), tried(0.01, 0.3)
    assert [_is_out(one, [risky, good, worse], Constraints(0.09)) for one in (risky, good, worse)] == [
        True,
        False,
        True,
    ]


def test_of_two_that_keep_as_much_the_stronger_promise_wins() -> None:
    """Tokens and classes of two release the same rows of a coarse file: larger classes promise more, at no cost."""
    found = []
    for settings, loss in ((SETTINGS[0], 0.0), (SETTINGS[1], 0.0001), (SETTINGS[5], 0.0002), (SETTINGS[6], 0.01)):
        found.append(Candidate(settings))
        found[-1].add(Trial(settings, 9_000, (0.02, 0.01, 0.03), loss, 9_000, 1), 9_000)
    assert [one.settings for one in Search(tuple(found), Constraints(), 9_000).feasible] == [
        SETTINGS[5], SETTINGS[1], SETTINGS[0], SETTINGS[6],
    ]  # fmt: skip
