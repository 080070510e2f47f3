"""k counts persons where a column says whose each row is: an independent count over what was released."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycanon import anonymity as canon

from anonymize.people import QI, release
from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import Method, MethodSettings, Scope, StreamAnonymizer
from microflow.anonymize.k_anonymity import KAnonymity
from microflow.assess.pair import Pair, achieved
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role

TOWNS = Hierarchy(parents={"a": "north", "b": "north", "c": "south", "d": "south", "north": "land", "south": "land"})
HEAD = (Column("patient", Role.PERSON, Dtype.INTEGER, low=0, high=1_000_000), Column("name", Role.IDENTIFIER))
TAIL = (Column("illness", Role.SENSITIVE, categories=("flu", "cold", "gout")),)
#: By Mondrian, and by the lattice of hierarchies.
LINES = DatasetSchema(
    "lines", (*HEAD, Column("age", QI, Dtype.INTEGER, low=0, high=99), Column("sex", QI), *TAIL), "hipaa"
)
TREES = DatasetSchema(
    "trees",
    (
        *HEAD,
        Column("age", QI, Dtype.INTEGER, hierarchy=Hierarchy(prefix=(2, 1, 0))),
        Column("sex", QI, hierarchy=TOWNS),
        *TAIL,
    ),
    "hipaa",
)
ROW = st.fixed_dictionaries(
    {
        "patient": st.none() | st.integers(0, 12),
        "name": st.just("Ann"),
        "age": st.none() | st.integers(20, 39),
        "sex": st.sampled_from([None, "a", "b", "c", "d"]),
        "illness": st.sampled_from(["flu", "cold", "gout"]),
    }
)
ROWS = st.lists(ROW, max_size=70)
QUASI = ["age", "sex"]


def persons_by_class(released: pa.RecordBatch, patients: list[object]) -> pd.Series:
    """pandas' own count of distinct patients by what a reader sees; a missing one is one person."""
    frame = released.select(QUASI).to_pandas().fillna("(missing)")
    return frame.assign(patient=[str(patient) for patient in patients]).groupby(QUASI)["patient"].nunique()


@pytest.mark.parametrize("schema", [LINES, TREES], ids=["mondrian", "lattice"])
@pytest.mark.parametrize("scope", [Scope.DATASET, Scope.MICROFLOW])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rows=ROWS, k=st.integers(2, 5), strict=st.booleans())
def test_each_class_has_k_persons(
    schema: DatasetSchema, scope: Scope, rows: list[dict[str, object]], k: int, *, strict: bool
) -> None:
    """However their rows are spread: all rows leave where there are k persons, and none where there are fewer."""
    batch = pa.RecordBatch.from_pylist(rows, schema=schema.arrow)
    released = release(batch, schema, k=k, scope=scope, strict=strict)
    patients = batch["patient"].to_pylist()
    assert len(released.kept) == (len(rows) if len(set(patients)) >= k else 0)
    if not len(released.kept):
        return
    counted = persons_by_class(released.rows, patients)
    assert counted.min() >= k
    assert released.rows["patient"].null_count == len(rows)
    pair = Pair.of(schema, pa.Table.from_batches([batch]), pa.Table.from_batches([released.rows]), released.kept)
    found = achieved(pair)
    assert (found.k, found.unit, found.classes) == (counted.min(), "person", len(counted))


@settings(max_examples=40, deadline=None)
@given(rows=ROWS, cut=st.integers(1, 20), random=st.randoms(use_true_random=False))
def test_who_counts_and_in_which_order_changes_nothing(rows: list[dict[str, object]], cut: int, random: object) -> None:
    """Counts with persons travel and merge: a person seen by two workers is one."""
    batch = pa.RecordBatch.from_pylist(rows, schema=TREES.arrow)
    asked = MethodSettings(Method.K_ANONYMITY, k=3)
    whole = KAnonymity(asked, TREES)
    whole.observe(batch)
    whole.freeze()
    order = list(range(len(rows)))
    random.shuffle(order)  # type: ignore[attr-defined]
    apart = [KAnonymity(asked, TREES) for _ in range(2)]
    for i in range(0, len(rows), cut):
        apart[i // cut % 2].observe(batch.take(pa.array(order[i : i + cut], pa.int64())))
    apart[0].merge(apart[1].counts)
    apart[0].freeze()
    assert apart[0].anonymize(batch).rows.equals(whole.anonymize(batch).rows)
    assert apart[0].describe() == whole.describe()


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, k=st.integers(2, 5), delta=st.integers(5, 40))
def test_each_class_of_a_stream_has_k_persons(rows: list[dict[str, object]], k: int, delta: int) -> None:
    """As in Prink: also where a cluster is cut, merged, or written as an earlier one."""
    for schema in (LINES, TREES):
        stream = build_anonymizer(MethodSettings(Method.K_ANONYMITY, k=k, scope=Scope.STREAM, delta=delta), schema)
        assert isinstance(stream, StreamAnonymizer)
        left = [one for ordinal, row in enumerate(rows) for one in stream.push(ordinal, dict(row))] + stream.flush()
        assert sorted([ordinal for ordinal, _ in left] + list(stream.suppressed)) == list(range(len(rows)))
        if left:
            released = pa.RecordBatch.from_pylist([row for _, row in left], schema=stream.output_schema)
            assert persons_by_class(released, [rows[ordinal]["patient"] for ordinal, _ in left]).min() >= k


