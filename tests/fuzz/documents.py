"""Fuzzed: documents that people write, and what comes from other machines - bundles, certificates."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pyarrow as pa
from hypothesis import strategies as st

from fuzz.inputs import SENTINEL, mutated, soup
from fuzz.rows import DESCRIPTOR, JSON_PIECES, described
from microflow.advise.release import CertificateError, fingerprint, issue, mismatches, read_certificate
from microflow.cli import cli
from microflow.cli.config import defaults_for
from microflow.compliance import BatchChecker, RecordChecker, RecordRemedy, load_policy
from microflow.descriptors import load_schema
from microflow.errors import InputError, MicroflowError
from microflow.lab.bundle import import_bundle
from microflow.lab.launch import Machine
from microflow.sources.columns import Refusals
from microflow.sources.reader import read_split
from microflow.sources.splits import Source

__all__ = ["DOCUMENTS"]

_SOURCE = Path(__file__).resolve().parent.parent.parent / "src" / "microflow"
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
        refusals = Refusals()
        for split in Source(source, schema).splits():
            for _ in read_split(split, schema, refusals):
                assert SENTINEL not in "".join(reason for _, _, reason, _ in refusals.take())
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
    schema = described()
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
    b"\n", b"[", b"]", b"=", b'"', b"'", b"[run]\n", b"[policy.check]\n", b"[[run]]\n", b"k = ", b"method = ",
    b"a.b = ", b"schema = ", b"{", b"}", b",", b"1", b"1e999", b"nan", b"2026-13-01", b"true", b'"""', b"\\u0000",
    b"\xff", b"\0",
]  # fmt: skip
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


_DOCUMENTS = [DESCRIPTOR.encode(), *_shipped("descriptors")]
_POLICIES = [_POLICY, *_shipped("compliance/policies")]
DOCUMENTS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Path, Any], None]]] = {
    "a descriptor": (mutated(_DOCUMENTS, _YAML) | soup(_YAML), _descriptor),
    "a policy": (mutated(_POLICIES, _YAML) | soup(_YAML), _policy),
    "microflow.toml": (mutated([_CONFIG], _TOML) | soup(_TOML), _config),
    "a bundle": (
        mutated([_zip(_trial())], JSON_PIECES)
        | mutated([_trial()], JSON_PIECES).map(_zip)
        | soup(JSON_PIECES).map(lambda crate: _zip(_trial(), crate)),
        _bundle,
    ),
    "a certificate": (mutated([_certified()[0]], JSON_PIECES) | soup(JSON_PIECES), _certificate),
}  # fmt: skip
