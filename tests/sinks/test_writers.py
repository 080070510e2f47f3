"""Files appear whole or not at all, and what is written comes back."""

from __future__ import annotations

import csv
import gzip

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microflow.errors import MicroflowError
from microflow.schema import Column, DatasetSchema
from microflow.sinks.writers import open_writer, quarantine_head, quarantine_text
from microflow.sources import Quarantine, read_microflows
from microflow.sources.columns import Refusal

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.zst", ".jsonl", ".jsonl.gz", ".parquet")


def fail(writer):
    """Leave a writer as an error would."""
    writer.__exit__(RuntimeError, RuntimeError(), None)


@pytest.fixture
def batch(people):
    rows = [
        {
            "id": 1,
            "name": 'Ann, "the" O\'Neil',
            "age": 41,
            "score": -1.5,
            "member": True,
            "seen": "2021",
            "note": "a\nb",
        },
        {"id": 2, "name": None, "age": None, "score": None, "member": None, "seen": None, "note": None},
        {"id": 3, "name": "Zoë 🙂", "age": -3, "score": 1e-9, "member": False, "seen": "2021-03-14", "note": "NA?"},
    ]
    return pa.RecordBatch.from_pylist(rows, schema=people.arrow)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rows_come_back(suffix, tmp_path, batch, people, read):
    """What each format writes, the reader of that format reads: types, nulls, quotes, line ends, other scripts."""
    path = tmp_path / f"out{suffix}"
    with open_writer(path, people.arrow) as writer:
        writer.write(batch)
        writer.write(batch.slice(0, 0))
    assert read(path) == (batch.to_pylist(), [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_nothing_appears_before_the_end(suffix, tmp_path, batch, people):
    """The target does not exist until the block is left, and never when it is left by an error."""
    path = tmp_path / f"out{suffix}"
    writer = open_writer(path, people.arrow)
    writer.write(batch)
    assert not path.exists()
    fail(writer)
    assert not path.exists()


def test_the_last_whole_file_survives_an_error(tmp_path, batch, people):
    """A failed second run leaves the first run's file as it was."""
    path = tmp_path / "out.csv"
    with open_writer(path, people.arrow) as writer:
        writer.write(batch)
    before = path.read_bytes()
    fail(open_writer(path, people.arrow))
    assert path.read_bytes() == before


def test_gzip_has_no_time_stamp(tmp_path, batch, people):
    """The same rows give the same compressed bytes."""
    for name in ("one.csv.gz", "two.csv.gz"):
        with open_writer(tmp_path / name, people.arrow) as writer:
            writer.write(batch)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.csv.gz", "two.csv.gz"))
    assert one == two
    assert gzip.decompress(one).startswith(b"id,name")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), max_size=10))
def test_no_cell_is_a_formula(tmp_path_factory, texts):
    """Whatever text is written, no spreadsheet sees a cell that begins with a formula character (OWASP)."""
    path = tmp_path_factory.getbasetemp() / "formula.csv"
    rows = pa.RecordBatch.from_pydict({"text": texts}, schema=pa.schema([("text", pa.string())]))
    with open_writer(path, rows.schema) as writer:
        writer.write(rows)
    with path.open(encoding="utf-8", newline="") as file:
        cells = [row[0] if row else "" for row in csv.reader(file)][1:]
    assert not any(cell[:1] in set("=+-@\t\r") for cell in cells if cell)
    assert [
        cell if cell[:1] != "'" or text[:1] == "'" else cell[1:] for cell, text in zip(cells, texts, strict=True)
    ] == texts


def test_numbers_are_no_formulas(tmp_path, people, batch):
    """A negative number is written as one."""
    path = tmp_path / "out.csv"
    with open_writer(path, people.arrow) as writer:
        writer.write(batch)
    assert ",-1.5," in path.read_text("utf-8")
    assert ",-3," in path.read_text("utf-8")


def test_a_header_may_not_be_a_formula(tmp_path):
    """Column names are text too."""
    path = tmp_path / "out.csv"
    with open_writer(path, pa.schema([("=cmd|' /C calc'!A0", pa.string()), ("plain", pa.string())])):
        pass
    assert path.read_text("utf-8").startswith("'=cmd")


def test_a_missing_folder_is_one_clear_error(tmp_path, people):
    """No traceback for a folder that is not there."""
    with pytest.raises(MicroflowError, match="cannot be written"):
        open_writer(tmp_path / "none" / "out.csv", people.arrow)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_rows_make_a_valid_file(suffix, tmp_path, people, read):
    """A release in which everything was suppressed is an empty table, not an empty file."""
    path = tmp_path / f"out{suffix}"
    with open_writer(path, people.arrow):
        pass
    if "jsonl" not in suffix:
        assert read(path) == ([], [])
    assert path.exists()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_one_column_with_gaps(suffix, tmp_path):
    """A missing value alone in its row is a row, and no blank line."""
    schema = DatasetSchema("one", (Column("a, b"),), "gdpr")
    with open_writer(tmp_path / f"out{suffix}", schema.arrow) as writer:
        writer.write(pa.record_batch({"a, b": ["x", None, None, "y"]}))
    quarantine = Quarantine()
    flows = list(read_microflows(tmp_path / f"out{suffix}", schema, quarantine=quarantine))
    assert [value for flow in flows for value in flow.rows.column(0).to_pylist()] == ["x", None, None, "y"]


def test_tabs_by_the_name(tmp_path):
    """A file named .tsv has tabs, and so it is read; what has tabs itself is quoted."""
    schema = DatasetSchema("two", (Column("a\tb"), Column("c")), "gdpr")
    with open_writer(tmp_path / "out.tsv", schema.arrow) as writer:
        writer.write(pa.record_batch({"a\tb": ["x,y"], "c": ["1\t2"]}))
    assert (tmp_path / "out.tsv").read_bytes() == b'"a\tb"\tc\nx,y\t"1\t2"\n'


@pytest.mark.parametrize("raw", ["=1+1", "+A1", "-A1", "@x", "\tx", "\rx"])
def test_refused_text_is_no_formula(raw):
    """Text of somebody else cannot act when the quarantine is opened in a spreadsheet; nor can a key of JSON."""
    text = quarantine_text([Refusal(2, raw, "not a whole number", raw)], keep_raw=True)
    assert [*csv.reader([text.decode()])] == [["2", f"'{raw}", "not a whole number", f"'{raw}"]]


def test_refused_bytes_are_shown():
    """Raw text that is no text does not break the quarantine itself."""
    raw = b"Jos\xe9".decode("utf-8", "surrogateescape")
    assert b"Jos\\udce9" in quarantine_text([Refusal(2, "", "not UTF-8 text", raw)], keep_raw=True)


def test_the_head_names_what_follows():
    """The file first where there are several, the raw text last where it is kept."""
    assert quarantine_head(keep_raw=False) == b"line,column,reason\r\n"
    assert quarantine_head(keep_raw=True, several=True) == b"file,line,column,reason,raw\r\n"