def visits(persons: int, most: int, seed: int = 1) -> pa.RecordBatch:
    """Persons with one to ``most`` visits: the same sex, ages of up to three years, and any illness."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), rng.integers(1, most + 1, persons))
    columns = {
        "patient": person,
        "name": ["Ann"] * len(person),
        "age": rng.integers(20, 80, persons)[person] + rng.integers(0, 3, len(person)),
        "sex": rng.choice(["a", "b", "c", "d"], persons)[person],
        "illness": rng.choice(["flu", "cold", "gout"], len(person), p=[0.6, 0.3, 0.1]),
    }
    return pa.RecordBatch.from_pydict(columns, schema=LINES.arrow)


def test_a_person_with_many_rows_is_no_crowd() -> None:
    """Four visits of one patient and one of another: k of rows is 5, k of persons is 2, and nothing may leave."""
    alone = pa.RecordBatch.from_pydict(
        {"patient": [1, 1, 1, 1, 2], "name": ["Ann"] * 5, "age": [30] * 5, "sex": ["a"] * 5, "illness": ["flu"] * 5},
        schema=LINES.arrow,
    )
    assert len(release(alone, LINES, k=3).kept) == 0
    assert len(release(alone, LINES, k=2).kept) == 5


@pytest.mark.parametrize(
    "asked",
    [
        {"l_diversity": 2},
        {"l_diversity": 2, "l_entropy": True},
        {"l_diversity": 2, "l_recursive": 1.5},
        {"t_closeness": 0.3},
    ],
)
@pytest.mark.parametrize("schema", [LINES, TREES], ids=["mondrian", "lattice"])
def test_diversity_counts_a_person_once_for_each_value(schema: DatasetSchema, asked: dict[str, object]) -> None:
    """pycanon agrees on one row for each patient and illness of a class."""
    rows = visits(150, 6)
    released = release(rows, schema, k=3, **asked)
    assert len(released.kept) == rows.num_rows
    frame = released.rows.to_pandas().assign(patient=rows["patient"].to_numpy())
    counted = frame.drop_duplicates(["patient", "illness", *QUASI]).reset_index(drop=True)
    assert persons_by_class(released.rows, rows["patient"].to_pylist()).min() >= 3
    if "t_closeness" in asked:
        everybody = frame.drop_duplicates(["patient", "illness"])["illness"].value_counts(normalize=True)
        own = pd.crosstab([counted[name] for name in QUASI], counted["illness"], normalize="index")
        assert (own - everybody).abs().sum(axis=1).max() / 2 <= 0.3 + 1e-9
    elif "l_entropy" in asked:
        assert canon.entropy_l_diversity(counted, QUASI, ["illness"]) >= 2
    elif "l_recursive" in asked:
        counts = [sorted(own.value_counts(), reverse=True) for _, own in counted.groupby(QUASI, dropna=False).illness]
        assert all(own[0] < 1.5 * sum(own[1:]) for own in counts)
    else:
        assert canon.l_diversity(counted, QUASI, ["illness"]) >= 2


@pytest.mark.parametrize(
    "asked", [{"l_diversity": 2, "l_recursive": 1.5}, {"l_diversity": 2, "l_entropy": True}, {"t_closeness": 0.15}]
)
@pytest.mark.parametrize("schema", [LINES, TREES], ids=["mondrian", "lattice"])
def test_persons_in_two_classes_do_not_stop_a_release(schema: DatasetSchema, asked: dict[str, object]) -> None:
    """Few persons with many rows: merged classes hold fewer than their sum, and are merged on instead of refused."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(20, 200))
        columns = {
            "patient": rng.integers(rng.integers(4, 40), size=rows),
            "name": ["Ann"] * rows,
            "age": rng.integers(20, 40, rows),
            "sex": rng.choice(list("abcd"), rows),
            "illness": rng.choice(["flu", "cold", "gout"], rows, p=[0.6, 0.3, 0.1]),
        }
        released = release(pa.RecordBatch.from_pydict(columns, schema=schema.arrow), schema, k=2, **asked)
        frame = released.rows.to_pandas().assign(patient=columns["patient"][released.kept])
        counted = frame.drop_duplicates(["patient", "illness", *QUASI])
        for _, own in counted.groupby(QUASI, dropna=False).illness:
            share = own.value_counts(normalize=True)
            if "t_closeness" in asked:
                everybody = pd.DataFrame(columns).drop_duplicates(["patient", "illness"])["illness"]
                apart = share.sub(everybody.value_counts(normalize=True), fill_value=0)
                assert apart.abs().sum() / 2 <= 0.15 + 1e-9
            elif "l_entropy" in asked:
                assert np.exp(-(share * np.log(share)).sum()) >= 2 - 1e-9
            else:
                assert share.iloc[0] < 1.5 * share.iloc[1:].sum()


def test_the_claim_says_what_is_counted() -> None:
    """Persons with the role, rows without it."""
    plain = DatasetSchema("plain", LINES.columns[1:], "hipaa")
    for schema, unit in ((LINES, "person"), (plain, "row")):
        for scope in (Scope.DATASET, Scope.MICROFLOW, Scope.STREAM):
            claim = build_anonymizer(MethodSettings(Method.K_ANONYMITY, scope=scope), schema).describe()
            assert claim["unit"] == unit
            assert f"at least 4 other {unit}s of" in str(claim["guarantee"])
