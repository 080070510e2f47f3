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
from typing import Any

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
    "Dicts",
    "Ids",
    "check_records",
    "check_violations",
    "copy_table",
    "copy_tables",
    "in_pieces",
    "original_columns",
    "record_columns",
    "reserve_ids",
    "violation_columns",
]


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

_RECORD_KEYS = frozenset(
    {
        *("job_id", "record_id", "ordinal", "original_data", "processed_data", "compliance_status", "violation_count"),
        *("violation_types", "processing_time", "anonymization_applied", "released"),
    }
)

_VIOLATION_KEYS = frozenset(
    {"job_id", "record_id", "ordinal", "rule", "field", "severity", "regulation", "article", "start", "end"}
)


def in_pieces(columns: Callable[[Dicts, Ids], pa.Table], rows: Dicts, ids: Ids) -> Iterator[pa.Table]:
    """``columns(rows, ids)`` as several tables, each made when it is asked for."""
    for start in range(0, len(rows), _PIECE_ROWS):
        piece = slice(start, start + _PIECE_ROWS)
        yield columns(rows[piece], ids[piece])


def record_columns(records: Dicts, ids: Ids) -> pa.Table:
    """Columns of ``data_records``; absent keys take the seed's defaults.

    Raises:
        StoreError: a value is of the wrong type.
    """
    now = datetime.now(UTC)
    types = [tuple(record.get("violation_types") or ()) for record in records]
    return _table(
        {
            "id": (ids, pa.int64()),
            "job_id": (_get(records, "job_id"), pa.string()),
            "ordinal": (_get(records, "ordinal"), pa.int64()),
            "record_id": (_texts(records, "record_id"), pa.string()),
            "released": (_get(records, "released", True), pa.bool_()),
            "compliance_status": (_get(records, "compliance_status", True), pa.bool_()),
            "violation_count": (_get(records, "violation_count", 0), pa.int16()),
            "violation_types": ([array_literal(words) for words in types], pa.string()),
            "anonymization_applied": (_get(records, "anonymization_applied", False), pa.bool_()),
            "processing_time": (_get(records, "processing_time", now), pa.timestamp("us", "UTC")),
            "processed_data": (_documents(records, "processed_data"), pa.string()),
        }
    )


def original_columns(records: Dicts, ids: Ids) -> pa.Table:
    """Columns of ``original_records`` for records that bring ``original_data``."""
    return _table(
        {
            "id": (ids, pa.int64()),
            "job_id": (_get(records, "job_id"), pa.string()),
            "ordinal": (_get(records, "ordinal"), pa.int64()),
            "record_id": (_texts(records, "record_id"), pa.string()),
            "original_data": (_documents(records, "original_data"), pa.string()),
        }
    )


def violation_columns(violations: Dicts, ids: Ids) -> pa.Table:
    """Columns of ``violations``; ``rule`` and ``field`` must be given, a span only where there is one.

    Raises:
        StoreError: as in `record_columns`.
    """
    texts = ("job_id", "record_id", "rule", "field")
    described = ("severity", "regulation", "article")
    return _table(
        {
            "id": (ids, pa.int64()),
            **{key: (_texts(violations, key), pa.string()) for key in texts},
            **{key: (_get(violations, key, ""), pa.string()) for key in described},
            "ordinal": (_get(violations, "ordinal"), pa.int64()),
            "span_start": (_get(violations, "start", -1), pa.int32()),
            "span_end": (_get(violations, "end", -1), pa.int32()),
        }
    )


def _get(records: Dicts, key: str, default: object = None) -> list[Any]:
    return [record.get(key, default) for record in records]


def _texts(records: Dicts, key: str) -> list[str | None]:
    return [None if (value := record.get(key)) is None else str(value) for record in records]


def _documents(records: Dicts, key: str) -> list[str | None]:
    return [json_document(record.get(key)) for record in records]


def check_records(records: Dicts) -> None:
    """Refuse unknown keys, and records without ``job_id``.

    Raises:
        StoreError: names the record by its position.
    """
    _check_keys(records, _RECORD_KEYS, required=("job_id",))


def check_violations(violations: Dicts) -> None:
    """Refuse unknown keys, and violations without ``job_id``, ``rule`` or ``field``.

    Raises:
        StoreError: names the violation by its position.
    """
    _check_keys(violations, _VIOLATION_KEYS, required=("job_id", "rule", "field"))


def _check_keys(records: Dicts, allowed: frozenset[str], required: Sequence[str]) -> None:
    for index, record in enumerate(records):
        if not allowed.issuperset(record):
            hint = f"keys are: {', '.join(sorted(allowed))}"
            raise StoreError(f"record {index}: unknown key {min(record.keys() - allowed)!r}", hint=hint)
        for key in required:
            if record.get(key) is None:
                raise StoreError(f"record {index}: {key!r} is missing")


def _table(columns: Mapping[str, tuple[Sequence[Any] | Ids, pa.DataType]]) -> pa.Table:
    arrays = {}
    for name, (values, kind) in columns.items():
        try:
            arrays[name] = pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            # Arrow's own message quotes the value.
            raise StoreError(f"{name!r} holds a value that is not of type {kind}") from None
    return pa.table(arrays)
