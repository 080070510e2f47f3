"""Rows into PostgreSQL: their columns, and COPY.

Columns are Arrow arrays; Arrow writes them as CSV without a Python loop and PostgreSQL reads that in one statement.
COPY into a table needs the INSERT privilege and nothing else.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case

from microflow.errors import StoreError
from microflow.store.progress import ID_BLOCK, array_literal, json_document

__all__ = [
    "ORIGINALS", "RECORDS", "VIOLATIONS", "Ids", "check_keys", "columns_of", "copy_table", "copy_tables", "in_pieces",
    "reserve_ids",
]  # fmt: skip

_PIECE_BYTES = 1 << 18
_CSV = pacsv.WriteOptions(include_header=False)


def copy_table(cursor: Cursor, name: str, table: pa.Table) -> int:
    """Append ``table`` to the database table ``name`` by column name; returns the number of rows.

    Part of the caller's transaction. Nulls are SQL nulls; an empty string stays an empty string.
    """
    return copy_tables(cursor, name, iter([table]))


def copy_tables(cursor: Cursor, name: str, tables: Iterator[pa.Table]) -> int:
    """`copy_table` for tables of equal columns that are made one by one: the server stores one as the next is made.

    Raises:
        StoreError: whatever making a table raises; nothing is appended then.
    """
    first = next(tables)
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(name), sql.SQL(", ").join(map(sql.Identifier, first.column_names))
    )
    # A thread makes the next table while this one waits for the server to take the last.
    with ThreadPoolExecutor(1) as maker:
        stream = _CsvStream(chain([first], tables), maker)
        try:
            cursor.copy_expert(statement, stream, size=_PIECE_BYTES)
        except psycopg2.Error:
            if stream.error is not None:
                raise stream.error from None
            raise
    return stream.rows


class _CsvStream(io.BufferedIOBase):
    """Tables as a file of CSV that the driver reads piece by piece; ``maker`` is one table ahead."""

    def __init__(self, tables: Iterator[pa.Table], maker: Executor) -> None:
        self._tables = tables
        self._maker = maker
        self._current = io.BytesIO()
        self._next = maker.submit(self._make)
        self.rows = 0
        self.error: StoreError | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        while not (piece := self._current.read(size)):
            try:
                made = self._next.result()
            except StoreError as error:
                self.error = error  # the driver would hide it behind an error of its own
                raise
            if made is None:
                break
            self._current, rows = made
            self.rows += rows
            self._next = self._maker.submit(self._make)
        return piece

    def _make(self) -> tuple[io.BytesIO, int] | None:
        table = next(self._tables, None)
        return None if table is None else (io.BytesIO(_csv(table)), table.num_rows)


def _csv(table: pa.Table) -> pa.Buffer:
    # Arrow 26 writes uninitialised memory for an empty chunk before others.
    full = pa.Table.from_batches([batch for batch in table.to_batches() if batch.num_rows], table.schema)
    text = pa.BufferOutputStream()
    pacsv.write_csv(pa.table({name: _readable(full[name]) for name in full.column_names}), text, _CSV)
    return text.getvalue()


def _readable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Instants as text in UTC: Arrow takes twenty times as long to write them itself, zone by zone."""
    if not pa.types.is_timestamp(column.type) or column.type.tz is None:
        return column
    return pc.binary_join_element_wise(column.cast(pa.timestamp(column.type.unit)).cast(pa.string()), "Z", "")


