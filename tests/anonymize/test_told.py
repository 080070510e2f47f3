"""Values put together from codes, and the bytes that texts begin with."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.anonymize.text_spans import first_bytes
from microflow.anonymize.told import Told
from microflow.schema import Dtype, Value


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
