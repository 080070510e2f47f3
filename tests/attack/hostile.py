"""Hostile inputs: files, descriptors and policies that are broken, huge, deep, or meant to stall a parser."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from attack.stand import Outcome, judge, microflow
from fuzz.inputs import workbook

__all__ = ["SCHEMA", "cases", "hostile_file"]

SENTINEL = "Zq7-Sentinel-Vx9"
SCHEMA = """\
policy: hipaa
columns:
  id: {role: record_id, type: integer}
  name: {role: identifier, kind: name}
  age: {role: quasi_identifier, type: integer, low: 0, high: 120}
  notes: {role: free_text}
"""
_HEAD = b"id,name,age,notes\n"
_BEGUN = b'{"id":1,"name":"'
_GOOD = b"1,Ada,30,well\n2,Bob,31,ill\n"


def _delimited() -> Iterator[tuple[str, bytes]]:
    """Delimited text, each with the sentinel where a message might quote it."""
    s = SENTINEL.encode()
    yield "empty file", b""
    yield "header only", _HEAD
    yield "blank lines only", b"\n\n\n"
    yield "no header, values first", b"9," + s + b",30,x\n"
    yield "a name instead of an age", _HEAD + _GOOD + b"3,Eve," + s + b",x\n"
    yield "ragged rows", _HEAD + b"3," + s + b"\n" + _GOOD
    yield "too many fields", _HEAD + b"3," + s + b",1,2,3,4,5,6\n" + _GOOD
    yield "an open quote", _HEAD + b'3,"' + s + b",30,x\n" + _GOOD
    yield "every line opens a quote", _HEAD + b'3,"x,30,y\n' * 20_000
    yield "a quote inside a field", _HEAD + b'3,a"' + s + b'"b,30,x\n' + _GOOD
    yield "NUL bytes", _HEAD + b"3," + s + b"\0,30,x\n" + _GOOD
    yield "not UTF-8", _HEAD + b"3," + s + b"\xff\xfe,30,x\n" + _GOOD
    yield "UTF-16 without a mark", _HEAD.decode().encode("utf-16-le")
    yield "a lone mark", b"\xef\xbb\xbf"
    yield "carriage returns", _HEAD.replace(b"\n", b"\r") + _GOOD.replace(b"\n", b"\r")
    yield "mixed line ends", _HEAD + b"3,Eve,1,x\r\n4,Eve,2,y\r5,Eve,3,z\n"
    yield "20,000 columns", b",".join(b"c%d" % i for i in range(20_000)) + b"\n"
    yield "one line of 20 MB", _HEAD + b"3," + b"x" * 20_000_000 + b",30,y\n" + _GOOD
    yield "a header of 5 MB", b"x" * 5_000_000 + b"\n1\n"
    yield "a 400-digit number", _HEAD + b"3,Eve," + b"9" * 400 + b",x\n" + _GOOD
    yield "an exponent", _HEAD + b"3,Eve,1e999999,x\n" + _GOOD
    yield "not a number", _HEAD + b"3,Eve,NaN,x\n4,Eve,inf,x\n" + _GOOD
    yield "ids beyond 64 bits", _HEAD + b"99999999999999999999999,Eve,30,x\n" + _GOOD
    yield "doubled header", b"id,name,name,age,notes\n1,a,b,3,c\n"
    yield "unknown column", b"id,name,age,notes,weight\n1,a,3,c,d\n"
    yield "formulas", _HEAD + b"3,\"=cmd|' /C calc'!A0\",30,@x\n" + _GOOD
    yield "terminal escapes in the header", b"id,\x1b[31mname,age,notes\n1,a,3,c\n"
    for mark in (b"x://", b"1-", b"a@", b"+1 ", b"4111 ", b"::", b"1.", b"\xe2\x80\x8b", b"&#49;", b"((", b"2021-01-"):
        yield f"{mark.decode()!r} repeated in a cell", _HEAD + b'3,Eve,30,"' + mark * 100_000 + b'"\n'


def _json() -> Iterator[tuple[str, bytes]]:
    s, good = SENTINEL.encode(), b'{"id":1,"name":"Ada","age":30,"notes":"well"}\n'
    yield "an empty line", b"\n" + good
    yield "no object", b"[1,2]\n3\nnull\n" + good
    yield "cut short", b'{"id":1,"name":"' + s + b"\n" + good
    yield "deep nesting", b'{"id":' + b"[" * 100_000 + b"\n" + good
    yield "deep objects", b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n" + good
    yield "a 400-digit number", b'{"id":2,"name":"a","age":' + b"9" * 400 + b',"notes":"x"}\n' + good
    yield "a lone surrogate", b'{"id":2,"name":"\\ud800","age":3,"notes":"x"}\n' + good
    yield "duplicate keys", b'{"id":2,"name":"a","name":"' + s + b'","age":3,"notes":"x"}\n' + good
    yield "unknown keys", b'{"id":2,"name":"a","age":3,"notes":"x","weight":"' + s + b'"}\n' + good
    yield "wrong types", b'{"id":"x","name":[1],"age":{"a":"' + s + b'"},"notes":true}\n' + good
    yield "NaN and Infinity", b'{"id":2,"name":"a","age":NaN,"notes":"x"}\n{"id":3,"age":-Infinity}\n' + good
    yield "a line of 20 MB", b'{"id":2,"name":"' + b"x" * 20_000_000 + b'","age":3,"notes":"x"}\n' + good


#: YAML that must end in one clear line, as descriptor and as policy.
_YAML = {
    "empty": "",
    "a list": "- 1\n",
    "a tab": "columns:\n\tid: {}\n",
    "unclosed": "columns: {id: {role: [}\n",
    "an anchor bomb": "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(8)),
    "deep": "[" * 5_000,
    "deep mappings": "".join(" " * i + "a:\n" for i in range(2_000)),
    "an impossible date": "columns: {id: {low: 2026-13-45}}\nreference_date: 2026-13-01\n",
    "a Python object": "columns: !!python/object/apply:os.system ['touch pwned']\n",
    "a key twice": "columns: {id: {}}\ncolumns: {id: {}}\n",
    "a 400-digit number": "columns: {id: {type: integer, low: " + "9" * 400 + "}}\n",
    "a recursive alias": "columns: &a {id: *a}\n",
    "binary": "columns: \x00\x01\n",
    "a NUL as delimiter": 'columns: {id: {}}\nsource: {delimiter: "\\0"}\n',
    "an unknown word": "columns: {id: {rolle: identifier}}\n",
}


def cases(folder: Path, word: str = "") -> Iterator[Outcome]:
    """Every hostile input through ``microflow run``, by two methods where rows may survive."""
    (folder / "schema.yaml").write_text(SCHEMA)
    (folder / "good.csv").write_bytes(_HEAD + _GOOD)
    if word in (case := "csv: header only, k-anonymity"):
        yield hostile_file(folder, case, "header.csv", _HEAD, "k_anonymity")
    for suffix, files in ((".csv", _delimited), (".jsonl", _json)):
        yield from _files(folder, suffix, files, word)
    yield from _compressed(folder, word)
    yield from _documents(folder, word)
    yield from _environments(folder, word)


def _files(folder: Path, suffix: str, files: Callable[[], Iterator[tuple[str, bytes]]], word: str) -> Iterator[Outcome]:
    for number, (name, content) in enumerate(files()):
        method = ("k_anonymity", "tokenization", "differential_privacy")[number % 3]
        if word in (case := f"{suffix[1:]}: {name}"):
            yield hostile_file(folder, case, f"hostile-{number}{suffix}", content, method)


def hostile_file(folder: Path, case: str, name: str, content: bytes, method: str) -> Outcome:
    source, output = folder / name, folder / f"out-{name.removesuffix('.gz').removesuffix('.zst')}"
    source.write_bytes(content)
    metrics, quarantine = folder / f"{name}.metrics.json", folder / f"{name}.quarantine.csv"
    options = ("--schema", "schema.yaml", "--method", method, "--no-database")
    files = ("--metrics", metrics, "--quarantine", quarantine)
    ended = microflow("run", source, output, *options, "--k", "2", *files, folder=folder)
    return judge(case, ended, [SENTINEL], artefacts=(metrics, quarantine))


def _repeated(text: str | None, rows: int) -> bytes:
    """A few kilobytes of Parquet, of which each row names one and the same text, or none."""
    out = io.BytesIO()
    names = pa.nulls(rows, pa.string())
    if text is not None:
        names = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array([text], pa.string()))
    nothing = {name: pa.nulls(rows, kind) for name, kind in (("id", pa.int64()), ("age", pa.int64()))}
    table = pa.table({**nothing, "name": names, "notes": pa.nulls(rows, pa.string())})
    pq.write_table(table, out, store_schema=False, compression="zstd")
    return out.getvalue()


#: Case to file name, content and method; the content is made when its turn has come.
_PACKED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "gz: cut short": ("cut.csv.gz", lambda: gzip.compress(_HEAD + _GOOD)[:-9], "tokenization"),
    "gz: not gzip": ("not.csv.gz", lambda: _HEAD + _GOOD, "tokenization"),
    "gz: a bomb of one line": ("bomb.jsonl.gz", lambda: gzip.compress(_BEGUN + b"x" * 10**9), "tokenization"),
    "gz: a bomb of blank lines": ("blank.csv.gz", lambda: gzip.compress(_HEAD + b"\n" * 10**8), "tokenization"),
    "gz: a cell of a million lines": (
        "lines.csv.gz",
        lambda: gzip.compress(_HEAD + b'3,"' + b"x\n" * 1_000_000 + b'",30,y\n' + _GOOD),
        "k_anonymity",
    ),
    "gz: 100 lines of 3 MB": (
        "long.jsonl.gz",
        lambda: gzip.compress(b"".join(b'{"id":%d,"name":"' % n + b"x" * 3_000_000 + b'"}\n' for n in range(100))),
        "k_anonymity",
    ),
    "zst: a bomb of one line": (
        "bomb.jsonl.zst",
        lambda: pa.compress(_BEGUN + b"x" * 10**9, "zstd", asbytes=True),
        "tokenization",
    ),
    "zst: a window of 2 GiB": ("window.csv.zst", lambda: b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(99), "tokenization"),
    "xlsx: a cell far away": (
        "far.xlsx",
        lambda: workbook(
            '<row r="1048576"><c r="A1" t="str"><v>id</v></c><c r="XFD1048576" t="str"><v>1</v></c></row>'
        ),
        "tokenization",
    ),
    "parquet: a bomb of one text": ("bomb.parquet", lambda: _repeated("x" * 1_000_000, 300), "tokenization"),
    "parquet: a bomb of nothing": ("nothing.parquet", lambda: _repeated(None, 1_000_000), "tokenization"),
    "parquet: not parquet": ("not.parquet", lambda: b"PAR1" + b"\0" * 100 + b"PAR1", "tokenization"),
}


def _compressed(folder: Path, word: str) -> Iterator[Outcome]:
    for case, (name, content, method) in _PACKED.items():
        if word in case:
            yield hostile_file(folder, case, name, content(), method)


def _documents(folder: Path, word: str) -> Iterator[Outcome]:
    for number, (name, text) in enumerate(_YAML.items()):
        if word not in f"descriptor: {name}" and word not in f"policy: {name}":
            continue
        path = folder / f"hostile-{number}.yaml"
        path.write_text(text)
        run = ("run", "good.csv", f"y{number}.csv", "--method", "tokenization", "--no-database", "--schema")
        outcome = judge(f"descriptor: {name}", microflow(*run, path, folder=folder), allowed=(2,))
        yield _without_file(outcome, folder / "pwned")
        policy = microflow("policy", "check", path, folder=folder)
        yield _without_file(judge(f"policy: {name}", policy, allowed=(2,)), folder / "pwned")


def _without_file(outcome: Outcome, path: Path) -> Outcome:
    if path.exists():
        path.unlink()
        return Outcome(outcome.case, outcome.leaks, (*outcome.faults, "code from the document was run"))
    return outcome


def _environments(folder: Path, word: str) -> Iterator[Outcome]:
    addresses = {
        "a port that is no number": "postgresql://me:Zq7-Sentinel-Vx9@localhost:port/db",
        "another database": "mysql://me:Zq7-Sentinel-Vx9@localhost/db",
        "no address": "Zq7-Sentinel-Vx9",
        "a closed port": "postgresql://me:Zq7-Sentinel-Vx9@127.0.0.1:1/db",
        "a password in the query": "postgresql://localhost/db?password=Zq7-Sentinel-Vx9",
    }
    for name, url in addresses.items():
        if word not in f"DATABASE_URL: {name}":
            continue
        command = ("db", "url") if name in {"a closed port", "a password in the query"} else ("jobs",)
        ended = microflow(*command, folder=folder, DATABASE_URL=url)
        yield judge(f"DATABASE_URL: {name}", ended, [SENTINEL])
    for name, key in {"short": "00", "no hexadecimal": SENTINEL, "empty": ""}.items():
        if word not in f"token key: {name}":
            continue
        run = ("run", "good.csv", "key.csv", "--schema", "schema.yaml", "--method", "tokenization", "--no-database")
        ended = microflow(*run, folder=folder, MICROFLOW_TOKEN_KEY=key)
        yield judge(f"token key: {name}", ended, [SENTINEL], allowed=(2,))
