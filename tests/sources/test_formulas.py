"""The escape against formulas touches what a spreadsheet would run, nothing else, and is taken back exactly."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.sources.delimited import harmless, harmless_column, unescaped, unescaped_column

TEXTS = st.text(st.sampled_from("'=+-@\t\r\n1.,(x|e \u00a0\uff1d\uff0d％"), max_size=8) | st.text()


@given(st.lists(TEXTS | st.none()))
def test_the_escape_is_taken_back_exactly(texts):
    """For every text, by value and by column, and also where only a slice of a column is taken."""
    column = pa.array(texts, pa.string())
    assert harmless_column(column).to_pylist() == [None if text is None else harmless(text) for text in texts]
    assert unescaped_column(harmless_column(column)).to_pylist() == texts
    assert unescaped_column(harmless_column(column.slice(1))).to_pylist() == texts[1:]


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "@sum", "\tx", "\r=1", "\n=1", "+cmd|' /C calc'!A0", "-2+A1", "+A1", "-x", "-1e", "+=1", "\uff1d1+1",
        "\uff0bA1", "\uff0dA1", "\uff20sum", " =1+1", "\u00a0@sum", "\ufeff=1", "  +A1", "=HYPERLINK(A1)", "@",
    ],
)  # fmt: skip
def test_what_a_spreadsheet_would_run_is_escaped(text):
    """OWASP's list, signs that go on with a name, full width, and blanks in front."""
    assert harmless(text) == f"'{text}"
    assert harmless(f"'{text}") == f"''{text}"


@pytest.mark.parametrize(
    "text",
    [
        "-70",
        "+1",
        "-1..3",
        "-10..-5",
        "-1.5e3",
        "-5%",
        "1\n=1",
        "+353 1 555 0100",
        "+1 (555) 201-3344",
        "-",
        "'x",
        "a=b",
        " -5",
        " x",
    ],
)
def test_numbers_telephones_and_labels_stay(text):
    """Nothing in them could run: they are written as they are, and read back as they are."""
    assert harmless(text) == text == unescaped(text)
