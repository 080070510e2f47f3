"""The fast way and the slow way through delimited text are one."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microflow.schema import Column, DatasetSchema, SourceFormat
from microflow.sources import delimited, lines
from microflow.sources.columns import Refusals
from microflow.sources.delimited import parse_plain, read_delimited

NAMES = ("a", "b", "c")
PLAIN = SourceFormat(",", missing=frozenset({"NA"}))
UNQUOTED = SourceFormat(",", quote="")
TRIMMED = SourceFormat(",", trim=True, missing=frozenset({"?"}))

#: Bytes in which everything that can go wrong goes wrong often.
PIECES = st.sampled_from(
    [
        "x",
        "1",
        ",",
        ",,",
        '"',
        '""',
        ',"',
        '",',
        "\n",
        "\r\n",
        "\r",
        " ",
        "NA",
        "?",
        "é",
        "\0",
        "\t",
        "a,b,c\n",
        '1,"2",3\n',
    ]
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


def read(content: bytes, source: SourceFormat):
    """All accepted rows with their lines, and the quarantined lines with reasons."""
    refusals = Refusals(keep_raw=True)
    rows = []
    schema = DatasetSchema("x", tuple(map(Column, NAMES)), policy="gdpr", source=source)
    for block in read_delimited(io.BytesIO(content), "file", schema, refusals):
        columns = [block.columns[name].to_pylist() for name in NAMES]
        rows += zip(block.lines.tolist(), *columns, strict=True)
    return rows, [(one.line, one.reason, one.raw) for one in refusals.rows]


def read_slowly(content: bytes, source: SourceFormat):
    """The same without the fast way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "parse_plain", lambda *_, **__: None)
        return read(content, source)


@given(text=TEXTS, source=st.sampled_from([PLAIN, TRIMMED, UNQUOTED]), chunk=st.sampled_from([1, 5, 17, 2**20]))
@example(text='1,"2\n', source=PLAIN, chunk=2**20)
@example(text='1,2,3\n"a,b\n"4,"5",6\n', source=PLAIN, chunk=5)
@example(text='1,2,"3"""\n\r\n4,5,6', source=PLAIN, chunk=2**20)
def test_both_ways_read_alike(text, source, chunk):
    """Rows, line numbers and refusals are the same whatever is taken for plain, and wherever chunks end."""
    content = ("a,b,c\n" + text).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "CHUNK_BYTES", chunk)
        fast = read(content, source)
    assert fast == read_slowly(content, source)


@given(st.binary(max_size=200))
def test_any_bytes_are_accounted_for(content):
    """Every line that is not blank is the start of a row, or a part of one, or in the quarantine: none is lost."""
    rows, log = read(b"a,b,c\n" + content, PLAIN)
    named = {line for line, *_ in rows} | {line for line, *_ in log}
    assert len(named) == len(rows) + len(log)
    cells = sum(value.count("\n") + value.count("\r") for row in rows for value in row[1:] if value)
    written = [line for line in content.splitlines() if line]
    assert len(rows) + len(log) <= len(written) <= len(rows) + len(log) + cells


@given(
    st.lists(
        st.lists(
            st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0")), min_size=3, max_size=3
        )
    )
)
def test_what_csv_writes_comes_back(table):
    """Any text survives a round through Python's csv writer, as fields and as lines."""
    sink = io.StringIO()
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL)
    writer.writerows([NAMES, *table])
    rows, log = read(sink.getvalue().encode(), SourceFormat())
    assert [tuple(value or "" for value in row[1:]) for row in rows] == [tuple(row) for row in table]
    assert log == []


@pytest.mark.parametrize("body", ["1,2,3\n4,5,6\n", '1,"2",3\r\n', '"1","a""b","c\nd"\n', "1,2,3", '1,2,""\n'])
def test_regular_text_is_plain(body):
    """The fast way is really taken where nothing is wrong, or the equivalence above would prove nothing."""
    parsed = parse_plain(body.encode(), list(NAMES), PLAIN, is_last=True)
    assert parsed is not None
    assert parsed[1] == len(body)


@pytest.mark.parametrize("body", ["1,2\n", '1,"2"x,3\n', '1,2"2,3\n', "1,\0,3\n", "1,2,3\r4,5,6\n", '1,2,"3'])
def test_irregular_text_is_not_plain(body):
    """Whatever Arrow would read in another way than the csv module goes the slow way."""
    assert parse_plain(body.encode(), list(NAMES), PLAIN, is_last=True) is None


def test_one_bad_row_slows_its_chunk_only(monkeypatch):
    """After an irregular chunk the fast way is taken again, with the right line numbers."""
    monkeypatch.setattr(lines, "CHUNK_BYTES", 600)
    taken = []
    monkeypatch.setattr(
        delimited, "parse_plain", lambda *args, **more: taken.append(parse_plain(*args, **more)) or taken[-1]
    )
    body = "".join(f"{n},x,y\n" if n != 100 else "100,x\n" for n in range(2, 1_000))
    rows, log = read(f"a,b,c\n{body}".encode(), PLAIN)
    assert [(line, int(a)) for line, a, *_ in rows] == [(n, n) for n in range(2, 1_000) if n != 100]
    assert [line for line, *_ in log] == [100]
    assert sum(parsed is None for parsed in taken) == 1
    assert len(taken) > 10


def test_other_delimiters():
    """A data set may be delimited by anything of one character."""
    for delimiter in ("\t", ";", "|", "§"):
        rows, log = read(f"a{delimiter}b{delimiter}c\n1{delimiter}2{delimiter}3\n".encode(), SourceFormat(delimiter))
        assert rows == [(2, "1", "2", "3")]
        assert log == []


def test_a_file_without_a_header():
    """Where the descriptor says so, the first line is a row and columns come in the schema's order."""
    rows, log = read(b"1,2,3\n4,5\n7,8,9\n", SourceFormat(header=False))
    assert rows == [(1, "1", "2", "3"), (3, "7", "8", "9")]
    assert [line for line, *_ in log] == [2]
