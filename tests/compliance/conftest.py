"""Values that break naive checks, and records made of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st

from microflow.schema import Column, DatasetSchema, Dtype, Role

#: Fragments that join into identifiers, near misses, and trouble: other scripts' digits, RTL, NUL, odd separators.
FRAGMENTS = (
    "123-45-6789", "123 45 6789", "000-12-3456", "987-65-4321", "123456789", "4111111111111111", "4111 1111 1111 1111",
    "4111 1111 1111 1112", "3782 822463 10005", "411111******1111", "411", "anna@example.com", "a+b@bücher.example",
    "@", "5@3.50", "x@y", "(415) 555-0123", "+353 87 123 4567", "+14155550123", "415.555.0123", "10.2.3.4",
    "1.2.3.4.5", "999.1.1.1", "2001:db8::1", "::1", "std::byte", "12:30:45", "https://example.org/a?b=1", "http://",
    "www.example.org", "MRN: 1234567", "mrn", "2021-03-04", "2021-13-45", "2021-03-04T10:00", "3/4/2021", "99/99/2021",
    "4 March 2021", "March 4, 2021", "IE29 AIBK 9311 5212 3456 78", "GB82WEST12345698765432", "IE00AIBK93115212345678",
    "١٢٣-٤٥-٦٧٨٩", "𝟜𝟙𝟙𝟙", "\u202e", "\x00", "\u00a0", "é", "\u2013", "\n", "\t", " ", "-", ".", ":", "(", ")", "“",
    "”", "_", "a", "X", "*", "0", "1", "]", "[", "T1", "=", "/",
)  # fmt: skip


def texts() -> st.SearchStrategy[str]:
    """Prose made of fragments, and any text at all."""
    return st.one_of(
        st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join),
        st.text(st.characters(codec="utf-8"), max_size=40),
        st.sampled_from(["", "***-**-****", "x" * 500, "1" * 300, "1." * 200, "a@" * 150]),
    )


def values(column: Column) -> st.SearchStrategy[Any]:
    """What a column of this type can hold in memory, the likely and the hostile."""
    by_type: dict[Dtype, st.SearchStrategy[Any]] = {
        Dtype.STRING: texts(),
        Dtype.INTEGER: st.one_of(st.integers(85, 95), st.integers(-(2**63), 2**63 - 1)),
        Dtype.NUMBER: st.one_of(
            st.floats(), st.floats(-180, 180).map(lambda x: round(x, 2)), st.floats(-180, 180), st.floats(1e10, 1e16)
        ),
        Dtype.BOOLEAN: st.booleans(),
        Dtype.DATE: st.sampled_from(
            ["2026", "2025", "2026-01", "2025-12", "2026-01-01", "2025-12-31", "2027-05-05", "0001-01-01", "2016"]
        ),
    }
    chosen = [st.none(), by_type[column.dtype]]
    if column.categories:
        chosen.append(st.sampled_from(column.categories))
    if column.kind == "zip":
        chosen.append(st.sampled_from(["941", "94110", "036", "000", "03601", "é", "12é"]))
    if column.kind == "transfer_country":
        chosen.append(st.sampled_from(["US", "NO", "IE"]))
    return st.one_of(chosen)


def records(schema: DatasetSchema) -> st.SearchStrategy[dict[str, Any]]:
    """Records of a data set with hostile values in every field that a policy can speak of."""
    spoken_of = {
        column.name: values(column) for column in schema.columns if column.kind or column.role is Role.FREE_TEXT
    }
    return st.fixed_dictionaries(spoken_of).map(lambda drawn: dict.fromkeys(schema.names) | drawn)


@pytest.fixture(scope="session")
def hostile() -> Any:
    """The strategy of hostile records, by schema."""
    return records


@pytest.fixture(scope="session")
def text_values() -> Any:
    """The strategy of hostile texts."""
    return texts


def times_as_long(work: Callable[[str], object], unit: str, size: int, least: float = 0.01) -> float:
    """By how much longer a text of twice this size takes; at ``least`` so many seconds count, to be measurable."""

    def seconds(size: int) -> float:
        text, best = (unit * size)[:size], []
        for _ in range(2):
            begun = time.process_time()
            work(text)
            best.append(time.process_time() - begun)
        return min(best)

    seconds(1_000)
    return seconds(2 * size) / max(seconds(size), least)


@pytest.fixture(scope="session")
def growth() -> Any:
    """The measure of linear time."""
    return times_as_long
