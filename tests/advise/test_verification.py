"""What a release holds, counted by itself: pandas and pycanon count the same, persons once for each value."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycanon import anonymity as canon

from microflow.advise.verification import Verification, stated, verified
from microflow.anonymize.contract import Method, MethodSettings
from microflow.assess.pair import ColumnHeld, Pair, achieved
from microflow.descriptors import load_schema
from microflow.errors import InputError, MicroflowError
from microflow.schema import DatasetSchema, Role

QUASI = ["age", "sex"]
GRADES = ["mild", "middling", "grave"]
TEXT = """
columns:
  age: {role: quasi_identifier, type: integer}
  sex: {role: quasi_identifier}
  illness: {role: sensitive}
  grade: {role: sensitive, categories: [mild, middling, grave], ordered: true}
  pay: {role: sensitive, type: number}
"""
ROW = st.tuples(
    st.sampled_from(["[20-29]", "30", None]), st.sampled_from("FM"), st.sampled_from(["flu", "cold", None]),
    st.sampled_from(GRADES), st.integers(0, 6),
)  # fmt: skip


def schema_of(folder: Path, *, persons: bool = False) -> DatasetSchema:
    path = folder / "mine.yaml"
    path.write_text(TEXT + ("  patient: {role: person}\n" if persons else ""))
    return load_schema(path)


def counted(rows: pd.DataFrame, folder: Path, *, persons: bool = False, **asked: object) -> Verification:
    path = folder / "out.csv"
    rows.to_csv(path, index=False)
    required = MethodSettings(Method.K_ANONYMITY, **asked)  # type: ignore[arg-type]
    return verified(path, schema_of(folder, persons=persons), required, 0.5)


def by_pandas(rows: pd.DataFrame, name: str, least: int, *, persons: bool) -> ColumnHeld:
    """Straight from the definitions, class by class."""
    if persons:
        everybody = rows.drop_duplicates(["patient", name])[name]
        rows = rows.drop_duplicates([*QUASI, "patient", name])
    else:
        everybody = rows[name]
    order = [value for value in GRADES if value in set(everybody)] if name == "grade" else list(set(everybody))
    whole = np.array([(everybody == value).mean() for value in order])
    different, entropies, ratios, apart = [], [], [], []
    for _, own in rows.groupby(QUASI)[name]:
        counts = sorted(own.value_counts(), reverse=True)
        share = np.array(counts) / sum(counts)
        different.append(len(counts))
        entropies.append(math.exp(-(share * np.log(share)).sum()))
        rest = sum(counts[max(least, 1) - 1 :])
        ratios.append(counts[0] / rest if rest else math.inf)
        gap = np.array([(own == value).mean() for value in order]) - whole
        steps = np.abs(gap.cumsum()).sum() / max(1, len(order) - 1)
        apart.append(steps if name == "grade" else np.abs(gap).sum() / 2)
    return ColumnHeld(min(different), min(entropies), max(ratios), max(apart))


@pytest.mark.parametrize("persons", [False, True])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(ROW, min_size=1, max_size=40), least=st.integers(1, 3))
def test_pandas_counts_the_same(persons: bool, rows: list[tuple], least: int, tmp_path: Path) -> None:
    """k, l by three definitions, t by both distances, average risk; a missing value is a value."""
    frame = pd.DataFrame(rows, columns=[*QUASI, "illness", "grade", "person"]).assign(pay=1.5)
    frame["patient"] = "p" + frame.pop("person").astype(str)
    if not persons:
        frame = frame.drop(columns="patient")
    found = counted(frame, tmp_path, persons=persons, k=2, l_diversity=least, t_closeness=0.5)
    plain = frame.fillna("?")
    members = plain.groupby(QUASI)["patient"].nunique() if persons else plain.groupby(QUASI).size()
    assert (found.k, found.classes, found.rows) == (members.min(), len(members), len(frame))
    assert found.average_risk == pytest.approx(len(members) / members.sum())
    assert found.classes_below == (members < 2).sum()
    assert found.columns.keys() == {"illness", "grade"}, "numbers are left out"
    for name, held in found.columns.items():
        wanted = by_pandas(plain, name, least, persons=persons)
        assert held.l_distinct == wanted.l_distinct
        assert held.l_entropy == pytest.approx(wanted.l_entropy)
        assert held.recursive_c == pytest.approx(wanted.recursive_c)
        assert held.t == pytest.approx(wanted.t)


def people(rows: int = 400, seed: int = 3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.choice(["[20-29]", "[30-39]"], rows),
            "sex": rng.choice(["F", "M"], rows),
            "illness": rng.choice(["flu", "cold", "gout"], rows, p=[0.6, 0.3, 0.1]),
            "grade": rng.choice(GRADES, rows),
            "pay": 1.5,
        }
    )


def test_pycanon_counts_the_same(tmp_path: Path) -> None:
    """On a release without missing values, whose first column has no order."""
    frame = people()
    found = counted(frame, tmp_path, l_diversity=2, t_closeness=0.5)
    held = found.columns["illness"]
    assert found.k == canon.k_anonymity(frame, QUASI)
    assert held.l_distinct == canon.l_diversity(frame, QUASI, ["illness"])
    assert int(held.l_entropy) == canon.entropy_l_diversity(frame, QUASI, ["illness"])
    assert held.t == pytest.approx(canon.t_closeness(frame, QUASI, ["illness"]))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.integers(10, 120), seed=st.integers(0, 10_000))
def test_assess_verify_and_pycanon_agree(rows: int, seed: int, tmp_path: Path) -> None:
    """k, l and t of one release: measured row by row, counted from a file's different cells, and by pycanon."""
    frame = people(rows, seed)
    found = counted(frame, tmp_path, k=2, l_diversity=2, t_closeness=0.5)
    schema = schema_of(tmp_path).released(Role.SENSITIVE)
    table = pa.Table.from_pandas(frame, schema=schema.arrow, preserve_index=False)
    measured, held = achieved(Pair.of(schema, table, table, np.arange(rows))), found.columns["illness"]
    assert found.k == measured.k == canon.k_anonymity(frame, QUASI)
    assert held.l_distinct == measured.l_diversity["illness"] == canon.l_diversity(frame, QUASI, ["illness"])
    assert measured.t_closeness == pytest.approx({name: one.t for name, one in found.columns.items()} | {"pay": 0})
    if len(set(frame["illness"])) > 1:
        assert held.t == pytest.approx(canon.t_closeness(frame, QUASI, ["illness"]))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"k": 401}, "not 401-anonymous"),
        ({"l_diversity": 4}, "not 4-diverse in illness: the weakest class has 3 values"),
        ({"l_diversity": 3, "l_entropy": True}, "not entropy 3-diverse in illness"),
        ({"l_diversity": 3, "l_recursive": 1.0}, "not recursively (1, 3)-diverse in illness: c is "),
        ({"t_closeness": 0.001}, "not 0.001-close in grade"),
    ],
)
def test_what_is_not_held_is_said(asked: dict[str, object], said: str, tmp_path: Path) -> None:
    """Each requirement fails by itself, is named, and is in the document."""
    found = counted(people(), tmp_path, **{"k": 5, **asked})
    assert not found.is_satisfied
    assert any(line.startswith(said) for line in found.lines()), found.lines()
    assert found.lines()[-1].startswith("verdict: failed")
    assert f"not {found.to_dict()['failures'][0]}" in found.lines()


