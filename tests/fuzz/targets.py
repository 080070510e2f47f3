"""What is fuzzed: a name, what it is given, and what must hold whatever that is.

Every target may raise the package's own errors and nothing else, in a time that is linear in what it was given; where
rows are read, none gets lost; and no message quotes a value.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import msgspec
import pyarrow as pa
from hypothesis import strategies as st

from fuzz.inputs import SENTINEL, compressed, mutated, parquet, sheet, soup
from microflow.advise.certificate import CertificateError, fingerprint, issue, mismatches, read_certificate
from microflow.anonymize.contract import Method, MethodSettings
from microflow.anonymize.generalise import parse
from microflow.assess.labels import Domain, read_labels
from microflow.cli import cli
from microflow.cli.config import defaults_for
from microflow.compliance import BatchChecker, RecordChecker, RecordRemedy, load_policy
from microflow.compliance.patterns import PATTERN_NAMES
from microflow.compliance.scanner import TextScanner
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import InputError, MicroflowError
from microflow.lab.bundle import import_bundle
from microflow.lab.machine import Machine
from microflow.pipeline import JobSpec, PipelineOrchestrator
from microflow.schema import Column, DatasetSchema, Dtype, Hierarchy, Role
from microflow.sources.columns import Refusal
from microflow.sources.reader import read_split
from microflow.sources.record_ids import SeenIds
from microflow.sources.splits import Source

__all__ = ["TARGETS", "Target", "try_one"]

#: Processor time that an input may take: a start, and so much for each byte; ten times what it takes undisturbed.
_SECONDS, _SECONDS_A_BYTE = 2.0, 2e-5
_SOURCE = Path(__file__).resolve().parent.parent.parent / "src" / "microflow"


@dataclass(frozen=True)
class Target:
    """``check`` gets a folder and an input, and raises what is wrong; ``inputs`` are its inputs."""

    inputs: st.SearchStrategy[Any]
    check: Callable[[Path, Any], None]
    unpacks: int = 1
    """What a byte of it may grow to."""


def try_one(target: Target, given: Any) -> None:
    """One input, in the time it may take."""
    os.environ["MICROFLOW_TOKEN_KEY"] = "5e" * 32
    with tempfile.TemporaryDirectory(prefix="microflow-fuzz-") as folder:
        started = time.process_time()
        target.check(Path(folder), given)
        took = time.process_time() - started
    size = len(given if isinstance(given, bytes | str) else repr(given))
    most = _SECONDS + _SECONDS_A_BYTE * size * target.unpacks
    assert took < most, f"{took:.1f} s of processor time, more than {most:.1f} s"


# --- Readers: a whole job on a file. ---

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
_NAMES = ("id", "name", "age", "born", "cost", "notes")
_ROW = b"1,Ada,30,1990-01-02,2.5,well\n"
_GOOD = b"id,name,age,born,cost,notes\n" + _ROW + b'2,"Bob, ""B""",31,1991-02-03,3,"two\nlines"\n' * 3
_S = SENTINEL.encode()
_CSV = [
    *(
        b",",
        b'"',
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b'""',
        b'","',
        b'"\n',
        b" ",
        b"'=",
        b"\t",
        b"\xff",
        b"\xef\xbb\xbf",
        _S,
    ),
    *(
        b"1",
        b"30",
        b"1990-01-02",
        b"1e999",
        b"nan",
        b"a@b.io ",
        b"x://",
        b"4111 1111 1111 1111 ",
        b"\xe2\x80\xae",
        _ROW,
    ),
]
_XML = [b"<c>", b"</c>", b"<row>", b"<v>", b"&#0;", b' r="B2"', b"<!DOCTYPE a>", b"<is><t>"]
_LINE = b'{"id":1,"name":"Ada","age":30,"born":"1990-01-02","cost":2.5,"notes":"well"}'
_LINES = b"\n".join([_LINE, _LINE.replace(b":1,", b":2,"), b""])
_JSON = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b":",
        b",",
        b"\n",
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"null",
        b"true",
        b"NaN",
        b"\xff",
    ),
    *(
        b'"id":',
        b'"name":',
        b'"age":',
        b'{"a":',
        b"1",
        b"-0",
        b"9" * 400,
        b"1e999",
        b'"%s"' % _S,
        b'"a.b":',
        _LINE,
        b" ",
    ),
]


