"""Fuzzed: whatever holds rows and values - files, messages, texts, labels - and what must hold of each."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import tempfile
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import strategies as st

from fuzz.inputs import SENTINEL, compressed, mutated, parquet, sheet, soup
from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.generalise import parse
from microflow.assess.labels import Domain, read_labels
from microflow.compliance import load_policy
from microflow.compliance.patterns import PATTERN_NAMES
from microflow.compliance.scanner import TextScanner
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import InputError, MicroflowError
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role
from microflow.sources.columns import Refusal, Refusals
from microflow.sources.reader import read_split
from microflow.sources.record_ids import SeenIds
from microflow.sources.splits import Source

__all__ = ["DESCRIPTOR", "JSON_PIECES", "NAMES", "ROWS", "described"]

DESCRIPTOR = """\
policy: combined
columns:
  id: {role: record_id, type: integer}
  name: {role: identifier, kind: name}
  age: {role: quasi_identifier, type: integer, low: 0, high: 120}
  born: {role: quasi_identifier, kind: date, type: date}
  cost: {role: sensitive, type: number, low: 0, high: 1000}
  notes: {role: free_text}
"""
NAMES = ("id", "name", "age", "born", "cost", "notes")
_ROW = b"1,Ada,30,1990-01-02,2.5,well\n"
_GOOD = b"id,name,age,born,cost,notes\n" + _ROW + b'2,"Bob, ""B""",31,1991-02-03,3,"two\nlines"\n' * 3
_S = SENTINEL.encode()
_CSV = [
    b",", b'"', b"\n", b"\r\n", b"\r", b"\0", b'""', b'","', b'"\n', b" ", b"'=", b"\t", b"\xff", b"\xef\xbb\xbf", _S,
    b"1", b"30", b"1990-01-02", b"1e999", b"nan", b"a@b.io ", b"x://", b"4111 1111 1111 1111 ", b"\xe2\x80\xae", _ROW,
]  # fmt: skip
_XML = [b"<c>", b"</c>", b"<row>", b"<v>", b"&#0;", b' r="B2"', b"<!DOCTYPE a>", b"<is><t>"]
_LINE = b'{"id":1,"name":"Ada","age":30,"born":"1990-01-02","cost":2.5,"notes":"well"}'
_LINES = b"\n".join([_LINE, _LINE.replace(b":1,", b":2,"), b""])
JSON_PIECES = [
    b"{", b"}", b"[", b"]", b'"', b":", b",", b"\n", b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN", b"\xff",
    b'"id":', b'"name":', b'"age":', b'{"a":', b"1", b"-0", b"9" * 400, b"1e999", b'"%s"' % _S, b'"a.b":', _LINE,
    b" ",
]  # fmt: skip


@cache
def described(text: str = DESCRIPTOR) -> DatasetSchema:
    with tempfile.NamedTemporaryFile(suffix=".yaml") as file:
        Path(file.name).write_text(text)
        return load_schema(file.name)


def _read(name: str, folder: Path, content: bytes) -> None:
    """Every row is accepted or refused, whole or in splits; nothing that is said quotes a value."""
    source = folder / name
    source.write_bytes(content)
    try:
        accepted, refused = _rows_of(source, 2**62)
    except InputError as error:
        _must_not_quote(str(error), content)
        return
    assert _rows_of(source, 64) == (accepted, refused), "splits read otherwise than the whole"
    said = "".join(reason + column for _, column, reason, _ in refused)
    _must_not_quote(said, content)
    text = content.removeprefix(b"\xef\xbb\xbf")
    if name.endswith(".jsonl") and not text.lstrip().startswith(b"["):
        assert len(accepted) + len(refused) == sum(bool(line.strip()) for line in text.split(b"\n"))
    if name.endswith(".csv") and b'"' not in content:
        assert len(accepted) + len(refused) == len([line for line in re.split(rb"\r\n|\r|\n", text) if line]) - 1


