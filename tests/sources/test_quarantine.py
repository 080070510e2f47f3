"""The quarantine appears only when it is needed, whole, and harmless."""

from __future__ import annotations

import csv

import pytest

from microflow.errors import InputError, MicroflowError
from microflow.microflows import Microflow
from microflow.sources import Quarantine, format_of, read_microflows


def test_no_file_without_a_bad_row(tmp_path):
    """A clean run leaves no quarantine behind."""
    with Quarantine(tmp_path / "log.csv") as quarantine:
        pass
    assert quarantine.total == 0
    assert list(tmp_path.iterdir()) == []


def test_counts_by_reason(tmp_path):
    """Totals are there with and without a file."""
    for path in (None, tmp_path / "log.csv"):
        with Quarantine(path) as quarantine:
            quarantine.add(2, "age", "not a whole number")
            quarantine.add(3, "age", "not a whole number")
            quarantine.add(4, "", "a NUL character")
        assert quarantine.total == 3
        assert quarantine.counts == {"not a whole number": 2, "a NUL character": 1}


def test_nothing_is_left_after_an_error(tmp_path):
    """A run that fails leaves no half quarantine."""
    quarantine = Quarantine(tmp_path / "log.csv")
    quarantine.add(2, "age", "not a whole number")
    assert list(tmp_path.iterdir()) != []
    quarantine.__exit__(RuntimeError, RuntimeError(), None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("raw", ["=1+1", "+A1", "-A1", "@x", "\tx", "\rx"])
def test_raw_text_is_no_formula(raw, tmp_path):
    """Text of a stranger's cannot act when the quarantine is opened in a spreadsheet; nor can a key of JSON."""
    path = tmp_path / "log.csv"
    with Quarantine(path, keep_raw=True) as quarantine:
        quarantine.add(2, raw, "not a whole number", raw)
    with path.open(encoding="utf-8", newline="") as file:
        _, row = csv.reader(file)
    assert row == ["2", f"'{raw}", "not a whole number", f"'{raw}"]


def test_raw_bytes_are_shown(tmp_path):
    """Raw text that is no text does not break the quarantine itself."""
    path = tmp_path / "log.csv"
    with Quarantine(path, keep_raw=True) as quarantine:
        quarantine.add(2, "", "not UTF-8 text", b"Jos\xe9".decode("utf-8", "surrogateescape"))
    assert "Jos\\udce9" in path.read_text("utf-8")


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


def test_microflows_are_numbered_and_bounded(tmp_path, people):
    """Cut from blocks of any size: exactly ``size`` rows each, numbered from 0, every row once."""
    path = tmp_path / "many.csv"
    path.write_text("id,name,age,score,member,seen,note\n" + "".join(f"{n},A,1,1,1,2021,x\n" for n in range(2_345)))
    flows = list(read_microflows(path, people, quarantine=Quarantine(), size=1_000))
    assert all(isinstance(flow, Microflow) for flow in flows)
    assert [(flow.number, flow.first_row, len(flow)) for flow in flows] == [
        (0, 0, 1000),
        (1, 1000, 1000),
        (2, 2000, 345),
    ]
    assert [n for flow in flows for n in flow.rows.column("id").to_pylist()] == list(range(2_345))


def test_a_quarantine_that_cannot_be_written_says_so(tmp_path):
    """The error names the quarantine, not the input that was being read."""
    with pytest.raises(MicroflowError, match=r"log\.csv cannot be written"):
        Quarantine(tmp_path / "none" / "log.csv").add(2, "", "a NUL character")


def test_a_doubled_row_is_kept_on_request(tmp_path, read):
    """Like any other refused row, a repeated id's row can be seen in the quarantine."""
    path = tmp_path / "double.csv"
    path.write_text("id,name,age,score,member,seen,note\n1,A,1,1,1,2021,x\n1,B,2,,,,\n")
    _, log = read(path, keep_raw=True)
    assert log == ['3,id,this record id was seen before,"1,B,2,,,,"']
