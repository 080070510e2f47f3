"""Results and offsets of a topic in one transaction: effectively once, whatever dies.

Reading is at least once and committing is all or nothing. After a crash the consumer reads again from the committed
offsets, and a result that was committed cannot be committed again: its place is its primary key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case
from psycopg2.extras import execute_values

from microflow.store.bulk import copy_table, document
from microflow.store.connector import PostgreSQLConnector

__all__ = ["TopicPlace", "TopicStore"]

_RESULTS = pa.schema(
    [
        ("consumer", pa.string()),
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("violation_count", pa.int16()),
        ("record", pa.string()),
    ]
)
_OFFSETS = "SELECT partition, next_offset FROM topic_offsets WHERE consumer = %s AND topic = %s"


@dataclass(frozen=True, slots=True)
class TopicPlace:
    """One processed record and where it stood."""

    partition: int
    offset: int
    violations: int
    record: Mapping[str, Any] | None


class TopicStore:
    """What one named consumer has done with one topic."""

    def __init__(self, connector: PostgreSQLConnector, consumer: str, topic: str) -> None:
        self._connector = connector
        self._name = (consumer, topic)

    def offsets(self) -> dict[int, int]:
        """Partition to the offset to go on at."""
        return dict(self._connector.query(_OFFSETS, self._name))

    def commit(self, places: Sequence[TopicPlace], offsets: Mapping[int, int]) -> None:
        """Results and the offsets behind them, all or none."""
        table = self._table(places)

        def work(cursor: Cursor) -> None:
            copy_table(cursor, "topic_results", table)
            execute_values(
                cursor,
                "INSERT INTO topic_offsets VALUES %s ON CONFLICT (consumer, topic, partition)"
                " DO UPDATE SET next_offset = EXCLUDED.next_offset",
                [(*self._name, partition, offset) for partition, offset in offsets.items()],
            )

        self._connector.transaction(work, doing="committing a topic's results", done=self._has(offsets))

    def results(self) -> list[tuple[int, int, int, dict[str, Any] | None]]:
        """Partition, offset, violations and record of everything committed, in order; for tests and small topics."""
        statement = (
            'SELECT partition, "offset", violation_count, record FROM topic_results'
            ' WHERE consumer = %s AND topic = %s ORDER BY partition, "offset"'
        )
        return [(row[0], row[1], row[2], row[3]) for row in self._connector.query(statement, self._name)]

    def _has(self, offsets: Mapping[int, int]) -> Any:
        def done(cursor: Cursor) -> bool:
            cursor.execute(_OFFSETS, self._name)
            return dict(cursor.fetchall()) == dict(offsets)

        return done

    def _table(self, places: Sequence[TopicPlace]) -> pa.Table:
        consumer, topic = self._name
        rows = [
            (consumer, topic, place.partition, place.offset, place.violations, document(place.record))
            for place in places
        ]
        columns = list(zip(*rows, strict=True)) or [()] * len(_RESULTS)
        return pa.table(
            [pa.array(column, f.type) for column, f in zip(columns, _RESULTS, strict=True)], schema=_RESULTS
        )
