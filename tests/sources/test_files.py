"""Formats are known by suffixes, and whatever is wrong with a place is said."""

from __future__ import annotations

import pytest

from microflow.errors import InputError
from microflow.sources import format_of


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", "csv"),
        ("a.CSV", "csv"),
        ("a.tsv.gz", "csv"),
        ("a.pq", "parquet"),
        ("b.ndjson", "jsonl"),
        ("b.json.gz", "jsonl"),
    ],
)
def test_formats_by_suffix(name, expected, tmp_path):
    """The suffix decides, whatever its case, and before any .gz."""
    assert format_of(tmp_path / name) == expected


@pytest.mark.parametrize("name", ["a", "a.xlsx", "a.parquet.gz", ".gz"])
def test_unknown_suffixes(name, tmp_path):
    """The error lists those that are known."""
    with pytest.raises(InputError, match=r"known are: .*\.parquet"):
        format_of(tmp_path / name)
