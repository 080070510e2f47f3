"""JSON messages that have arrived: read as records one by one, or a column at a time where there are many."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from microflow.engine.urgency import Urgency
from microflow.schema import DatasetSchema, Record
from microflow.sources.json_lines import UnreadableError, read_message, read_messages

__all__ = ["Messages", "as_json", "as_records"]

#: From so many messages on they are read a column at a time.
_COLUMNS = 32
#: So many messages are read at a time.
_CHUNK = 4_000
#: Numbers of a size between these are written without an exponent.
_LEAST, _MOST = 1e-4, 1e15


class Messages:
    """Messages that were read: as records, or in a large batch as rows.

    ``places`` holds the position of each among the messages, ``unreadable`` why others cannot be read.
    """

    def __init__(self, schema: DatasetSchema, messages: Sequence[bytes], keys: Sequence[bytes | None]) -> None:
        self.places: list[int] = []
        self.unreadable: dict[int, str] = {}
        self._schema, self._keys = schema, keys
        self._records: list[Record] | pa.RecordBatch
        if len(messages) < _COLUMNS:
            self._records = self._one_by_one(0, messages)
        else:
            parts = [
                part
                for first in range(0, len(messages), _CHUNK)
                for part in self._by_columns(first, messages[first : first + _CHUNK])
            ]
            self._records = pa.concat_batches(parts)

    def _one_by_one(self, first: int, some: Sequence[bytes]) -> list[Record]:
        records = []
        for place, message in enumerate(some, first):
            try:
                records.append(read_message(message, self._schema))
                self.places.append(place)
            except UnreadableError as error:
                self.unreadable[place] = str(error)
        return records

    def _by_columns(self, first: int, some: Sequence[bytes]) -> list[pa.RecordBatch]:
        """One that is broken is looked for by halves, so that it does not slow the others down."""
        if len(some) < _COLUMNS:
            return [pa.RecordBatch.from_pylist(self._one_by_one(first, some), self._schema.arrow)]
        if (rows := read_messages(some, self._schema)) is not None:
            self.places.extend(range(first, first + len(some)))
            return [rows]
        half = len(some) // 2
        return self._by_columns(first, some[:half]) + self._by_columns(first + half, some[half:])

    def records(self, places: Sequence[int]) -> list[Record]:
        """Some of them as records."""
        if isinstance(self._records, list):
            return [self._records[place] for place in places]
        return as_records(self.rows(places))

    def rows(self, places: Sequence[int]) -> pa.RecordBatch:
        """Some of them as rows."""
        if isinstance(self._records, list):
            return pa.RecordBatch.from_pylist(self.records(places), self._schema.arrow)
        if places and places[-1] - places[0] == len(places) - 1:
            return self._records.slice(places[0], len(places))
        return self._records.take(pa.array(places, pa.int64()))

    def urgent(self, urgency: Urgency) -> Sequence[bool]:
        """Urgency of each message."""
        if isinstance(self._records, list):
            return [urgency.of_record(record) for record in self._records]
        return list(urgency.of_rows(self._records))

    def same_key(self, place: int) -> Sequence[int]:
        """Places of the messages with the same key, itself included; without a key there is no order to keep."""
        key = self._keys[self.places[place]] if self._keys else None
        return () if key is None else self._by_key[key]

    @cached_property
    def _by_key(self) -> dict[bytes | None, list[int]]:
        found: defaultdict[bytes | None, list[int]] = defaultdict(list)
        for row, place in enumerate(self.places):
            found[self._keys[place]].append(row)
        return found


def as_records(rows: pa.RecordBatch) -> list[Record]:
    """Rows as mappings; Arrow's own way takes several times as long."""
    names = rows.schema.names
    columns = [column.to_list() for column in pl.DataFrame(rows)]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def as_json(rows: pa.RecordBatch) -> list[bytes]:
    """Rows as JSON objects, the bytes that `msgspec` makes of `as_records`, without a Python object for each value."""
    if all(map(_is_plain, rows.columns)):
        return pl.DataFrame(rows).write_ndjson().encode().split(b"\n")[:-1]
    return [msgspec.json.encode(record) for record in as_records(rows)]


def _is_plain(column: pa.Array) -> bool:
    """True if Polars writes it as `msgspec` does, whose exponents look otherwise."""
    if pa.types.is_floating(column.type):
        size = np.abs(column.drop_null().to_numpy(zero_copy_only=False))
        return bool(np.all((size == 0) | ((size >= _LEAST) & (size < _MOST))))
    return bool(pa.types.is_string(column.type) or pa.types.is_integer(column.type) or pa.types.is_boolean(column.type))