def reserve_ids(cursor: Cursor, table: str, count: int) -> npt.NDArray[np.int64]:
    """Draw ``count`` identities of a bulk table, ascending; drawn ones are never handed out again, even after a crash.

    Each value of the table's sequence stands for a block of `ID_BLOCK` identities that begins with it.
    """
    cursor.execute(
        "SELECT nextval(sequence) FROM (SELECT pg_get_serial_sequence(%s, 'id')::regclass AS sequence),"
        " generate_series(1, %s)",
        (table, -(-count // ID_BLOCK)),
    )
    blocks = np.array([first for (first,) in cursor.fetchall()], np.int64)
    return (blocks[:, None] + np.arange(ID_BLOCK)).ravel()[:count]


Dicts = Sequence[Mapping[str, Any]]
Ids = npt.NDArray[np.int64]

#: Rows that are made into columns while the server stores those before them.
_PIECE_ROWS = 1_000


class Field(NamedTuple):
    """Source of a column's values: a key of a mapping, the meaning of an absent key, and a conversion."""

    key: str
    type: pa.DataType
    default: object = None
    """A value, or a function that gives it."""
    convert: Callable[[Any], object] = lambda value: value


def _text(key: str) -> Field:
    return Field(key, pa.string(), convert=lambda value: None if value is None else str(value))


def _json(key: str) -> Field:
    return Field(key, pa.string(), convert=json_document)


#: Columns of ``data_records``, ``original_records`` and ``violations``; what is absent takes the seed's defaults.
RECORDS = {
    "job_id": Field("job_id", pa.string()),
    "ordinal": Field("ordinal", pa.int64()),
    "record_id": _text("record_id"),
    "released": Field("released", pa.bool_(), True),
    "compliance_status": Field("compliance_status", pa.bool_(), True),
    "violation_count": Field("violation_count", pa.int16(), 0),
    "violation_types": Field("violation_types", pa.string(), (), lambda words: array_literal(tuple(words or ()))),
    "anonymization_applied": Field("anonymization_applied", pa.bool_(), False),
    "processing_time": Field("processing_time", pa.timestamp("us", "UTC"), lambda: datetime.now(UTC)),
    "processed_data": _json("processed_data"),
}
ORIGINALS = {name: RECORDS[name] for name in ("job_id", "ordinal", "record_id")} | {
    "original_data": _json("original_data")
}
VIOLATIONS = {
    **{name: _text(name) for name in ("job_id", "record_id", "rule", "field")},
    **{name: Field(name, pa.string(), "") for name in ("severity", "regulation", "article")},
    "ordinal": Field("ordinal", pa.int64()),
    "span_start": Field("start", pa.int32(), -1),
    "span_end": Field("end", pa.int32(), -1),
}


def check_keys(rows: Dicts, fields: Mapping[str, Field], *, required: Sequence[str]) -> None:
    """Refuse unknown keys, and rows without a required one.

    Raises:
        StoreError: names the row by its position.
    """
    allowed = {field.key for field in fields.values()}
    for index, row in enumerate(rows):
        if not allowed.issuperset(row):
            hint = f"keys are: {', '.join(sorted(allowed))}"
            raise StoreError(f"record {index}: unknown key {min(row.keys() - allowed)!r}", hint=hint)
        for key in required:
            if row.get(key) is None:
                raise StoreError(f"record {index}: {key!r} is missing")


def in_pieces(fields: Mapping[str, Field], rows: Dicts, ids: Ids) -> Iterator[pa.Table]:
    """`columns_of` as several tables, each made when it is asked for."""
    for start in range(0, len(rows), _PIECE_ROWS):
        piece = slice(start, start + _PIECE_ROWS)
        yield columns_of(fields, rows[piece], ids[piece])


def columns_of(fields: Mapping[str, Field], rows: Dicts, ids: Ids) -> pa.Table:
    """Rows with these ids as the columns of a database table.

    Raises:
        StoreError: a value is of the wrong type.
    """
    arrays = {"id": pa.array(ids)}
    for name, (key, kind, default, convert) in fields.items():
        absent = default() if callable(default) else default
        try:
            arrays[name] = pa.array([convert(row.get(key, absent)) for row in rows], kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            # Arrow's own message quotes the value.
            raise StoreError(f"{name!r} holds a value that is not of type {kind}") from None
    return pa.table(arrays)
