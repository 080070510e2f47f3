"""k-anonymity holds what it claims, covers what it hides, and loses no row."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pacsv
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from pycanon import anonymity as canon

from anonymize.people import QI, QUASI, RECORD, SCHEMA, batch, release
from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import (
    BatchAnonymizer,
    DatasetAnonymizer,
    Method,
    MethodSettings,
    Released,
    Scope,
    StreamAnonymizer,
)
from microflow.anonymize.generalise import parse
from microflow.anonymize.k_anonymity import KAnonymity
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy


def table(released: Released, quasi: list[str]) -> pd.DataFrame:
    """As pycanon needs it: missing values are values of their own."""
    frame = released.rows.to_pandas()
    frame[quasi] = frame[quasi].fillna("(missing)")
    return frame.reset_index(drop=True)


@settings(max_examples=60)
@given(
    st.lists(RECORD, max_size=60),
    st.integers(2, 6),
    st.booleans(),
    st.sampled_from([Scope.DATASET, Scope.MICROFLOW]),
)
def test_random_tables_are_k_anonymous_and_covered(
    records: list[dict[str, object]], k: int, strict: bool, scope: Scope
) -> None:
    """Whatever the table: classes of k, labels that cover their originals, other columns untouched, no row lost."""
    rows = batch(records)
    released = release(rows, k=k, strict=strict, scope=scope)
    assert released.seen == len(records)
    assert len(released.kept) == (len(records) if len(records) >= k else 0)
    assert released.rows.schema.field("age").type == pa.string()
    if not len(released.kept):
        return
    assert canon.k_anonymity(table(released, QUASI), QUASI) >= k
    originals = rows.take(pa.array(released.kept))
    for column in SCHEMA.quasi_identifiers:
        pairs = zip(released.rows[column.name].to_pylist(), originals[column.name].to_pylist(), strict=True)
        for label, value in pairs:
            hidden = None if value != value else value  # noqa: PLR0124 - NaN is a missing number
            assert parse(label, column).covers(hidden), (column.name, label, value)
    assert released.rows["name"].null_count == len(released.kept)
    assert released.rows["cost"].equals(originals["cost"])
    assert released.rows["id"].equals(originals["id"])


@settings(max_examples=40)
@given(st.lists(RECORD, min_size=1, max_size=50), st.integers(1, 9), st.randoms(use_true_random=False))
def test_workers_that_count_apart_release_the_same(records: list[dict[str, object]], cut: int, random: object) -> None:
    """Order of rows, size of microflows, and who counted them change nothing, nor does a trip through pickle."""
    rows = batch(records)
    asked = MethodSettings(Method.K_ANONYMITY, k=3)
    whole = KAnonymity(asked, SCHEMA)
    whole.observe(rows)
    whole.freeze()
    shuffled = list(range(len(records)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    apart = [KAnonymity(asked, SCHEMA) for _ in range(2)]
    for i in range(0, len(records), cut):
        apart[i // cut % 2].observe(rows.take(pa.array(shuffled[i : i + cut])))
    apart[0].merge(apart[1].counts)
    apart[0].freeze()
    other = pickle.loads(pickle.dumps(apart[0]))
    assert other.anonymize(rows).rows.equals(whole.anonymize(rows).rows)
    assert other.describe() == whole.describe()


def people(count: int, seed: int = 1) -> pa.RecordBatch:
    rng = np.random.default_rng(seed)
    records = [
        {
            "age": int(age),
            "zip": f"{zip_code:05d}",
            "sex": "FM"[sex],
            "country": ["FR", "DE", "IT"][sex + illness % 2],
            "illness": "abcd"[illness],
        }
        for age, zip_code, sex, illness in zip(
            rng.integers(0, 100, count),
            rng.integers(94000, 94100, count),
            rng.integers(0, 2, count),
            rng.choice(4, count, p=[0.6, 0.2, 0.15, 0.05]),
            strict=True,
        )
    ]
    return batch(records)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("k", [2, 5, 17])
def test_pycanon_agrees_with_k(k: int, strict: bool) -> None:
    """An independent implementation finds the k that `describe` reports."""
    rows = people(700)
    anonymizer = KAnonymity(MethodSettings(Method.K_ANONYMITY, k=k, strict=strict), SCHEMA)
    anonymizer.observe(rows)
    anonymizer.freeze()
    claim = anonymizer.describe()
    found = canon.k_anonymity(table(anonymizer.anonymize(rows), QUASI), QUASI)
    assert found == claim["achieved_k"] >= k
    assert claim["rows_observed"] == 700
    assert claim["rows_suppressed"] == 0


@pytest.mark.parametrize("scope", [Scope.DATASET, Scope.MICROFLOW])
def test_pycanon_agrees_with_diversity(scope: Scope) -> None:
    """Distinct l, entropy l and t are what an independent implementation measures on the released rows."""
    rows = people(700)
    distinct = table(release(rows, k=3, l_diversity=3, scope=scope), QUASI)
    assert canon.l_diversity(distinct, QUASI, ["illness"]) >= 3
    entropy = table(release(rows, k=3, l_diversity=2, l_entropy=True, scope=scope), QUASI)
    shares = entropy.groupby(QUASI).illness.value_counts(normalize=True)
    # pycanon rounds exp(entropy) down, and a class of two equal halves has 1.9999999999999998.
    assert (-(shares * np.log(shares)).groupby(level=QUASI).sum()).min() >= np.log(2) - 1e-9
    close = table(release(rows, k=3, t_closeness=0.2, scope=scope), QUASI)
    assert canon.t_closeness(close, QUASI, ["illness"]) <= 0.2 + 1e-9
    # None of it is for free: without the demand the same rows are written more finely.
    plain = table(release(rows, k=3, scope=scope), QUASI)
    assert all(
        len(plain[QUASI].drop_duplicates()) > len(t[QUASI].drop_duplicates()) for t in (distinct, entropy, close)
    )
    assert canon.l_diversity(plain, QUASI, ["illness"]) < 3


@pytest.mark.parametrize("scope", [Scope.DATASET, Scope.MICROFLOW])
@pytest.mark.parametrize(("least", "c"), [(2, 3.0), (3, 8.0)])
def test_recursive_diversity_by_its_definition(scope: Scope, least: int, c: float) -> None:
    """The most frequent value has fewer rows than c times the l-th and all rarer ones, strictly.

    Counted with pandas: pycanon sorts the counts upward, and so compares the rarest value instead.
    """
    rows = people(700)
    found = table(release(rows, k=3, l_diversity=least, l_recursive=c, scope=scope), QUASI)
    counts = [sorted(own.value_counts(), reverse=True) for _, own in found.groupby(QUASI).illness]
    assert counts
    assert all(own[0] < c * sum(own[least - 1 :]) for own in counts)
    plain = table(release(rows, k=3, l_diversity=least, scope=scope), QUASI)
    assert len(plain[QUASI].drop_duplicates()) > len(counts)
    anonymizer = build_anonymizer(MethodSettings(Method.K_ANONYMITY, k=3, l_diversity=least, l_recursive=c), SCHEMA)
    assert isinstance(anonymizer, DatasetAnonymizer)
    anonymizer.observe(rows)
    anonymizer.freeze()
    claim = anonymizer.describe()
    assert claim["l_kind"] == f"recursive, c = {c:g}"
    if scope is Scope.DATASET:
        reached = max(own[0] / sum(own[least - 1 :]) for own in counts)
        assert claim["achieved_c"] == {"illness": pytest.approx(reached)}


@pytest.mark.parametrize("asked", [{"l_diversity": 1}, {"l_diversity": 2, "l_entropy": True}])
@pytest.mark.parametrize("scope", [Scope.DATASET, Scope.MICROFLOW, Scope.STREAM])
def test_recursive_diversity_takes_an_l(asked: dict[str, object], scope: Scope) -> None:
    """Not silently left out, in whatever scope."""
    with pytest.raises(MicroflowError, match="recursive"):
        build_anonymizer(MethodSettings(Method.K_ANONYMITY, l_recursive=2.0, scope=scope, **asked), SCHEMA)  # type: ignore[arg-type]


def test_what_cannot_be_placed_is_suppressed_and_counted() -> None:
    """Fewer than k rows, too little diversity, or a row that was never observed: nothing of it leaves."""
    assert len(release(people(4), k=5).kept) == 0
    assert len(release(people(50), k=5, l_diversity=5).kept) == 0
    anonymizer = KAnonymity(MethodSettings(Method.K_ANONYMITY, k=5), SCHEMA)
    anonymizer.observe(people(100))
    anonymizer.freeze()
    stranger = batch([{"age": 3, "zip": "00000", "sex": "F"}])
    assert len(anonymizer.anonymize(stranger).kept) == 0
    assert anonymizer.anonymize(stranger).seen == 1


def test_misuse_is_refused_in_plain_words() -> None:
    """Each wrong call says what is wrong; none is answered with rows."""
    anonymizer = KAnonymity(MethodSettings(Method.K_ANONYMITY, k=5), SCHEMA)
    with pytest.raises(MicroflowError, match="no equivalence classes yet"):
        anonymizer.anonymize(people(10))
    anonymizer.freeze()
    with pytest.raises(MicroflowError, match="nothing more can be observed"):
        anonymizer.observe(people(10))
    with pytest.raises(MicroflowError, match="k must be at least 2"):
        KAnonymity(MethodSettings(Method.K_ANONYMITY, k=1), SCHEMA)
    with pytest.raises(MicroflowError, match="no quasi-identifiers"):
        KAnonymity(MethodSettings(Method.K_ANONYMITY), DatasetSchema("none", (Column("a"),), "hipaa"))
    unprotected = DatasetSchema("plain", (Column("age", QI, Dtype.INTEGER),), "hipaa")
    with pytest.raises(MicroflowError, match="no sensitive column"):
        KAnonymity(MethodSettings(Method.K_ANONYMITY, l_diversity=2), unprotected)


def test_a_strict_cut_keeps_equal_values_together() -> None:
    """With one quasi-identifier strict classes never overlap, and no class could have been cut at a value."""
    schema = DatasetSchema("ages", (Column("age", QI, Dtype.INTEGER, low=0, high=120),), "hipaa")
    ages = np.random.default_rng(1).integers(0, 60, 500)
    rows = pa.RecordBatch.from_arrays([pa.array(ages)], schema=schema.arrow)
    labels = release(rows, schema, k=10, strict=True).rows["age"].to_pylist()
    by_label: dict[str, set[int]] = {}
    for label, age in zip(labels, ages.tolist(), strict=True):
        by_label.setdefault(label, set()).add(age)
    assert sum(map(len, by_label.values())) == len(set(ages.tolist()))
    counts = np.bincount(ages)
    for members in by_label.values():
        running = np.cumsum([counts[age] for age in sorted(members)])
        assert not any(10 <= left <= running[-1] - 10 for left in running[:-1])


def adult_rows(path: Path) -> tuple[DatasetSchema, pa.RecordBatch]:
    schema = load_schema("adult")
    raw = pacsv.read_csv(path).combine_chunks()
    columns = []
    for field, column in zip(schema.arrow, raw.columns, strict=True):
        text = pa.compute.utf8_trim_whitespace(column.cast(pa.string()))
        known = pa.compute.if_else(pa.compute.equal(text, "?"), None, text)
        columns.append(known.cast(field.type))
    return schema, pa.Table.from_arrays(columns, schema=schema.arrow).combine_chunks().to_batches()[0]


@pytest.mark.parametrize("k", [3, 5, 10, 15])
def test_uci_adult_is_k_anonymous_with_all_rows(adult_csv: Path, k: int) -> None:
    """On real data: nothing suppressed, and pycanon finds the k that is claimed."""
    schema, rows = adult_rows(adult_csv)
    quasi = [column.name for column in schema.quasi_identifiers]
    released = release(rows, schema, k=k)
    assert len(released.kept) == rows.num_rows == 32_561
    assert canon.k_anonymity(table(released, quasi), quasi) >= k


@pytest.mark.parametrize("bound", [2**53 - 2, 4 - 2**53])
def test_the_largest_bounds_a_descriptor_may_give(bound: int, tmp_path: Path) -> None:
    """Cells beside the last exact whole number still hold their own value."""
    path = tmp_path / "mine.yaml"
    column = f"{{role: quasi_identifier, type: integer, low: {bound - 2}, high: {bound}}}"
    path.write_text(f"columns: {{n: {column}}}", "utf-8")
    schema = load_schema(path)
    method = build_anonymizer(MethodSettings(Method.K_ANONYMITY, k=2, scope=Scope.MICROFLOW), schema, None)
    assert isinstance(method, BatchAnonymizer)
    values = [bound - 1, bound - 1, bound, bound]
    released = method.anonymize(pa.record_batch({"n": pa.array(values)}))
    assert released.rows.column("n").to_pylist() == list(map(str, values))


@pytest.mark.parametrize("entropy", [False, True])
def test_the_achieved_l_and_t_are_pycanons(*, entropy: bool) -> None:
    """Measured on what is released, and not repeated from what was asked for."""
    rows = people(400)
    asked = MethodSettings(Method.K_ANONYMITY, k=4, l_diversity=2, l_entropy=entropy, t_closeness=0.6)
    anonymizer = KAnonymity(asked, SCHEMA)
    anonymizer.observe(rows)
    anonymizer.freeze()
    frame, claim = table(anonymizer.anonymize(rows), QUASI), anonymizer.describe()
    least, most = claim["achieved_l"]["illness"], claim["achieved_t"]["illness"]  # type: ignore[index]
    classes = frame.groupby(QUASI)["illness"]
    # pycanon truncates the entropy's power to a whole number, and 2 - 1e-16 to 1.
    found = classes.agg(lambda own: np.exp(scipy.stats.entropy(own.value_counts()))) if entropy else classes.nunique()
    assert least == pytest.approx(found.min())
    assert least >= 2 - 1e-9
    assert most == pytest.approx(canon.t_closeness(frame, QUASI, ["illness"]), abs=1e-9)
    assert most <= 0.6


@pytest.mark.parametrize("scope", [Scope.DATASET, Scope.MICROFLOW, Scope.STREAM])
def test_a_hierarchy_may_have_the_star_alone(scope: Scope) -> None:
    """Values that share no prefix are written as the star, in every scope."""
    schema = DatasetSchema("codes", (Column("code", QI, hierarchy=Hierarchy(prefix=(0,))),), "hipaa")
    rows = pa.RecordBatch.from_pydict({"code": ["ab", "ac", "b"] * 2}, schema=schema.arrow)
    if scope is Scope.STREAM:
        stream = build_anonymizer(MethodSettings(Method.K_ANONYMITY, k=5, scope=scope), schema)
        assert isinstance(stream, StreamAnonymizer)
        left = [one for i, row in enumerate(rows.to_pylist()) for one in stream.push(i, row)] + stream.flush()
        assert [row["code"] for _, row in left] == ["*"] * 6
    else:
        assert release(rows, schema, k=5, scope=scope).rows["code"].to_pylist() == ["*"] * 6