@cache
def _schema(text: str = DESCRIPTOR) -> DatasetSchema:
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
    seen, accepted, refused = SeenIds(), list[Any](), list[Refusal]()
    for split in Source(source, _schema(), split_bytes=split_bytes).splits():
        for rows in read_split(split, _schema(), seen=seen):
            accepted += [repr(row) for row in rows.batch.to_pylist()]
            refused += rows.refused
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
    head, _, rest = content.lstrip().partition(b"\n")
    is_a_value = _S not in head and not re.search(rb'%s[^",]*"\s*:' % _S, rest)
    assert SENTINEL not in said or not is_a_value, f"quoted: {said}"


# --- Documents that people write. ---

_YAML = [
    b"\n", b"  ", b": ", b"- ", b"{", b"}", b"[", b"]", b", ", b"&a ", b"*a", b"!!int ", b"<<: ", b"'", b'"', b"#",
    b"|\n", b"\t", b"~", b"null", b"-1", b"1e999", b".inf", b".nan", b"9" * 400, b"2026-13-01", b"true", b"\xff",
    b"\0", b"a", b"columns: ", b"role: quasi_identifier", b"type: number", b"kind: date", b"low: ", b"high: ",
    b"categories: ", b"hierarchy: ", b"tree: ", b"prefix: ", b"ordered: yes", b"share: ", b"format: ", b"source: ",
    b"delimiter: ", b"rules: ", b"id: a", b"condition: ", b"applies_to: ", b"remedy: ", b"above: ", b"one_of: ",
    b"when: ", b"kinds: ", b"include: ", b"reference_date: ", b"older_than_days: ", b"missing: yes",
    b"contains: email", b"encoding: ", b"quote: ",
]  # fmt: skip
_POLICY = b"""\
name: own
reference_date: 2026-01-01
rules:
  - {id: old, condition: {older_than_days: 9}, remedy: suppress_row, applies_to: {columns: [born]}}
  - {id: dear, condition: {above: 9.5}, remedy: cap, applies_to: {columns: [cost]}, severity: high}
  - id: mail
    condition: {contains: email}
    remedy: redact
    applies_to: {roles: [free_text]}
  - id: word
    condition: {one_of: [a, 'No', 01]}
    remedy: null
    applies_to: {kinds: [name], columns: [notes]}
    when: [{kind: date, present: yes}]
"""


def _shipped(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((_SOURCE / folder).glob("*.yaml"))]


def _descriptor(folder: Path, content: bytes) -> None:
    """What is accepted reads a file of its columns."""
    path, source = folder / "d.yaml", folder / "in.csv"
    path.write_bytes(content)
    try:
        schema = load_schema(path)
        cells = ["1", "x", "2020-02-29", "0.5", "", SENTINEL, "true", "12:30"]
        with source.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows(
                [schema.names, *([cells[(n + i) % 8] for i in range(len(schema.names))] for n in range(8))]
            )
        for split in Source(source, schema).splits():
            for rows in read_split(split, schema):
                assert SENTINEL not in "".join(reason for _, _, reason, _ in rows.refused)
    except MicroflowError:
        return  # a header that the descriptor denies is a value


_RECORDS = [
    {"id": 1, "name": "Ada", "age": 30, "born": "1990-01-02", "cost": 2.5, "notes": "a@b.io, 4111 1111 1111 1111"},
    {"id": 2, "name": None, "age": None, "born": None, "cost": None, "notes": None},
    {"id": 3, "name": "a", "age": -1, "born": "0001-01-01", "cost": 1e300, "notes": ""},
]


def _policy(folder: Path, content: bytes) -> None:
    """What is accepted compiles, and both compiled forms find the same."""
    path = folder / "p.yaml"
    path.write_bytes(content)
    schema = _schema()
    try:
        policy = load_policy(path)
        batch, record = BatchChecker(policy, schema), RecordChecker(policy, schema)
        remedy = RecordRemedy(policy, schema)
    except MicroflowError:
        return
    rows = pa.RecordBatch.from_pylist(_RECORDS, schema.arrow)
    found: list[list[Any]] = [[] for _ in _RECORDS]
    for row, violation in batch.violations(batch.check(rows)):
        found[row].append(violation)
    assert found == [record.check(one) for one in _RECORDS]
    for one, violations in zip(_RECORDS, found, strict=True):
        remedied = remedy.apply(one, violations)
        assert remedied is None or not record.check(remedied), "a remedy leaves what was found"


