"""A source cut into splits of any size is read as if it had not been cut."""

from __future__ import annotations

import os
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from microflow.errors import InputError
from microflow.schema import Column, DatasetSchema, Dtype, Role, SourceFormat
from microflow.sources import splits as splits_module
from microflow.sources.columns import Refusals
from microflow.sources.reader import read_split
from microflow.sources.record_ids import SeenIds
from microflow.sources.splits import Source

SCHEMA = DatasetSchema(
    name="small",
    policy="gdpr",
    source=SourceFormat(missing=frozenset({"NA"})),
    columns=(Column("a", Role.RECORD_ID, Dtype.INTEGER), Column("b"), Column("c")),
)
#: Bytes in which everything that can go wrong goes wrong often.
PIECES = st.sampled_from(
    [
        *b'x;1;,;,,;";"";,";",;\n;\r\n;\r; ;NA;\xff;\x00;\xc3\xa9'.split(b";"),
        b"1,x,y\n",
        b'2,"a\nb",y\n',
        b'3,"a\n",y,z\n',
        b'4,x","y\n',
        b'5,"",y\r\n',
        b"\n\n",
        b'"6","q""q",","\n',
    ]
)
OBJECTS = [b'{"a":1}', b'{"a":2,"b":"x"}', b"{", b"\n", b"\r\n", b"\r", b"\xff", b"[]"]
BODIES = st.lists(PIECES, max_size=30).map(b"".join)
MARKS = st.sampled_from([b"", b"\xef\xbb\xbf"])


def everything(path, split_bytes):
    """Accepted rows, and refused ones with line, column, reason and raw text."""
    rows, refused, count, seen, refusals = [], [], 0, SeenIds(), Refusals(keep_raw=True)
    for split in Source(path, SCHEMA, split_bytes=split_bytes).splits():
        assert split.number == count
        count += 1
        for found in read_split(split, SCHEMA, refusals, seen=seen):
            rows += found.to_pylist()
            refused += refusals.take()
    return rows, refused, count


@settings(max_examples=150, deadline=None)
@given(mark=MARKS, body=BODIES, split_bytes=st.integers(1, 60), scanned=st.sampled_from([1, 7, 2**22]))
@example(mark=b"", body=b'1,"a\n",x,y\n2,b,c\n3,b,c\n', split_bytes=1, scanned=2**22)
@example(mark=b"", body=b'1,x","y\n' * 5, split_bytes=4, scanned=2**22)
@example(mark=b"", body=b'1,"a\r\nb",c\r2,x,y\r\n', split_bytes=1, scanned=1)
def test_delimited_text_is_read_the_same_however_it_is_cut(tmp_path_factory, mark, body, split_bytes, scanned):
    """Rows, lines, reasons, raw text and repeated ids do not depend on the splits, whatever the bytes."""
    path = tmp_path_factory.mktemp("splits") / "in.csv"
    path.write_bytes(mark + b"a,b,c\n" + body)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits_module, "_SCAN_BYTES", scanned)
        rows, refused, _ = everything(path, split_bytes)
    assert (rows, refused) == everything(path, 2**40)[:2]


@settings(max_examples=60, deadline=None)
@given(body=st.lists(st.sampled_from(OBJECTS), min_size=1), split_bytes=st.integers(1, 40))
def test_json_lines_are_read_the_same_however_they_are_cut(tmp_path_factory, body, split_bytes):
    """The same for JSON Lines, whose records end with LF alone."""
    path = tmp_path_factory.mktemp("splits") / "in.jsonl"
    path.write_bytes(b"".join(body) + b'\n{"a":9}\n')
    assert everything(path, split_bytes)[:2] == everything(path, 2**40)[:2]


@pytest.mark.parametrize("split_bytes", [1, 1_000, 2**30])
def test_parquet_is_cut_at_row_groups(tmp_path, split_bytes):
    """Row numbers go on over row groups; every row is read once."""
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"a": list(range(100)), "b": ["x"] * 100, "c": ["y"] * 100}), path, row_group_size=7)
    rows, refused, count = everything(path, split_bytes)
    assert [row["a"] for row in rows] == list(range(100))
    assert refused == []
    assert count == {1: 15, 1_000: 15, 2**30: 1}[split_bytes]


def test_regular_text_is_really_cut(tmp_path):
    """Or the equivalences above would prove nothing: quotes and cells of several lines do not end the cutting."""
    path = tmp_path / "in.csv"
    path.write_bytes(b"a,b,c\n" + b"".join(b'%d,"x\ny",z\n' % n for n in range(100)))
    assert everything(path, 50)[2] > 15


def test_files_of_a_folder_follow_each_other(tmp_path):
    """By name; hidden files are passed over, ids are unique over all, and each file has its own lines."""
    for name, body in (("b.csv", "3,x,y\n1,x,y\n"), ("a.csv", "1,x,y\n2,x,y\n"), (".hidden.csv", "9,x,y\n")):
        (tmp_path / name).write_text("a,b,c\n" + body)
    rows, refused, _ = everything(tmp_path, 1)
    assert [row["a"] for row in rows] == [1, 2, 3]
    assert [(one.line, one.column) for one in refused] == [(3, "a")]
    assert everything(tmp_path / "[ab].csv", 1)[0] == rows


@pytest.mark.parametrize("content", ["a,b,c\n1,x,y\n2,x,y\n", "a,b,c\n", "a,b,c\n2,z,z\n"])
@pytest.mark.parametrize("keeps_time", [False, True])
def test_a_changed_file_is_noticed(tmp_path, content, keeps_time):
    """Longer, shorter, or of the same size; also where the time is set to what it was."""
    path = tmp_path / "in.csv"
    path.write_text("a,b,c\n1,x,y\n")
    before = path.stat()
    source = Source(path, SCHEMA)
    list(source.splits())
    source.refuse_changes()
    time.sleep(0.02)  # longer than the clock of a file system stands still
    path.write_text(content)
    if keeps_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError, match="changed while it was read"):
        source.refuse_changes()
