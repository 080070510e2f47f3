"""CASTLE releases every record in time, in company, and under labels that cover it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycanon import anonymity as canon

from anonymize.people import QUASI, RECORD, SCHEMA
from microflow.anonymize.castle import StreamKAnonymity
from microflow.anonymize.contract import Method, MethodSettings, StreamAnonymizer
from microflow.anonymize.generalise import parse
from microflow.errors import MicroflowError
from microflow.schema import Record


def stream(k: int, delta: int, **more: object) -> StreamKAnonymity:
    return StreamKAnonymity(MethodSettings(Method.K_ANONYMITY, k=k, delta=delta), SCHEMA, **more)


def run(anonymizer: StreamKAnonymity, records: list[Record]) -> dict[int, Record]:
    """All releases by ordinal; each record must leave once, and within delta further records.

    Records are suppressed only where all that are held are fewer than k, so that none is held afterwards.
    """
    delta, k = anonymizer.describe()["delta_records"], anonymizer.describe()["k"]
    assert isinstance(delta, int)
    assert isinstance(k, int)
    released: dict[int, Record] = {}
    for ordinal, record in enumerate(records):
        before = len(anonymizer.suppressed)
        for left, written in anonymizer.push(ordinal, record):
            assert left not in released
            released[left] = written
        gone = len(released) + len(anonymizer.suppressed)
        assert ordinal + 1 - gone <= delta
        waiting = set(range(ordinal + 1)) - released.keys() - set(anonymizer.suppressed)
        assert all(ordinal - oldest < delta for oldest in waiting)
        if len(anonymizer.suppressed) > before:
            assert len(anonymizer.suppressed) - before < k
            assert not waiting
    before = len(anonymizer.suppressed)
    for left, written in anonymizer.flush():
        assert left not in released
        released[left] = written
    assert len(anonymizer.suppressed) - before < k
    return released


def smallest_class(released: dict[int, Record]) -> int:
    frame = pd.DataFrame([[str(record[name]) for name in QUASI] for record in released.values()], columns=QUASI)
    return canon.k_anonymity(frame, QUASI)


@settings(max_examples=60)
@given(st.lists(RECORD, max_size=60), st.integers(2, 5), st.integers(5, 20), st.integers(1, 6))
def test_random_streams_are_k_anonymous_in_time(records: list[Record], k: int, delta: int, beta: int) -> None:
    """Whatever comes: k in every class of the whole output, labels that cover, nothing lost, nothing late."""
    anonymizer = stream(k, delta, beta=beta)
    released = run(anonymizer, records)
    assert sorted([*released, *anonymizer.suppressed]) == list(range(len(records)))
    if released:
        assert smallest_class(released) >= k
    for ordinal, written in released.items():
        original = records[ordinal]
        assert list(written) == list(SCHEMA.names)
        assert written["name"] is None
        assert written["cost"] is original["cost"]
        for column in SCHEMA.quasi_identifiers:
            value = original[column.name]
            hidden = None if value != value else value  # noqa: PLR0124 - NaN is a missing number
            label = written[column.name]
            assert label is None or isinstance(label, str)
            assert parse(label, column).covers(hidden), (column.name, label, value)


def people(count: int, seed: int = 1) -> list[Record]:
    rng = np.random.default_rng(seed)
    return [
        dict.fromkeys(SCHEMA.names) | {"age": int(age), "zip": f"{code:05d}", "sex": "FM"[sex], "cost": 1.0}
        for age, code, sex in zip(
            np.clip(rng.normal(45, 20, count), 0, 100), rng.integers(94000, 94200, count), rng.integers(0, 2, count),
            strict=True,
        )
    ]  # fmt: skip


def test_pycanon_agrees_over_a_long_stream() -> None:
    """Over 6,000 records, with clusters reused, split and merged, an independent count finds k in every class."""
    anonymizer = stream(5, 200)
    released = run(anonymizer, people(6_000))
    assert smallest_class(released) >= 5
    assert len(released) == 6_000
    assert isinstance(anonymizer, StreamAnonymizer)


def test_a_run_can_be_repeated() -> None:
    """Equal streams give equal releases in equal order: nothing is drawn at random."""
    outputs = []
    for _ in range(2):
        anonymizer = stream(4, 50)
        outputs.append([left for i, record in enumerate(people(500)) for left in anonymizer.push(i, record)])
    assert outputs[0] == outputs[1]
    assert outputs[0]


def test_a_released_cluster_is_reused() -> None:
    """A lone record that an earlier label covers leaves under that label and not in a wider one."""
    anonymizer = stream(3, 5)
    base: Record = dict.fromkeys(SCHEMA.names)
    early = [base | {"age": 30, "sex": "F"}] * 6
    late = [base | {"age": 30, "sex": "F"}, *(base | {"age": 90 + i, "sex": "M"} for i in range(8))]
    released = run(anonymizer, early + late)
    assert released[6]["age"] == "30"
    assert Counter(str(record["age"]) for record in released.values())["30"] == 7


def test_time_bounds_the_delay_too() -> None:
    """With a clock, records leave when their seconds are over, pushed on or not."""
    now = [0.0]
    anonymizer = stream(2, 1_000, seconds=10.0, now=lambda: now[0])
    records = people(6)
    for ordinal, record in enumerate(records[:4]):
        assert anonymizer.push(ordinal, record) == []
        now[0] += 1
    now[0] = 9.9
    assert anonymizer.release_due() == []
    now[0] = 13.0
    left = [ordinal for ordinal, _ in anonymizer.release_due()]
    assert sorted([*left, *anonymizer.suppressed]) == [0, 1, 2, 3]


def test_too_few_to_hide_among_are_suppressed() -> None:
    """A stream shorter than k releases nothing and says which records it kept."""
    anonymizer = stream(5, 10)
    assert run(anonymizer, people(4)) == {}
    assert sorted(anonymizer.suppressed) == [0, 1, 2, 3]


def test_misuse_is_refused_in_plain_words() -> None:
    """Each wrong setting says what is wrong."""
    with pytest.raises(MicroflowError, match="cannot gather"):
        stream(5, 4)
    with pytest.raises(MicroflowError, match="k must be at least 2"):
        stream(1, 10)
    with pytest.raises(MicroflowError, match="needs a clock"):
        stream(2, 10, seconds=1.0)
    with pytest.raises(MicroflowError, match="beta"):
        stream(2, 10, beta=0)
    with pytest.raises(MicroflowError, match="without l-diversity"):
        StreamKAnonymity(MethodSettings(Method.K_ANONYMITY, l_diversity=2), SCHEMA)
    anonymizer = stream(2, 10)
    anonymizer.push(0, people(1)[0])
    with pytest.raises(MicroflowError, match="pushed twice"):
        anonymizer.push(0, people(1)[0])
    with pytest.raises(MicroflowError, match="not written YYYY"):
        anonymizer.push(1, dict.fromkeys(SCHEMA.names) | {"born": "yesterday"})


def test_values_beyond_the_bounds_are_not_taken_for_each_other() -> None:
    """Positions are clipped to the declared bounds, but a label of 130 does not cover an age of 125."""
    anonymizer = stream(3, 5)
    base: Record = dict.fromkeys(SCHEMA.names)
    records = [base | {"age": 130}] * 6 + [base | {"age": 125}] + [base | {"age": 20 + i} for i in range(8)]
    released = run(anonymizer, records)
    for ordinal, written in released.items():
        assert parse(written["age"], SCHEMA["age"]).covers(records[ordinal]["age"])  # type: ignore[arg-type]
