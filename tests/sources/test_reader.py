"""The corpus of bad input: every file ends as rows, quarantined lines, or one clear error; nothing is lost."""

from __future__ import annotations

import csv as csv_module
import gzip
import io
import json
import os
import time
import tracemalloc
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from microflow.errors import InputError
from microflow.records import Microflow
from microflow.sources import Quarantine, read_microflows
from microflow.sources.columns import Refusal

HEADER = "id,name,age,score,member,seen,note\n"
GOOD = "1,Ann,41,1.5,true,2021-03-14,fine\n"
NEXT = "2,Bob,52,2.5,false,2022,ok\n"


@dataclass(frozen=True)
class Bad:
    """One file: its bytes, and what must come of it."""

    name: str
    content: bytes
    suffix: str = ".csv"
    ids: list[int] = field(default_factory=list)
    quarantined: list[tuple[int, str, str]] = field(default_factory=list)
    """Line, column and a part of the reason."""
    error: str = ""
    """A part of the one clear error, where the file cannot be used at all."""


def csv(name: str, body: str | bytes, ids=(), quarantined=(), *, error="", header=HEADER, **more) -> Bad:
    content = body if isinstance(body, bytes) else (header + body).encode()
    return Bad(name, content, ids=list(ids), quarantined=list(quarantined), error=error, **more)


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def typed(**columns) -> pa.Table:
    whole = {
        "id": [1, 2], "name": ["Ann", "Bob"], "age": [41, 52], "score": [1.5, 2.5], "member": [True, False],
        "seen": ["2021-03-14", "2022"], "note": ["fine", "ok"],
    }  # fmt: skip
    return pa.table({**whole, **columns})


def line(**fields) -> str:
    return json.dumps({"id": 1, "name": "Ann", "age": 41, **fields}) + "\n"


def jsonl(name: str, body: str | bytes, ids=(), quarantined=(), *, error="") -> Bad:
    content = body if isinstance(body, bytes) else body.encode()
    return Bad(name, content, ".jsonl", list(ids), list(quarantined), error)


WHOLE = (HEADER + GOOD + NEXT).encode()
PARQUET = parquet(typed())
BIG = "x" * 2**20

