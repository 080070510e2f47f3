"""k, l and t against pycanon, and against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycanon import anonymity

from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.diversity import Diversity, Sensitive
from microflow.assess.pair import Pair, _ordered_distances, achieved, column_held
from microflow.schema import Column, DatasetSchema, Dtype, Role

SCHEMA = DatasetSchema(
    "mine",
    (
        Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=9),
        Column("sex", Role.QUASI_IDENTIFIER),
        Column("illness", Role.SENSITIVE),
        Column("cost", Role.SENSITIVE, Dtype.NUMBER),
    ),
    policy="combined",
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "age": st.integers(0, 3),
            "sex": st.sampled_from("FM"),
            "illness": st.sampled_from("abcd"),
            "cost": st.sampled_from([1.5, 2.0, 7.25, 100.0, 5000.0]),
        }
    ),
    min_size=2,
    max_size=60,
)


def pair_of(rows: list[dict[str, object]]) -> Pair:
    table = pa.Table.from_pylist(rows, schema=SCHEMA.arrow)
    return Pair.of(SCHEMA, table, table, np.arange(table.num_rows))


def recursive_c(frame: pd.DataFrame, quasi: list[str], name: str, least: int) -> float | None:
    """By the definition; pycanon sorts the counts upward, and so compares the rarest value instead."""
    counts = [sorted(own.value_counts(), reverse=True) for _, own in frame.groupby(quasi)[name]]
    return max(own[0] / sum(own[least - 1 :]) for own in counts) if least > 1 else None


@settings(max_examples=40)
@given(rows=ROWS)
def test_pycanon_agrees(rows: list[dict[str, object]]) -> None:
    """k, distinct l and t of a text and of a numeric column."""
    found = achieved(pair_of(rows))
    frame, quasi = pd.DataFrame(rows), ["age", "sex"]
    assert found.k == anonymity.k_anonymity(frame, quasi)
    for name in ("illness", "cost"):
        assert found.l_diversity[name] == anonymity.l_diversity(frame, quasi, [name])
        if len(set(frame[name])) > 1:
            assert found.recursive_c[name] == recursive_c(frame, quasi, name, found.l_diversity[name])
            assert found.t_closeness[name] == pytest.approx(anonymity.t_closeness(frame, quasi, [name]), abs=1e-9)


@pytest.mark.parametrize(("members", "expected"), [([0, 1, 2], 0.375), ([3, 5, 8], 1 / 6)])
def test_the_salaries_of_li_et_al(members: list[int], expected: float) -> None:
    """t-closeness' own example: {3k, 4k, 5k} among 3k to 11k lies 0.375 away, {6k, 8k, 11k} only 0.167."""
    distances = _ordered_distances(np.full(9, 1 / 9), np.zeros(3, np.int64), np.array(members), np.ones(3))
    assert distances == pytest.approx([expected])


def test_missing_is_a_value() -> None:
    """Two rows of unknown sex are a class of two; pycanon would drop them."""
    rows = [{"age": 1, "sex": None, "illness": "a", "cost": 1.0}] * 2 + [
        {"age": 1, "sex": "F", "illness": None, "cost": 1.0}
    ]
    found = achieved(pair_of(rows))
    assert (found.k, found.classes) == (1, 2)
    assert found.l_diversity["illness"] == 1


def test_discernibility_and_average_class_by_hand() -> None:
    """Classes of 3 and 2 of which one original row of 6 was suppressed: 9 + 4 + 6, and (5 / 2) / 2."""
    rows = [{"age": age, "sex": "F", "illness": "a", "cost": 1.0} for age in (1, 1, 1, 2, 2, 3)]
    table = pa.Table.from_pylist(rows, schema=SCHEMA.arrow)
    found = achieved(Pair.of(SCHEMA, table, table.slice(0, 5), np.arange(5)))
    assert (found.discernibility, found.average_class, found.suppressed) == (19, 1.25, 1)


CELLS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([None, "a", "b", "c"]), st.integers(0, 4), st.integers(1, 3)),
    min_size=1, max_size=40,
)  # fmt: skip


@pytest.mark.parametrize("by_person", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
@settings(max_examples=40)
@given(cells=CELLS, least=st.integers(2, 3), entropy=st.booleans())
def test_the_method_counts_the_same(
    cells: list[tuple], least: int, *, by_person: bool, ordered: bool, entropy: bool
) -> None:
    """What k-anonymity holds its classes to while it forms them is what is counted on a release, by code of its own."""
    places, values, persons, rows = (list(column) for column in zip(*cells, strict=True))
    classes, weights = np.unique(places, return_inverse=True)[1], np.array(rows)
    whose = np.array(persons) if by_person else None
    present = sorted(set(values), key=lambda value: (value is not None, value or ""))
    ranks = np.array([present.index(value) for value in values], np.int32)
    asked = MethodSettings(
        Method.K_ANONYMITY, l_diversity=least, l_entropy=entropy, l_recursive=0.0 if entropy else 2.0
    )
    groups = np.arange(classes.max() + 1)
    constraint = Diversity(classes, weights, [Sensitive(ranks, len(present), ordered)], asked, persons=whose)
    (reached,) = constraint.reached(groups, groups, len(groups))
    column = Column("illness", Role.SENSITIVE, categories=("a", "b", "c"), ordered=ordered)
    held = column_held(
        column, pa.chunked_array([pa.array(values, pa.string())]), classes, rows=weights, persons=whose, least=least
    )
    assert held.l_distinct == min(len({v for p, v in zip(places, values, strict=True) if p == of}) for of in places)
    assert reached.t_closeness == pytest.approx(held.t)
    assert reached.l_diversity == pytest.approx(held.l_entropy if entropy else held.l_distinct)
    if not entropy:
        assert reached.recursive_c == pytest.approx(held.recursive_c)
