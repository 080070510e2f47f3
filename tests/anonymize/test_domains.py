"""Public domains: values to codes and back, in columns and one by one."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.domains import GRID_STEPS, Grid, Told, public_domain
from microflow.anonymize.text_spans import first_bytes
from microflow.schema import Column, Dtype, Hierarchy, Value

SEX = Column("sex", categories=("F", "M", "X"))
FLAG = Column("flag", dtype=Dtype.BOOLEAN)
ZIP = Column("zip", kind="zip", hierarchy=Hierarchy(prefix=(5, 3, 0)))
AGE = Column("age", dtype=Dtype.INTEGER, low=0, high=120)
COST = Column("cost", dtype=Dtype.NUMBER, low=-5.5, high=100_000)

VALUES = [
    (SEX, st.none() | st.sampled_from(["F", "M", "X", "", "f", "other"])),
    (FLAG, st.none() | st.booleans()),
    (ZIP, st.none() | st.text("0123456789AB*é", max_size=6)),
    (AGE, st.none() | st.integers(-(10**6), 10**6)),
    (COST, st.none() | st.floats(-1e9, 1e9)),
]


@pytest.mark.parametrize(("column", "anything"), VALUES, ids=[column.name for column, _ in VALUES])
@given(data=st.data())
def test_one_value_is_coded_like_a_column(
    column: Column, anything: st.SearchStrategy[Value], data: st.DataObject
) -> None:
    """And every code has a value of the column's own type."""
    values = data.draw(st.lists(anything, max_size=20))
    domain = public_domain(column)
    assert domain is not None
    codes = domain.encode(pa.array(values, column.dtype.arrow))
    assert codes.tolist() == [domain.encode_one(value) for value in values]
    released = domain.decode(codes)
    assert released.type == column.dtype.arrow
    assert released.to_pylist() == [domain.values[code] for code in codes]


def test_a_value_of_the_domain_is_its_own_release() -> None:
    """Without noise nothing would change, but for grids wider than their steps."""
    for column, values in ((SEX, ["X", None, "F"]), (FLAG, [True, False, None]), (AGE, [0, 57, 120, None])):
        domain = public_domain(column)
        assert domain is not None
        assert domain.decode(domain.encode(pa.array(values, column.dtype.arrow))).to_pylist() == values


def test_what_lies_outside_is_clamped_or_missing() -> None:
    """Numbers move to the nearer bound; an undeclared text says nothing."""
    age, sex = public_domain(AGE), public_domain(SEX)
    assert age is not None
    assert sex is not None
    assert age.decode(age.encode(pa.array([-4, 150]))).to_pylist() == [0, 120]
    assert sex.decode(sex.encode(pa.array(["?", "f"]))).to_pylist() == [None, None]


def test_of_a_zip_code_one_digit_is_left() -> None:
    """Written as the prefix label that other methods write."""
    domain = public_domain(ZIP)
    assert domain is not None
    released = domain.decode(domain.encode(pa.array(["94110", "941", "0", "K1A", None])))
    assert released.to_pylist() == ["9****", "9****", "0****", None, None]


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), dtype=st.sampled_from([Dtype.INTEGER, Dtype.NUMBER]))
def test_a_grid_stays_within_its_bounds(low: float, width: float, dtype: Dtype) -> None:
    """At most 1,025 points, ascending, the first and last being the bounds themselves."""
    if dtype is Dtype.INTEGER:
        low, width = round(low), max(1, round(width))
    grid = Grid(low, low + width, dtype)
    points = list(grid.values[:-1])
    assert len(points) == grid.size <= GRID_STEPS + 1
    assert points == sorted(set(points))
    assert points[0] == low
    assert points[-1] == pytest.approx(low + width)
    assert max(points) <= low + width


def test_without_a_declaration_there_is_no_domain() -> None:
    """Bounds taken from the data would leak them."""
    unknown = [Column("country"), Column("n", dtype=Dtype.INTEGER), Column("n", dtype=Dtype.INTEGER, low=0)]
    unknown += [Column("day", dtype=Dtype.DATE), Column("code", hierarchy=Hierarchy(prefix=(3, 0)))]
    assert [public_domain(column) for column in unknown] == [None] * 5


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (Dtype.STRING, ("F", "M")),
        (Dtype.STRING, ("E11", "I10", "J45")),
        (Dtype.STRING, ("ä", "no")),
        (Dtype.STRING, ("low", "middle")),
        (Dtype.STRING, ("",)),
        (Dtype.BOOLEAN, (False, True)),
        (Dtype.INTEGER, (0, 5, 2**40)),
        (Dtype.NUMBER, (0.5, -1e300)),
    ],
)
def test_every_code_gives_its_value(dtype: Dtype, values: tuple[Value, ...]) -> None:
    """Texts of equal and of different length, numbers and booleans; the last code is missing, and no code is fine."""
    told = Told((*values, None), dtype)
    for codes in ([], [len(values)], [*range(len(values) + 1)] * 3):
        column = told(np.array(codes, np.int64))
        column.validate(full=True)
        assert column.type == dtype.arrow
        assert column.to_pylist() == [(*values, None)[code] for code in codes]


@given(st.lists(st.none() | st.text(max_size=3), max_size=20), st.integers(0, 20))
def test_first_bytes_of_any_text(texts: list[str | None], start: int) -> None:
    """Slices and every script included."""
    column = pa.array(texts, pa.string()).slice(start)
    expected = [text.encode()[0] if text else 0 for text in texts[start:]]
    assert first_bytes(column).tolist() == expected