def _rows_of(source: Path, split_bytes: int) -> tuple[list[Any], list[Refusal]]:
    seen, refusals, accepted, refused = SeenIds(), Refusals(), list[Any](), list[Refusal]()
    for split in Source(source, described(), split_bytes=split_bytes).splits():
        for rows in read_split(split, described(), refusals, seen=seen):
            accepted += [repr(row) for row in rows.to_pylist()]
            refused += refusals.take()
    return accepted, refused


def _job(folder: Path, given: tuple[str, bytes]) -> None:
    """Rows add up in the metrics and in the files; nothing that is written but the output quotes a value."""
    name, content = given
    source, output, refused = folder / name, folder / "out.csv", folder / "refused.csv"
    source.write_bytes(content)
    (folder / "schema.yaml").write_text(DESCRIPTOR)
    turn = int.from_bytes(hashlib.sha256(content).digest()[:2], "big")
    method = MethodSettings(list(Method)[turn % len(Method)], k=2, seed=1)
    job = JobSpec(source, output, str(folder / "schema.yaml"), method, quarantine=refused, workers=0)
    try:
        document = PipelineOrchestrator(None).run(job)
    except MicroflowError as error:
        _must_not_quote(str(error), content)
        return
    counts = document["processing_metrics"]
    assert counts["total_records"] == counts["released"] + counts["suppressed"], counts
    assert _rows(output) == counts["released"]
    said = refused.read_text("utf-8") if refused.exists() else ""
    assert (_rows(refused) if said else 0) == counts["quarantined"]
    said += json.dumps(document)
    _must_not_quote(said, content)


def _rows(path: Path) -> int:
    csv.field_size_limit(2**30)
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file, strict=True)) - 1


def _must_not_quote(said: str, content: bytes) -> None:
    """No value is quoted; where the sentinel stands in the names of columns or keys, it is none."""
    if SENTINEL in said:
        head, _, rest = content.lstrip().partition(b"\n")
        assert _S in head or re.search(rb'%s[^",]*"\s*:' % _S, rest), f"quoted: {said}"


@cache
def _service(*, hybrid: bool) -> MessageService:
    spec = ProcessingSpec(
        described(), load_policy("combined"), MethodSettings(Method.TOKENIZATION), key=bytes(range(32))
    )
    return MessageService(spec, hybrid=hybrid)


def _messages(_: Path, messages: list[bytes]) -> None:
    """Each is released, suppressed or unreadable, alike one by one and together; its neighbours are untouched."""
    alone = _service(hybrid=False)(messages)
    together = _service(hybrid=True)([*messages, *[_LINE] * 40])
    assert together[: len(messages)] == alone
    assert together[len(messages) :] == _service(hybrid=False)([_LINE]) * 40
    for outcome in alone:
        assert outcome.unreadable is None or (SENTINEL not in outcome.unreadable and outcome.released is None)
        assert outcome.released is None or msgspec.json.decode(outcome.released).keys() <= set(NAMES)


_TEXTS = [
    "x://", "www.", "a@b.io", "@", "4111 1111 1111 1111", "4111", "123-45-6789", "+1 ", "(415) 555-0123", "555-0123",
    "10.1.2.3", "2001:db8::1", "::", "1.", "MRN: 00123456", "GB82WEST12345698765432", "2021-03-04", "31/12/2021",
    "May ", "\u202e", "\u200b", "٣", "１", "‐", "&#49;", "&#x31;", "\\u0031", " ", "-", ".", "\n", "\0", "(", "é",
    "\U0001f600", "x",
]  # fmt: skip


@cache
def _scanner() -> TextScanner:
    return TextScanner(PATTERN_NAMES)