CSV = [
    csv("utf8-bom", b"\xef\xbb\xbf" + WHOLE, [1, 2]),
    csv("utf16-le", WHOLE.decode().encode("utf-16"), [1, 2]),
    csv("utf16-be", b"\xfe\xff" + WHOLE.decode().encode("utf-16-be"), [1, 2]),
    csv("utf16-cut-in-half", WHOLE.decode().encode("utf-16")[:-1], [1], [(3, "", "not UTF-8")]),
    csv("utf16-half-surrogate",
        (HEADER + "1,A").encode("utf-16") + b"\x00\xd8" + ",,,,,\n2,B,,,,,\n".encode("utf-16-le"),
        [2], [(2, "", "not UTF-8")]),
    csv("latin1-row", HEADER.encode() + b"1,Jos\xe9,4,,,,\n" + NEXT.encode(), [2], [(2, "", "not UTF-8")]),
    csv("latin1-header", "id,name,é\n".encode("latin-1") + b"1,a,b\n", error="not UTF-8"),
    csv("overlong-utf8", HEADER.encode() + b"1,\xc0\xaf,4,,,,\n" + NEXT.encode(), [2], [(2, "", "not UTF-8")]),
    csv("encoded-surrogate", HEADER.encode() + b"1,\xed\xa0\x80,4,,,,\n", [], [(2, "", "not UTF-8")]),
    csv("short-row", GOOD + "2,Bob\n" + "3,C,,,,,\n", [1, 3], [(3, "", "7 fields expected, not 2")]),
    csv("long-row", GOOD + "2,Bob,1,1,true,2022,x,y\n", [1], [(3, "", "7 fields expected, not 8")]),
    csv("open-quote", '1,"Ann,41,,,,\n' + NEXT + "3,C,,,,,\n", [2, 3], [(2, "", "not delimited text")]),
    csv("open-quote-at-the-end", GOOD + '2,B,,,,,"never closed', [1], [(3, "", "not delimited text")]),
    csv("text-behind-a-quote", '1,"Ann"x,41,,,,\n' + NEXT, [2], [(2, "", "not delimited text")]),
    csv("two-open-quotes", '1,"Ann,41,,,,\n2,B,,,,,\n3,"C,,,,,\n4,D,,,,,\n', [2, 4], [(2, "", ""), (4, "", "")]),
    csv("quote-inside", '1,An"n,41,,,,\n' + NEXT, [1, 2]),
    csv("doubled-quote", '1,"An""n",41,,,,""""\n' + NEXT, [1, 2]),
    csv("newline-inside", '1,"Ann\nLee",41,,,,\n2,Bob\n', [1], [(4, "", "7 fields")]),
    csv("crlf-inside", '1,"Ann\r\nLee",41,,,,"a\n\nb"\r\n2,Bob\r\n', [1], [(6, "", "7 fields")]),
    csv("nul", "1,A\0nn,41,,,,\n" + NEXT, [2], [(2, "", "NUL")]),
    csv("nul-header", b"id,name\0,age,score,member,seen,note\n" + GOOD.encode(), error="the header lacks '"),
    csv("nothing-but-nul", b"\0" * 5_000, error="header"),
    csv("crlf", (HEADER + GOOD + NEXT).replace("\n", "\r\n").encode(), [1, 2]),
    csv("cr-only", (HEADER + GOOD + NEXT).replace("\n", "\r").encode(), [1, 2]),
    csv("mixed-line-ends", GOOD + NEXT.replace("\n", "\r\n") + "3,C,,,,,\r4,D,,,,,\n5\n", [1, 2, 3, 4], [(6, "", "")]),
    csv("no-last-newline", GOOD + NEXT.rstrip(), [1, 2]),
    csv("blank-lines", "\n" + GOOD + "\n\r\n" + NEXT + "3\n\n", [1, 2], [(7, "", "7 fields")]),
    csv("blanks-are-no-blank-line", GOOD + "   \n", [1], [(3, "", "7 fields expected, not 1")]),
    csv("duplicate-header", b"id,name,name,score,member,seen,note\n1,a,b,,,,\n", error="twice"),
    csv("missing-column", b"id,name\n1,a\n", error="the header lacks '"),
    csv("extra-column", HEADER.encode().replace(b"note", b"note,more") + b"1,,,,,,,\n", error="does not describe"),
    csv("reordered-columns", b"note,id,age,name,seen,member,score\nfine,1,41,Ann,2021,true,1.5\n", [1]),
    csv("no-header", GOOD.encode() + NEXT.encode(), error="the header lacks '"),
    csv("semicolons", WHOLE.replace(b",", b";"), error="the header lacks '"),
    csv("header-only", "", []),
    csv("empty", b"", error="empty"),
    csv("blank-lines-only", b"\n\n\n", error="empty"),
    csv("bom-only", b"\xef\xbb\xbf", error="empty"),
    csv("megabyte-cell", f"1,Ann,41,,,,{BIG}\n" + NEXT, [1, 2]),
    csv("megabyte-quoted", f'1,Ann,41,,,,"{BIG}\n{BIG}"\n' + "2\n", [1], [(4, "", "7 fields")]),
    csv("cell-too-long", f"1,Ann,41,,,,{BIG * 5}\n" + NEXT, [2], [(2, "", "not delimited text")]),
    csv("wrong-integer", "1,Ann,forty,,,,\n" + NEXT, [2], [(2, "age", "not a whole number")]),
    csv("decimal-integer", "1,Ann,41.5,,,,\n" + NEXT, [2], [(2, "age", "not a whole number")]),
    csv("hexadecimal-integer", "1,Ann,0x29,,,,\n" + NEXT, [2], [(2, "age", "not a whole number")]),
    csv("grouped-integer", "1,Ann,4_1,,,,\n" + NEXT, [2], [(2, "age", "not a whole number")]),
    csv("arabic-digits", "1,Ann,٤١,,,,\n" + NEXT, [2], [(2, "age", "not a whole number")]),
    csv("huge-integer", "1,Ann,99999999999999999999,,,,\n" + NEXT, [2], [(2, "age", "not a whole number")]),
    csv("nan", "1,Ann,41,NaN,,,\n" + NEXT, [2], [(2, "score", "not a finite number")]),
    csv("infinity", "1,Ann,41,inf,,,\n2,B,1,1e999,,,\n", [], [(2, "score", "finite"), (3, "score", "finite")]),
    csv("decimal-comma", '1,Ann,41,"1,5",,,\n' + NEXT, [2], [(2, "score", "not a finite number")]),
    csv("integer-beyond-64-bits", "1,Ann,9223372036854775808,,,,\n", [], [(2, "age", "of at most 64 bits")]),
    csv("utf-32", WHOLE.decode().encode("utf-32"), [1, 2]),
    csv("wrong-boolean", "1,Ann,41,,maybe,,\n" + NEXT, [2], [(2, "member", "neither true nor false")]),
    csv("month-13", "1,Ann,41,,,2021-13-01,\n" + NEXT, [2], [(2, "seen", "not an ISO 8601 date")]),
    csv("day-32", "1,Ann,41,,,2021-01-32,\n" + NEXT, [2], [(2, "seen", "not an ISO 8601 date")]),
    csv("february-30", "1,Ann,41,,,2021-02-30,\n" + NEXT, [2], [(2, "seen", "not an ISO 8601 date")]),
    csv("year-0", "1,Ann,41,,,0000-01-01,\n" + NEXT, [2], [(2, "seen", "not an ISO 8601 date")]),
    csv("american-date", "1,Ann,41,,,3/14/2021,\n" + NEXT, [2], [(2, "seen", "not an ISO 8601 date")]),
    csv("missing-id", ",Ann,41,,,,\n" + NEXT, [2], [(2, "id", "a required value is missing")]),
    csv("duplicate-id", GOOD + NEXT + GOOD, [1, 2], [(4, "id", "seen before")]),
    csv("two-faults-in-a-row", "1,Ann,x,y,z,,\n" + NEXT, [2], [(2, "age", "not a whole number")]),
    csv("na-is-missing", "1,NA,NA,NA,NA,NA,NA\n", [1]),
    csv("formula", "1,=1+1,41,,,,@x\n", [1]),
    csv("binary", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), error="header"),
    Bad("gzip", gzip.compress(WHOLE), ".csv.gz", [1, 2]),
    Bad("gzip-truncated", gzip.compress(WHOLE)[:-9], ".csv.gz", error="cut short"),
    Bad("gzip-corrupt", gzip.compress(WHOLE)[:20] + b"\xff" * 30, ".csv.gz", error="broken"),
    Bad("gzip-in-name-only", WHOLE, ".csv.gz", error="broken"),
    Bad("gzip-empty", b"", ".csv.gz", error="broken"),
    Bad("zstd-lines", pa.compress(b'{"id":1,"name":"Ann"}\n', "zstd", asbytes=True), ".jsonl.zst", [1]),
    Bad("zstd-truncated", pa.compress(WHOLE, "zstd", asbytes=True)[:-9], ".csv.zst", error="broken"),
    # A frame that asks for a window of 2 GiB, by its second byte (RFC 8878, 3.1.1.1.2).
    Bad("zstd-window", b"\x28\xb5\x2f\xfd\x00\xa8" + bytes(99), ".csv.zst", error="too much memory"),
    Bad("gzip-not-in-name", gzip.compress(WHOLE), ".csv", error="header"),
    Bad("unknown-suffix", WHOLE, ".docx", error="no format is known"),
]  # fmt: skip