def test_what_is_held_passes(tmp_path: Path) -> None:
    """To the very value that is held, but for c, which must be greater."""
    found = counted(people(), tmp_path, l_diversity=3, l_recursive=50.0, t_closeness=0.5)
    held = found.columns["illness"]
    most = max(one.t for one in found.columns.values())
    assert found.is_satisfied
    assert found.lines()[-1] == "verdict: passed"
    assert counted(people(), tmp_path, k=found.k, t_closeness=most).is_satisfied
    worst = max(one.recursive_c for one in found.columns.values())
    assert not counted(people(), tmp_path, l_diversity=3, l_recursive=worst).is_satisfied
    assert counted(people(), tmp_path, l_diversity=3, l_recursive=worst * 1.001).is_satisfied
    assert found.to_dict()["columns"]["illness"]["t"] == held.t


def test_the_average_risk(tmp_path: Path) -> None:
    """ARX's: the mean over the rows of 1 over the size of their class, which is classes over rows."""
    path = tmp_path / "out.csv"
    people(40).to_csv(path, index=False)
    required = MethodSettings(Method.K_ANONYMITY, k=2)
    assert verified(path, schema_of(tmp_path), required, 0.1).is_satisfied  # 4 classes of 40 rows
    found = verified(path, schema_of(tmp_path), required, 0.09)
    assert not found.is_satisfied
    assert found.lines()[1] == "not within the average risk of 0.09: it is 0.1"
    assert found.to_dict()["highest_risk"] == 1 / found.k


@pytest.mark.parametrize("asked", [{"l_entropy": True}, {"l_recursive": 2.0}, {"k": 1}])
def test_what_does_not_fit_together_is_refused(asked: dict[str, object], tmp_path: Path) -> None:
    """Nothing is held by asking for nothing."""
    with pytest.raises(MicroflowError):
        counted(people(), tmp_path, **asked)


@pytest.mark.parametrize(
    "method",
    [
        None, [], {"method": "tokenization"}, {"method": "k_anonymity"}, {"method": "k_anonymity", "k": "5"},
        {"method": "k_anonymity", "k": True}, {"method": "k_anonymity", "k": math.inf},
        {"method": "k_anonymity", "k": 5, "t_closeness": math.nan}, {"method": "k_anonymity", "k": 5, "l_diversity": 0},
    ],
)  # fmt: skip
def test_a_document_that_states_nothing(method: object) -> None:
    """One line, and no requirement that was not stated."""
    with pytest.raises(InputError):
        stated({"method": method}, Path("m.json"))
    with pytest.raises(InputError):
        stated(method, Path("m.json"))
