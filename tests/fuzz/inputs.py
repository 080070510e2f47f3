"""What readers are given: pieces of a format in any order, some repeated very often, and good files with bad places."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

__all__ = ["SENTINEL", "compressed", "mutated", "parquet", "sheet", "soup"]

#: A value that no message may quote.
SENTINEL = "Zq7-Sentinel-Vx9"
Bytes = st.SearchStrategy[bytes]


def soup(pieces: Sequence[bytes], most: int = 30) -> Bytes:
    """Pieces in any order; now and then one is repeated thousands of times."""
    piece = st.sampled_from(pieces) | st.sampled_from(pieces) | st.binary(max_size=6)
    often = st.sampled_from([1] * 12 + [2, 3, 70, 3_000, 20_000])
    return st.lists(st.builds(lambda one, times: one * times, piece, often), max_size=most).map(b"".join)


def mutated(goods: Sequence[bytes], pieces: Sequence[bytes]) -> Bytes:
    """One of some good files with one to five places cut out, overwritten or filled up."""
    edit = st.tuples(st.floats(0, 1), st.sampled_from([0, 0, 1, 1, 2, 8, 40, 400]), soup(pieces, 2))

    def apply(good: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
        for share, removed, put in edits:
            place = int(share * len(good))
            good = good[:place] + put + good[place + removed :]
        return good

    return st.builds(apply, st.sampled_from(list(goods)), st.lists(edit, min_size=1, max_size=5))


def compressed(inner: Bytes) -> Bytes:
    """gzip of what is drawn, often damaged."""
    damage = st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=3))

    def pack(content: bytes, damages: list[tuple[float, int, bytes]]) -> bytes:
        packed = gzip.compress(content, 1)
        for share, removed, put in damages:
            place = int(share * len(packed))
            packed = packed[:place] + put + packed[place + removed :]
        return packed

    return st.builds(pack, inner, st.lists(damage, max_size=2))


_TEXT = st.sampled_from([SENTINEL, "", " ", "37", "1e3", "-0", "nan", "true", "2021-02-29", "é\u202e", "x" * 3_000])
#: Arrow types that a column may have whatever is described, and values of them.
_TYPES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 120)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.int8(), st.integers(-128, 127)),
    (pa.float64(), st.floats()),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
    (pa.string(), _TEXT),
    (pa.large_string(), _TEXT),
    (pa.binary(), st.binary(max_size=9)),
    (pa.dictionary(pa.int32(), pa.string()), _TEXT),
    (pa.date32(), st.dates()),
    (pa.date64(), st.dates()),
    (pa.timestamp("ns", "UTC"), st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1))),  # noqa: DTZ001
    (pa.timestamp("us"), st.datetimes()),
    (pa.time64("us"), st.times()),
    (pa.duration("s"), st.timedeltas().map(lambda one: one.seconds)),
    (pa.decimal128(20, 3), st.integers(-(10**15), 10**15).map(lambda one: Decimal(one) / 1000)),
    (pa.null(), st.none()),
    (pa.list_(pa.string()), st.lists(_TEXT, max_size=2)),
    (pa.struct([("a", pa.string())]), st.fixed_dictionaries({"a": _TEXT})),
    (pa.map_(pa.string(), pa.int64()), st.lists(st.tuples(_TEXT, st.integers(0, 9)), max_size=2)),
]


def parquet(names: Sequence[str]) -> Bytes:
    """Parquet with these columns, each of any type, some lost, doubled or others beside them; sometimes damaged."""

    @st.composite
    def file(draw: Callable[[st.SearchStrategy[Any]], Any]) -> bytes:
        rows = draw(st.sampled_from([0, 1, 3, 40]))
        fields, columns = [], []
        lost = draw(st.sampled_from([None] * 6 + list(names)))
        for name in [
            *(one for one in names if one != lost),
            *draw(st.sampled_from([[]] * 6 + [["x"], ["id"], ["a.b"]])),
        ]:
            kind, values = draw(st.sampled_from(_TYPES))
            column = draw(st.lists(st.none() | values, min_size=min(rows, 5), max_size=min(rows, 5)))
            fields.append(pa.field(name, kind))
            columns.append(pa.array((column * 8)[:rows], kind))
        out = io.BytesIO()
        options = {
            "compression": draw(st.sampled_from(["none", "snappy", "zstd", "gzip"])),
            "use_dictionary": draw(st.booleans()),
            "version": draw(st.sampled_from(["1.0", "2.6"])),
        }
        pq.write_table(pa.Table.from_arrays(columns, schema=pa.schema(fields)), out, row_group_size=16, **options)
        return out.getvalue()

    return file()


_CELL = st.sampled_from(["n", "s", "str", "b", "e", "d", "inlineStr", "", SENTINEL])
_VALUE = st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "99999999999",
        "1e400",
        "NaN",
        "44197.5",
        "#REF!",
        "TRUE",
        "2021-02-30",
        "",
        SENTINEL,
        "&#0;",
        "]]>",
    ]
)


def sheet(names: Sequence[str], pieces: Sequence[bytes]) -> Bytes:
    """A spreadsheet with cells of every kind; its parts are not compressed, so that damage meets the XML."""
    cell = st.tuples(_CELL, _VALUE, st.sampled_from(["", "A1", "C7", "a", "0"]))
    rows = st.lists(st.lists(cell, max_size=len(names) + 1), max_size=4)

    def build(rows: list[list[tuple[str, str, str]]]) -> bytes:
        head = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in names)
        body = "".join(
            "<row>" + "".join(f'<c r="{at}" t="{kind}" s="1"><v>{value}</v></c>' for kind, value, at in row) + "</row>"
            for row in rows
        )
        return workbook(f"<row>{head}</row>{body}")

    return st.one_of(rows.map(build), mutated([workbook(_GOOD_ROWS)], pieces))


def workbook(rows: str) -> bytes:
    """The least that is a workbook, with these rows."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    kinds = "http://schemas.openxmlformats.org/package/2006/content-types"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{kinds}"><Default Extension="xml" ContentType="text/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}"><Relationship Id="r" Type="{relations}/officeDocument"'
        ' Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
        '<sheet name="one" sheetId="1" r:id="r1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}"><Relationship Id="r1"'
        f' Type="{relations}/worksheet" Target="worksheets/one.xml"/></Relationships>',
        "xl/worksheets/one.xml": f'<worksheet xmlns="{main}"><sheetData>{rows}</sheetData></worksheet>',
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


_GOOD_ROWS = "".join(
    "<row>" + "".join(f'<c t="inlineStr"><is><t>{value}</t></is></c>' for value in row) + "</row>"
    for row in (("id", "name", "age", "born", "cost", "notes"), ("1", "Ada", "30", "1990-01-02", "2.5", "well"))
)