JSON_LINES = [
    jsonl("json-good", line() + line(id=2, seen="2022-01", score=3), [1, 2]),
    jsonl("json-bom", b"\xef\xbb\xbf" + line().encode(), [1]),
    jsonl("json-broken-line", line() + '{"id": 2, "name"\n' + line(id=3), [1, 3], [(2, "", "not a JSON object")]),
    jsonl("json-array", line() + "[1, 2]\n", [1], [(2, "", "not a JSON object")]),
    jsonl("json-scalar", line() + "7\n", [1], [(2, "", "not a JSON object")]),
    jsonl("json-nan", line() + '{"id": 2, "score": NaN}\n', [1], [(2, "", "NaN is not JSON")]),
    jsonl("json-infinity", line() + '{"id": 2, "score": 1e999}\n', [1], [(2, "score", "not a finite number")]),
    jsonl("json-unknown-key", line() + line(id=2, extra=1), [1], [(2, "extra", "does not describe")]),
    jsonl("json-doubled-key", line() + '{"id": 2, "id": 3}\n', [1], [(2, "id", "twice")]),
    jsonl("json-nested", line() + line(id=2, note={"a": 1}), [1], [(2, "note", "no single value")]),
    jsonl("json-wrong-type", line() + line(id=2, age="x"), [1], [(2, "age", "not a whole number")]),
    jsonl("json-boolean-integer", line() + line(id=2, age=True), [1], [(2, "age", "not a whole number")]),
    jsonl("json-huge-integer", line() + line(id=2, age=2**70), [1], [(2, "age", "not a whole number")]),
    jsonl("json-endless-integer", line() + '{"id": ' + "9" * 5_000 + "}\n", [1], [(2, "", "")]),
    jsonl("json-half-surrogate", line() + '{"id": 2, "name": "\\ud800"}\n', [1], [(2, "name", "surrogate")]),
    jsonl("json-nul", line() + '{"id": 2, "name": "\\u0000"}\n', [1], [(2, "name", "NUL")]),
    jsonl("json-bad-utf8", line().encode() + b'{"id": 2, "name": "\xff"}\n', [1], [(2, "", "not a JSON object")]),
    jsonl("json-deep", line() + "[" * 100_000 + "\n", [1], [(2, "", "not a JSON object")]),
    jsonl("json-missing-id", line() + '{"name": "B"}\n', [1], [(2, "id", "a required value is missing")]),
    jsonl("json-duplicate-id", line() + line(), [1], [(2, "id", "seen before")]),
    jsonl("json-blank-lines", "\n" + line() + "\n\n", [1]),
    jsonl("json-empty", "", error="empty"),
    jsonl("json-pretty", json.dumps({"id": 1}, indent=1), [], [(1, "", ""), (2, "", ""), (3, "", "")]),
]

