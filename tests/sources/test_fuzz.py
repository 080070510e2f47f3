"""Damaged files of every format: rows, quarantine or one clear error, and never anything else."""

from __future__ import annotations

import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from microflow.errors import InputError
from microflow.sources import Quarantine, json_lines, read_microflows

NOTE = 'é,\n"x'
ROWS = [
    {"id": n, "name": "Ann" * (n % 3), "age": n, "score": n / 7, "member": n % 2 == 0, "seen": "2021", "note": NOTE}
    for n in range(40)
]
DAMAGE = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=6)), min_size=1, max_size=4
)


def damaged(content: bytes, damage) -> bytes:
    """Some bytes overwritten, at places given as shares of the length."""
    broken = bytearray(content)
    for share, new in damage:
        place = int(share * len(broken))
        broken[place : place + len(new)] = new
    return bytes(broken)


def read(path, people):
    """Flows and quarantine, or the input error."""
    quarantine = Quarantine()
    try:
        return list(read_microflows(path, people, quarantine=quarantine)), quarantine.total, None
    except InputError as error:
        return [], quarantine.total, str(error)


def check(path, people, most: int) -> None:
    """Reading ends in rows of the schema's types, or in an input error that names the file."""
    flows, refused, error = read(path, people)
    assert error is None or str(path) in error
    for flow in flows:
        assert flow.rows.schema == people.arrow
        flow.rows.validate(full=True)
        flow.rows.to_pylist()
    assert sum(len(flow) for flow in flows) + refused <= most


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@given(DAMAGE)
@example([(0.4749906058243028, b"\x80")])  # a column name that is no text, found by 8,000 cases
def test_parquet(folder, people, damage):
    """Bytes overwritten anywhere in a Parquet file, its footer included."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS, people.arrow), sink)
    path = folder / "file.parquet"
    path.write_bytes(damaged(sink.getvalue(), damage))
    check(path, people, 10**9)


@given(DAMAGE, st.booleans())
def test_json_lines(folder, people, damage, compress):
    """Bytes overwritten in JSON Lines, or in their compressed form."""
    content = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    path = folder / ("file.jsonl.gz" if compress else "file.jsonl")
    path.write_bytes(damaged(gzip.compress(content), damage) if compress else damaged(content, damage))
    check(path, people, 4 * len(ROWS))


@given(st.lists(st.one_of(st.text(max_size=20), st.from_regex(r'\{"(id|age|name|note)": .{0,12}\}')), max_size=8))
def test_lines_of_anything(folder, people, lines):
    """Every line that is not blank is a row or in the quarantine."""
    path = folder / "lines.jsonl"
    path.write_text("".join(line.replace("\n", " ") + "\n" for line in lines), "utf-8", "surrogatepass", newline="")
    written = sum(1 for line in path.read_bytes().split(b"\n") if line.strip())
    flows, refused, error = read(path, people)
    assert sum(len(flow) for flow in flows) + refused == written
    assert (error is not None) == (written == 0)


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(), st.text(max_size=3), st.just([])
)
FIELDS = st.dictionaries(st.sampled_from(["name", "age", "score", "member", "seen", "note", "x"]), VALUES, max_size=4)
EXACT = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["Ann", "", "é"]),
        "age": st.integers(-(2**63), 2**63),
        "score": st.one_of(st.integers(), st.floats()),
        "member": st.booleans(),
        "seen": st.sampled_from(["2021", "2021-02-30", "", "soon"]),
    },
)


@given(st.lists(st.one_of(FIELDS, EXACT, EXACT), max_size=6), st.booleans())
def test_columns_at_a_time_is_line_by_line(folder, people, records, is_ascii):
    """Both ways through JSON Lines give the same rows and the same refusals."""
    path = folder / "both.jsonl"
    lines = [json.dumps({"id": n, **record}, ensure_ascii=is_ascii) for n, record in enumerate(records)]
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8", "surrogatepass")
    fast = logged(path, people)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "_plain_columns", lambda *_: None)
        assert logged(path, people) == fast


def logged(path, people):
    """Rows, and what was refused for what."""
    log = []
    quarantine = Quarantine()
    quarantine.add = log.append
    try:
        flows = list(read_microflows(path, people, quarantine=quarantine))
    except InputError as error:
        return str(error)
    return [row for flow in flows for row in flow.rows.to_pylist()], log