def _text(_: Path, texts: list[str]) -> None:
    """Spans lie within their text, one behind the other, and are the same for many texts at once."""
    found = [_scanner().spans(text) for text in texts]
    for text, spans in zip(texts, found, strict=True):
        ends = [place for _, start, end in spans for place in (start, end)]
        assert ends == sorted(ends)
        assert all(0 <= start < end <= len(text) for _, start, end in spans)
    together: list[list[Any]] = [[] for _ in texts]
    for index, span in _scanner().spans_in(texts):
        together[index].append(span)
    assert [sorted(spans, key=lambda span: span[1]) for spans in together] == found


_COLUMNS = [
    Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER, low=0, high=100),
    Column("cost", Role.QUASI_IDENTIFIER, Dtype.NUMBER, hierarchy=Hierarchy(prefix=(1, 2))),
    Column("town", Role.QUASI_IDENTIFIER, categories=("A", "B", "A*", "[a", "{x}", "a,b")),
    Column("zip", Role.QUASI_IDENTIFIER, hierarchy=Hierarchy(prefix=(1, 3))),
]
_MARKS = [
    *"{}[],-*\\ .", "null", "{null,", "[1-2]", "[a - b]", "9**", "1e999", "-", "30", "A", "B", "A*", "{x}", "\\", "٣",
    "nan",
]  # fmt: skip


def _labels(_: Path, texts: list[str | None]) -> None:
    """Any released text is read: as a label or as a value, with a width from 0 to 1."""
    for column in _COLUMNS:
        values = [30, 41, None] if column.is_numeric else ["A", "A*", None]
        original = pa.chunked_array([pa.array(values, column.dtype.arrow)])
        labels = read_labels(
            Domain(column, original), pa.chunked_array([pa.array(texts, pa.string())]), None, generalised=True
        )
        assert len(labels.width) <= len(texts)
        assert ((labels.width >= 0) & (labels.width <= 1)).all(), labels.width
        for text in texts:
            label = parse(text, column)
            assert isinstance(label.covers(values[0]), bool)


def _lists(one: st.SearchStrategy[Any], most: int = 6) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, min_size=1, max_size=most)


def _strings(pieces: list[str], most: int = 12) -> st.SearchStrategy[str]:
    piece = st.sampled_from(pieces) | st.sampled_from(pieces) | st.text(max_size=3)
    often = st.sampled_from([1] * 20 + [2, 3, 70, 2_000])
    return st.lists(st.builds(lambda one, times: one * times, piece, often), max_size=most).map("".join)


_DELIMITED = soup(_CSV).map(lambda rest: _GOOD + rest) | mutated([_GOOD], _CSV) | soup(_CSV)
_OBJECTS = mutated([_LINES], JSON_PIECES) | soup(JSON_PIECES)
ROWS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Path, Any], None]]] = {
    "delimited text": (_DELIMITED, partial(_read, "in.csv")),
    "JSON Lines": (_OBJECTS, partial(_read, "in.jsonl")),
    "a JSON array": (soup(JSON_PIECES).map(lambda one: b"[" + _LINE + one) | _OBJECTS, partial(_read, "in.json")),
    "Parquet": (parquet(NAMES), partial(_read, "in.parquet")),
    "a spreadsheet": (sheet(NAMES, [*_CSV, *_XML]), partial(_read, "in.xlsx")),
    "gzip": (compressed(_DELIMITED), partial(_read, "in.csv.gz")),
    "Zstandard": (
        mutated([pa.compress(_GOOD, "zstd", asbytes=True)], [b"\x28\xb5\x2f\xfd", b"\0", b"\xff"]),
        partial(_read, "in.csv.zst"),
    ),
    "a job": (
        st.tuples(st.just("in.csv"), _DELIMITED)
        | st.tuples(st.just("in.jsonl"), _OBJECTS)
        | st.tuples(st.just("in.parquet"), parquet(NAMES)),
        _job,
    ),
    "messages": (_lists(mutated([_LINE], JSON_PIECES) | soup(JSON_PIECES, 8)), _messages),
    "free text": (_lists(_strings(_TEXTS), 4), _text),
    "labels": (_lists(st.none() | _strings(_MARKS)), _labels),
}  # fmt: skip