PARQUET_FILES = [
    Bad("parquet-good", PARQUET, ".parquet", [1, 2]),
    Bad("parquet-truncated", PARQUET[:-20], ".parquet", error="not a whole Parquet file"),
    Bad("parquet-half", PARQUET[: len(PARQUET) // 2], ".parquet", error="not a whole Parquet file"),
    Bad("parquet-corrupt", PARQUET[:40] + b"\xff" * 40 + PARQUET[80:], ".parquet", error="not a whole Parquet file"),
    Bad("parquet-empty", b"", ".parquet", error="not a whole Parquet file"),
    Bad("parquet-is-csv", WHOLE, ".parquet", error="not a whole Parquet file"),
    Bad("parquet-missing-column", parquet(typed().drop_columns("note")), ".parquet", error="lacks 'note'"),
    Bad("parquet-extra-column", parquet(typed(more=[1, 2])), ".parquet", error="does not describe"),
    Bad("parquet-doubled-column", parquet(typed().append_column("name", [["A", "B"]])), ".parquet", error="twice"),
    Bad("parquet-no-rows", parquet(typed().slice(0, 0)), ".parquet"),
    Bad("parquet-text-number", parquet(typed(age=["41", "x"])), ".parquet", [1], [(2, "age", "not a whole number")]),
    Bad("parquet-nan", parquet(typed(score=[1.0, float("nan")])), ".parquet", [1], [(2, "score", "finite")]),
    Bad("parquet-null-id", parquet(typed(id=[1, None])), ".parquet", [1], [(2, "id", "required")]),
    Bad("parquet-duplicate-id", parquet(typed(id=[1, 1])), ".parquet", [1], [(2, "id", "seen before")]),
    Bad("parquet-half-number", parquet(typed(age=[41.0, 41.5])), ".parquet", [1], [(2, "age", "not a whole number")]),
    Bad("parquet-bad-date", parquet(typed(seen=["2021", "soon"])), ".parquet", [1], [(2, "seen", "ISO 8601")]),
    Bad(
        "parquet-nested",
        parquet(typed(note=[{"a": 1}, {"a": 2}])),
        ".parquet",
        error="nested fields are described one by one: 'note.",
    ),
    Bad("parquet-nul", parquet(typed(name=["Ann", "B\0b"])), ".parquet", [1], [(2, "name", "NUL")]),
]

CORPUS = CSV + JSON_LINES + PARQUET_FILES


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_every_row_is_accepted_or_named(bad, tmp_path, read):
    """Each file of the corpus gives the rows, quarantined lines with column and reason, or the one error expected."""
    path = tmp_path / f"file{bad.suffix}"
    path.write_bytes(bad.content)
    if bad.error:
        with pytest.raises(InputError) as caught:
            read(path)
        assert bad.error in str(caught.value)
        assert str(path) in str(caught.value)
        return
    rows, log = read(path)
    assert [row["id"] for row in rows] == bad.ids
    found = [entry.split(",", 2) for entry in log]
    assert [(int(number), column) for number, column, _ in found] == [(n, c) for n, c, _ in bad.quarantined]
    assert all(part in reason for (_, _, reason), (_, _, part) in zip(found, bad.quarantined, strict=True))


def test_the_corpus_is_large():
    """At least sixty files, each under its own name."""
    assert len({bad.name for bad in CORPUS}) == len(CORPUS) >= 60


@pytest.mark.parametrize("bad", [bad for bad in CORPUS if bad.quarantined], ids=lambda bad: bad.name)
def test_the_raw_text_is_kept_on_request_only(bad, tmp_path, read):
    """Without the switch no value of a refused row is written anywhere; with it, each entry has a fourth field."""
    path = tmp_path / f"file{bad.suffix}"
    path.write_bytes(bad.content)
    _, log = read(path)
    assert all(entry.count(",") >= 2 and "Ann" not in entry and "Bob" not in entry for entry in log)
    _, raw = read(path, keep_raw=True)
    without, with_raw = next(csv_module.reader(log)), next(csv_module.reader(raw))
    assert with_raw[:-1] == without
    assert len(with_raw) == 4


@pytest.mark.parametrize("name", ["folder.csv", "folder.parquet", "folder.jsonl"])
def test_a_directory_is_refused(name, tmp_path, read):
    """A directory with a good name is no file."""
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="directory"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["none.csv", "none.parquet", "none.jsonl", "none.csv.gz"])
def test_an_absent_file_is_refused(name, tmp_path, read):
    """The error says that there is no such file."""
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_refused(tmp_path, read):  # pragma: no cover - not as root
    """A file without read permission ends in one line."""
    path = tmp_path / "secret.csv"
    path.write_bytes(WHOLE)
    path.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read(path)


def test_a_refused_permission_is_one_clear_error(tmp_path, people, monkeypatch):
    """For every user who runs the tests: a refusal of the system becomes an input error with its reason."""
    path = tmp_path / "secret.csv"
    path.write_bytes(WHOLE)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        list(read_microflows(path, people, quarantine=Quarantine()))


def test_a_pipe_is_read_once(tmp_path, read):
    """A named pipe works as a source: nothing is sought, nothing read twice."""
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    if os.fork() == 0:  # pragma: no cover - the child
        path.write_bytes(WHOLE)
        os._exit(0)
    rows, log = read(path)
    os.wait()
    assert [row["id"] for row in rows] == [1, 2]
    assert log == []


@pytest.mark.parametrize("suffix", [".jsonl.gz", ".jsonl.zst", ".csv.gz", ".csv.zst"])
def test_a_line_that_never_ends_is_refused_by_its_number_in_bounded_memory(tmp_path, read, suffix):
    """300 MB in one line, compressed to nothing: refused as line 2 (the first of JSON), its neighbour is kept."""
    head = HEADER if suffix.startswith(".csv") else ""
    good = GOOD if head else '{"id":1,"name":"Ann"}\n'
    pieces = [head.encode(), *[b"x" * 10**6] * 300, b"\n", good.encode()]
    path = tmp_path / f"bomb{suffix}"
    if suffix.endswith("gz"):
        with gzip.open(path, "wb", 1) as packed:
            packed.writelines(pieces)
    else:
        with pa.output_stream(path, "zstd") as stream:
            for piece in pieces:
                stream.write(piece)
    tracemalloc.start()
    rows, log = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == len(log) == 1
    assert log[0].startswith(f"{2 if head else 1},,")
    assert "a line of more than" in log[0]
    assert peak < 64 * 2**20


def test_long_lines_fill_a_block_before_there_are_many(tmp_path, people):
    """Forty lines of 3 MB are never held together."""
    path = tmp_path / "long.jsonl"
    with path.open("w") as file:
        for number in range(40):
            file.write(json.dumps({"id": number, "name": "x" * 3_000_000}) + "\n")
    tracemalloc.start()
    ids = [
        flow.rows.column("id").to_pylist() for flow in read_microflows(path, people, quarantine=Quarantine(), size=1)
    ]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ids == [[number] for number in range(40)]
    assert peak < 64 * 2**20


def test_counts_by_reason():
    """And a file of which every row is needed is refused with the most frequent one."""
    quarantine = Quarantine()
    for line, reason in ((2, "not a whole number"), (3, "not a whole number"), (4, "a NUL character")):
        quarantine.add(Refusal(line, "age", reason, ""))
    assert quarantine.total == 3
    assert quarantine.counts == {"not a whole number": 2, "a NUL character": 1}
    with pytest.raises(InputError, match=r"in\.csv: 3 rows cannot be read \(2: not a whole number\)"):
        quarantine.require_none("in.csv")
    Quarantine().require_none("in.csv")


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


def test_a_doubled_row_is_kept_on_request(tmp_path, read):
    """Like any other refused row, a repeated id's row can be seen in the quarantine."""
    path = tmp_path / "double.csv"
    path.write_text("id,name,age,score,member,seen,note\n1,A,1,1,1,2021,x\n1,B,2,,,,\n")
    _, log = read(path, keep_raw=True)
    assert log == ['3,id,this record id was seen before,"1,B,2,,,,"']


def test_a_dictionary_of_parquet_is_no_bomb(tmp_path, people):
    """A text of a megabyte that six hundred rows name is written out a few rows at a time."""
    path = tmp_path / "bomb.parquet"
    names = pa.DictionaryArray.from_arrays(pa.array([0] * 600, pa.int32()), pa.array([BIG]))
    columns = {name: pa.nulls(600, pa.string()) for name in people.names}
    table = pa.table({**columns, "id": range(600), "name": names})
    pq.write_table(table, path, store_schema=False)  # or Arrow would know that it was a dictionary
    assert path.stat().st_size < 2**20
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for flow in read_microflows(path, people, quarantine=Quarantine(), size=10):
        most, rows = max(most, pa.total_allocated_bytes() - before), rows + len(flow)
    assert rows == 600
    assert most < 2**27


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_lines_are_read_in_bounded_memory(suffix, tmp_path, people):
    """A compressed file is one split; what is held of it does not grow with it."""
    peaks = []
    for times in (1, 3):
        path = tmp_path / f"{times}.jsonl{suffix}"
        lines = (json.dumps({"id": n, "note": f"{n % 97:05d} " * 300}) + "\n" for n in range(8_000 * times))
        content = "".join(lines).encode()
        path.write_bytes(gzip.compress(content, 1) if suffix == ".gz" else pa.compress(content, "zstd", asbytes=True))
        del content
        tracemalloc.start()
        before, arrow, rows = pa.total_allocated_bytes(), 0, 0
        for flow in read_microflows(path, people, quarantine=Quarantine()):
            arrow, rows = max(arrow, pa.total_allocated_bytes() - before), rows + len(flow)
        peaks.append(tracemalloc.get_traced_memory()[1] + arrow)
        tracemalloc.stop()
        assert rows == 8_000 * times
    assert peaks[1] < 1.3 * peaks[0]


GROWING = {
    "csv": (".csv", lambda n: HEADER + "".join(f"{i},Ann,41,1.5,true,2021-03-14,fine\n" for i in range(n))),
    "csv-open-quotes": (".csv", lambda n: HEADER + '1,"Ann,41,,,,\n' * n),
    # Each line opens a quote where a row begins, and leaves one open where it goes on.
    "csv-open-both-ways": (".csv", lambda n: HEADER + 'x""","a\n' * n),
    "csv-ragged": (".csv", lambda n: HEADER + '1,"Ann"x\n' * n),
    "csv-one-cell": (".csv", lambda n: HEADER + '1,"' + "x\n" * n + '",,,,,\n'),
    "csv-carriage-returns": (".csv", lambda n: HEADER + "1,A,,,,,\r" * n),
    "jsonl": (".jsonl", lambda n: "".join(line(id=i) for i in range(n))),
    "jsonl-broken": (".jsonl", lambda n: "{\n" * n),
    "json-array": (".json", lambda n: "[" + ",".join(f'{{"id": {i}}}' for i in range(n)) + "]"),
    "json-deep": (".json", lambda n: '[{"id":1},' + "[" * n),
    "json-nested": (".jsonl", lambda n: '{"note": ' + '{"a":' * n + "1" + "}" * n + "}\n"),
}


@pytest.mark.parametrize("name", GROWING)
def test_time_grows_as_the_text_does(name, tmp_path, people):
    """Four times the text takes about four times as long, whatever it is; it would be sixteen were it quadratic."""
    suffix, make = GROWING[name]
    steps = []
    for count in (10_000, 40_000):
        path = tmp_path / f"{count}{suffix}"
        path.write_text(make(count), "utf-8", newline="")
        started = time.process_time()
        with suppress(InputError):
            list(read_microflows(path, people, quarantine=Quarantine()))
        steps.append(time.process_time() - started)
    assert steps[-1] < 8 * steps[0] + 0.2
