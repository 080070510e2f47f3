"""The vectorised conversion says the same as the scalar one, value by value."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microflow.records import UnconvertibleError, convert
from microflow.schema import Column, Dtype
from microflow.sources.typed import typed_column

DTYPES = list(Dtype)
NUMBERS = st.one_of(
    st.integers(-(2**65), 2**65).map(str),
    st.floats().map(str),
    st.decimals(allow_nan=True).map(str),
    st.from_regex(r"[+-]?[0-9]{0,20}[.,]?[0-9]{0,20}([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
DATES = st.one_of(
    st.dates().map(str),
    st.from_regex(r"[0-9]{4}(-[0-9]{2}){0,2}", fullmatch=True),
    st.from_regex(r"000[01]-02-(28|29|30)", fullmatch=True),
)
WORDS = st.sampled_from(
    ["true", "FALSE", "t", "no", "0", "1", " 1", "1 ", "NaN", "inf", "0x1F", "1_0", "١", "", "a\0b"]
)
TEXT = st.one_of(NUMBERS, DATES, WORDS, st.text(max_size=6)).filter(lambda text: text.isprintable() or "\0" in text)


@given(st.lists(st.one_of(st.none(), TEXT), max_size=8), st.sampled_from(DTYPES), st.booleans())
@example(["2000-02-29", "1900-02-29"], Dtype.DATE, False)
@example(["9223372036854775807", "9223372036854775808"], Dtype.INTEGER, False)
@example(["007", None, "123456789012345678"], Dtype.INTEGER, False)
@example(["1234567890123456789", "99999999999999999999"], Dtype.INTEGER, False)
@example(["1", "/", ":"], Dtype.INTEGER, False)
@example(["1e308", "1e309"], Dtype.NUMBER, False)
def test_both_forms_agree(texts, dtype, required):
    """Equal values and equal refusals, for any text in any type of column."""
    column = Column("x", dtype=dtype, required=required)
    texts = [text or None for text in texts]
    typed, failures = typed_column(pa.array(texts, pa.string()), column)
    assert typed.type == dtype.arrow
    refused = {position for position, _ in failures}
    assert len(refused) == len(failures)
    for position, (text, value) in enumerate(zip(texts, typed.to_pylist(), strict=True)):
        try:
            expected = convert(text, column)
        except UnconvertibleError:
            assert position in refused
            continue
        has_nul = dtype is Dtype.STRING and text is not None and "\0" in text
        assert (position in refused) == has_nul or (required and text is None)
        assert value == expected or (isinstance(value, float) and math.isclose(value, expected, rel_tol=0))


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_but_nulls(dtype):
    """A column without a value has its type all the same."""
    typed, failures = typed_column(pa.array([None, None], pa.string()), Column("x", dtype=dtype))
    assert typed.type == dtype.arrow
    assert failures == []


def test_slices_are_looked_at_where_they_lie():
    """A NUL outside of a slice is not found in it, one inside is."""
    whole = pa.array(["a\0", "b", "c\0", "d"], pa.string())
    assert typed_column(whole.slice(1, 1), Column("x"))[1] == []
    assert typed_column(whole.slice(1, 2), Column("x"))[1] == [(1, "a NUL character")]