_TOML = [
    *(
        b"\n",
        b"[",
        b"]",
        b"=",
        b'"',
        b"'",
        b"[run]\n",
        b"[policy.check]\n",
        b"[[run]]\n",
        b"k = ",
        b"method = ",
        b"a.b = ",
    ),
    *(
        b"schema = ",
        b"{",
        b"}",
        b",",
        b"1",
        b"1e999",
        b"nan",
        b"2026-13-01",
        b"true",
        b'"""',
        b"\\u0000",
        b"\xff",
        b"\0",
    ),
]
_CONFIG = b'schema = "visits.yaml"\n[run]\nmethod = "k_anonymity"\nk = 10\n[policy.check]\nschema = "a"\n'


def _config(folder: Path, content: bytes) -> None:
    path = folder / "microflow.toml"
    path.write_bytes(content)
    for command in ("run", "policy"):
        context = click.Context(cli)
        context.invoked_subcommand = command
        try:
            defaults = defaults_for(path, context)
        except MicroflowError:
            continue
        assert set(defaults) <= {command}


# --- What arrives, what is searched, what was released. ---


@cache
def _service(*, hybrid: bool) -> MessageService:
    spec = ProcessingSpec(_schema(), load_policy("combined"), MethodSettings(Method.TOKENIZATION), key=bytes(range(32)))
    return MessageService(spec, hybrid=hybrid)


def _messages(_: Path, messages: list[bytes]) -> None:
    """Each is released, suppressed or unreadable, alike one by one and together; its neighbours are untouched."""
    alone = _service(hybrid=False)(messages)
    together = _service(hybrid=True)([*messages, *[_LINE] * 40])
    assert together[: len(messages)] == alone
    assert together[len(messages) :] == _service(hybrid=False)([_LINE]) * 40
    for outcome in alone:
        assert outcome.unreadable is None or (SENTINEL not in outcome.unreadable and outcome.released is None)
        assert outcome.released is None or msgspec.json.decode(outcome.released).keys() <= set(_NAMES)


_TEXTS = [
    *("x://", "www.", "a@b.io", "@", "4111 1111 1111 1111", "4111", "123-45-6789", "+1 ", "(415) 555-0123", "555-0123"),
    *(
        "10.1.2.3",
        "2001:db8::1",
        "::",
        "1.",
        "MRN: 00123456",
        "GB82WEST12345698765432",
        "2021-03-04",
        "31/12/2021",
        "May ",
    ),
    *(
        "\u202e",
        "\u200b",
        "٣",
        "１",
        "‐",
        "&#49;",
        "&#x31;",
        "\\u0031",
        " ",
        "-",
        ".",
        "\n",
        "\0",
        "(",
        "é",
        "\U0001f600",
        "x",
    ),
]


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
    *"{}[],-*\\ .",
    "null",
    "{null,",
    "[1-2]",
    "[a - b]",
    "9**",
    "1e999",
    "-",
    "30",
    "A",
    "B",
    "A*",
    "{x}",
    "\\",
    "٣",
    "nan",
]


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


# --- What comes from other machines. ---


@cache
def _trial() -> bytes:
    machine = {
        name: 1 if kind is int else 1.0 if kind is float else "x" for name, kind in Machine.__annotations__.items()
    }
    usage = {"wall_s": 1.0, "cpu_s": 1.0, "peak_rss_bytes": 1, "rss_before_bytes": 1}
    metrics = {"result": {"note": 1}, "load_before": 0.0, "load_after": 0.0, "usage": usage}
    trial = {"config": {"rows": 1}, "config_hash": "0" * 64, "metrics": metrics, "machine": machine}
    rest = {"versions": {"python": "3"}, "git": "abc", "seed": 1, "samples": {"ns": [1.0, 2.5]}}
    return json.dumps(trial | rest).encode() + b"\n"


def _zip(trials: bytes, metadata: bytes | None = None) -> bytes:
    part = {"@id": "trials/one.jsonl", "@type": "File", "sha256": hashlib.sha256(trials).hexdigest()}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        crate = metadata if metadata is not None else json.dumps({"@graph": [part]}).encode()
        for name, content in (("ro-crate-metadata.json", crate), ("trials/one.jsonl", trials)):
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def _recorded(trials: Iterable[tuple[str, Mapping[str, Any]]]) -> int:
    return sum(json.dumps(trial, allow_nan=False) != "" and bool(name) for name, trial in trials)


