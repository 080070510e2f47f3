"""Messages read a column at a time as one by one, and written as one by one."""

from __future__ import annotations

import json
import random

import msgspec
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.descriptors import load_schema
from microflow.engine.messages import Messages, as_json, as_records
from microflow.sources.json_lines import UnreadableError, read_message, read_messages

SCHEMA = load_schema("healthcare")
RECORD = {
    "record_id": 1,
    "patient_name": "Ann",
    "age": 30,
    "admission_date": "2024-01-02",
    "treatment_cost": 12.5,
    "notes": "x",
}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8)
NUMBERS = st.floats() | st.floats(-1e15, 1e15) | st.floats(1e-5, 10)
ROWS = st.lists(
    st.tuples(
        st.none() | TEXT,
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | NUMBERS,
        st.none() | st.booleans(),
    ),
    max_size=10,
)
TYPES = (pa.string(), pa.int64(), pa.float64(), pa.bool_())
#: What makes a message hard to read: keys named twice or set apart, endless numbers, halves of pairs, what is no JSON.
PIECES = st.sampled_from(
    [
        b',"age":31',
        b',"age" :31',
        b',"age"\t:31',
        b',"age"\n:31',
        b',"zip":"\\":"',
        b',"zip":"a:\\"b"',
        b',"age":1e400',
        b',"record_id":123456789012345678901234567890',
        b',"treatment_cost":NaN',
        b',"treatment_cost":-0.0',
        b',"treatment_cost":-Infinity',
        b',"zip":"\\ud800"',
        b',"zip":"\\uD83D\\uDE00"',
        b',"zip":"\\u0000"',
        b',"zip":"\xff"',
        b',"mrn":{"zip":1}',
        b',"surplus":1',
        b',"sex":null',
        b", ",
        b"}",
    ]
)


@settings(max_examples=300)
@given(st.lists(NAMES, min_size=4, max_size=4, unique=True), ROWS)
def test_rows_are_written_as_records_are(names: list[str], rows: list[tuple[object, ...]]) -> None:
    """To the byte, so that no one sees which way a record went."""
    columns = [pa.array([row[at] for row in rows], kind) for at, kind in enumerate(TYPES)]
    batch = pa.RecordBatch.from_arrays(columns, names=names)
    assert as_json(batch) == [msgspec.json.encode(record) for record in as_records(batch)]


def test_numbers_are_written_as_records_are() -> None:
    rng = random.Random(1)
    numbers = [rng.choice([1, -1]) * 10 ** rng.uniform(-4, 14.9) for _ in range(20_000)]
    batch = pa.RecordBatch.from_arrays([pa.array([*numbers, 0.0, 1e-4, 3.0])], names=["x"])
    assert as_json(batch) == [msgspec.json.encode(record) for record in as_records(batch)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(PIECES, max_size=3), min_size=40, max_size=60), st.integers(1, 40))
def test_many_are_read_as_one_by_one(all_pieces: list[list[bytes]], every: int) -> None:
    """Whatever is in them: the same records, and the same reasons."""
    start = json.dumps(RECORD, separators=(",", ":")).encode()[:-1]
    chosen = [b"".join(pieces) if n % every == 0 else b"" for n, pieces in enumerate(all_pieces)]
    messages = [start + more + b"}" for more in chosen]
    records, reasons = [], {}
    for place, message in enumerate(messages):
        try:
            records.append(read_message(message, SCHEMA))
        except UnreadableError as error:
            reasons[place] = str(error)
    found = Messages(SCHEMA, messages, ())
    assert found.unreadable == reasons
    assert repr(found.records(range(len(records)))) == repr(records)
    rows = read_messages(messages, SCHEMA)
    assert rows is None or not reasons
