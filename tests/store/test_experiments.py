"""Experiments: a trial is recorded whole or not at all, its raw samples come back unchanged, old ones are kept."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import psycopg2
import pytest
from sqlalchemy.engine import make_url

from microflow.errors import StoreError
from microflow.store.connector import PostgreSQLConnector
from microflow.store.experiments import ExperimentStore


@pytest.fixture
def store(migrated_url: str) -> Iterator[ExperimentStore]:
    with ExperimentStore(migrated_url) as opened:
        yield opened


def an_experiment() -> str:
    return f"experiment-{uuid.uuid4().hex[:8]}"


def record(store: ExperimentStore, experiment: str, config_hash: str = "h", **changes: Any) -> int:
    trial: dict[str, Any] = {
        "config": {"k": 5},
        "samples": {"latency_ns": [1.5, 2.5]},
        "metrics": {"rate": 3.0},
        "machine": {"cores": 2},
        "seed": 7,
        "git": "abc",
        "versions": {"polars": "2"},
    }
    return store.record_trial(experiment, config_hash=config_hash, **trial | changes)


def test_samples_come_back_bit_by_bit(store: ExperimentStore) -> None:
    """Raw measurements survive the way to the database and back, the odd ones too, in order."""
    experiment = an_experiment()
    values = np.array([0.1, 1e-300, -0.0, 2**53 + 1.0, np.pi, np.inf, np.nan])
    record(store, experiment, samples={"b": values, "a": [3, 2, 1], "empty": []})
    samples = store.samples(experiment)
    assert samples.loc[samples["name"] == "b", "value"].to_numpy().tobytes() == values.tobytes()
    assert list(store.samples(experiment, "a")["value"]) == [3, 2, 1]
    assert list(store.samples(experiment, "a")["ordinal"]) == [0, 1, 2]
    assert set(samples["name"]) == {"a", "b"}


def test_a_trial_comes_back_with_all_it_was_recorded_with(store: ExperimentStore) -> None:
    """Configuration, metrics, machine, versions, seed and commit, one row a trial."""
    experiment = an_experiment()
    number = record(store, experiment, metrics={"rate": np.float64(2.5), "rows": np.int64(3), "none": None})
    (trial,) = store.trials(experiment).to_dict("records")
    assert trial["trial_id"] == number
    assert trial["config"] == {"k": 5}
    assert trial["metrics"] == {"rate": 2.5, "rows": 3, "none": None}
    assert (trial["machine"], trial["versions"]) == ({"cores": 2}, {"polars": "2"})
    assert (trial["seed"], trial["git"]) == (7, "abc")


def test_trials_are_of_that_experiment_and_name_their_configuration(store: ExperimentStore) -> None:
    """A cell is not run again, unless it is another experiment's or another configuration."""
    one, other = an_experiment(), an_experiment()
    record(store, one, "this")
    assert list(store.trials(one)["config_hash"]) == ["this"]
    assert list(store.trials(other)["config_hash"]) == []
    assert one in store.experiments()


def test_a_repeated_trial_supersedes_and_keeps_the_old_one(store: ExperimentStore) -> None:
    """Readers see the current trial only; the database still holds the first."""
    experiment = an_experiment()
    first = record(store, experiment, samples={"s": [1.0]})
    second = record(store, experiment, samples={"s": [2.0]})
    assert list(store.trials(experiment)["trial_id"]) == [second]
    assert list(store.samples(experiment)["value"]) == [2.0]
    with PostgreSQLConnector(store.url) as connector:
        assert connector.query("SELECT superseded_at IS NOT NULL FROM trials WHERE id = %s", (first,)) == [(True,)]
        assert connector.query("SELECT value FROM samples WHERE trial_id = %s", (first,)) == [(1.0,)]


def test_a_trial_that_cannot_be_recorded_leaves_nothing(store: ExperimentStore) -> None:
    """NaN is not JSON: one clear error, no half trial, and the one before stays current."""
    experiment = an_experiment()
    first = record(store, experiment)
    with pytest.raises(StoreError, match="JSON"):
        record(store, experiment, metrics={"rate": float("nan")})
    assert list(store.trials(experiment)["trial_id"]) == [first]


def test_processes_that_record_the_same_trial_take_turns(migrated_url: str) -> None:
    """However many record it, exactly one is current at the end."""
    experiment = an_experiment()

    def run() -> None:
        with ExperimentStore(migrated_url) as store:
            record(store, experiment)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ExperimentStore(migrated_url) as store:
        assert len(store.trials(experiment)) == 1
    with PostgreSQLConnector(migrated_url) as connector:
        query = "SELECT count(*) FROM trials JOIN experiments e ON e.id = experiment_id WHERE e.name = %s"
        assert connector.query(query, (experiment,)) == [(4,)]


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
def test_a_new_cell_recorded_twice_at_once_never_collides(migrated_url: str, level: str) -> None:
    """Whatever isolation the server defaults to, both are recorded and one is current: no duplicate key."""
    experiment = an_experiment()
    options = "-c default_transaction_isolation=" + level.replace(" ", "\\ ")
    url = make_url(migrated_url).update_query_dict({"options": options}).render_as_string(hide_password=False)
    with ExperimentStore(url) as store:
        record(store, experiment)
    failed: list[Exception] = []
    ready = threading.Barrier(4)

    def run() -> None:
        with ExperimentStore(url) as store:
            for number in range(10):
                ready.wait()
                try:
                    record(store, experiment, f"cell {number}")
                except StoreError as error:
                    failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with ExperimentStore(migrated_url) as store:
        assert sorted(store.trials(experiment)["config_hash"]) == sorted(["h", *(f"cell {n}" for n in range(10))])


def test_a_writer_that_takes_no_lock_is_waited_for(migrated_url: str) -> None:
    """A trial inserted by other hands and not yet committed is superseded once it is, and does not collide."""
    experiment = an_experiment()
    with ExperimentStore(migrated_url) as store:
        record(store, experiment, "another cell")
        foreign = psycopg2.connect(migrated_url)
        with foreign.cursor() as cursor:
            cursor.execute(
                "INSERT INTO trials (experiment_id, config_hash, config, metrics, machine, versions, git, seed) "
                "SELECT id, 'h', '{}', '{}', '{}', '{}', 'abc', 1 FROM experiments WHERE name = %s RETURNING id",
                (experiment,),
            )
        recorded: list[int] = []
        thread = threading.Thread(target=lambda: recorded.append(record(store, experiment)))
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "the foreign transaction is still open"
        foreign.commit()
        thread.join()
        foreign.close()
        current = store.trials(experiment)
        assert current.loc[current["config_hash"] == "h", "trial_id"].tolist() == recorded