def _bundle(folder: Path, content: bytes) -> None:
    """Refused in one line that is not long, or every trial is whole."""
    path = folder / "bundle.zip"
    path.write_bytes(content)
    said = ""
    try:
        import_bundle(SimpleNamespace(record_new=_recorded), path)  # type: ignore[arg-type]
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 1_000


@cache
def _certified() -> tuple[bytes, bytes]:
    release = b"age,zip\n30-39,021*\n30-39,021*\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.csv")
        path.write_bytes(release)
        known = fingerprint(path)
    sections = {
        "microflow": "1.0", "created": "2026-11-29", "input": {}, "output": {**known, "rows": 2},
        "descriptor": {}, "policy": {}, "method": {"k": 2}, "counts": {}, "guarantee": {"k": 2, "l": None, "t": 0.5},
        "risk": {"linkage": 0.25}, "passed_unprotected": ["triage"], "thresholds": {}, "verdict": "passed",
    }  # fmt: skip
    return issue(sections), release


def _certificate(folder: Path, content: bytes) -> None:
    """Nothing but the certificate that was issued belongs to the release."""
    issued, release = _certified()
    path, output = folder / "c.json", folder / "out.csv"
    path.write_bytes(content)
    output.write_bytes(release)
    try:
        contradictions = mismatches(read_certificate(path), output, {"rows": 2, "k": 2, "t": 0.5})
    except (InputError, CertificateError):
        contradictions = ["refused"]
    assert contradictions or content == issued


def _lists(one: st.SearchStrategy[Any], most: int = 6) -> st.SearchStrategy[list[Any]]:
    return st.lists(one, min_size=1, max_size=most)


def _strings(pieces: list[str], most: int = 12) -> st.SearchStrategy[str]:
    piece = st.sampled_from(pieces) | st.sampled_from(pieces) | st.text(max_size=3)
    often = st.sampled_from([1] * 20 + [2, 3, 70, 2_000])
    return st.lists(st.builds(lambda one, times: one * times, piece, often), max_size=most).map("".join)


_DELIMITED = soup(_CSV).map(lambda rest: _GOOD + rest) | mutated([_GOOD], _CSV) | soup(_CSV)
_OBJECTS = mutated([_LINES], _JSON) | soup(_JSON)
_DOCUMENTS = [DESCRIPTOR.encode(), *_shipped("descriptors")]
_POLICIES = [_POLICY, *_shipped("compliance/policies")]
TARGETS: dict[str, Target] = {
    "delimited text": Target(_DELIMITED, partial(_read, "in.csv")),
    "JSON Lines": Target(_OBJECTS, partial(_read, "in.jsonl")),
    "a JSON array": Target(soup(_JSON).map(lambda one: b"[" + _LINE + one) | _OBJECTS, partial(_read, "in.json")),
    "Parquet": Target(parquet(_NAMES), partial(_read, "in.parquet")),
    "a spreadsheet": Target(sheet(_NAMES, [*_CSV, *_XML]), partial(_read, "in.xlsx")),
    "gzip": Target(compressed(_DELIMITED), partial(_read, "in.csv.gz"), unpacks=500),
    "Zstandard": Target(
        mutated([pa.compress(_GOOD, "zstd", asbytes=True)], [b"\x28\xb5\x2f\xfd", b"\0", b"\xff"]),
        partial(_read, "in.csv.zst"),
    ),
    "a job": Target(
        st.tuples(st.just("in.csv"), _DELIMITED)
        | st.tuples(st.just("in.jsonl"), _OBJECTS)
        | st.tuples(st.just("in.parquet"), parquet(_NAMES)),
        _job,
    ),
    "a descriptor": Target(mutated(_DOCUMENTS, _YAML) | soup(_YAML), _descriptor),
    "a policy": Target(mutated(_POLICIES, _YAML) | soup(_YAML), _policy),
    "microflow.toml": Target(mutated([_CONFIG], _TOML) | soup(_TOML), _config),
    "messages": Target(_lists(mutated([_LINE], _JSON) | soup(_JSON, 8)), _messages),
    "free text": Target(_lists(_strings(_TEXTS), 4), _text),
    "labels": Target(_lists(st.none() | _strings(_MARKS)), _labels),
    "a bundle": Target(
        mutated([_zip(_trial())], _JSON)
        | mutated([_trial()], _JSON).map(_zip)
        | soup(_JSON).map(lambda crate: _zip(_trial(), crate)),
        _bundle,
    ),
    "a certificate": Target(mutated([_certified()[0]], _JSON) | soup(_JSON), _certificate),
}  # fmt: skip
