"""Results and positions of a topic in one transaction: exactly once, whatever dies.

A commit moves each partition from the position that this process knows to the next one, and fails where another process
has moved it meanwhile: a consumer that its group has expelled cannot commit what another one works on now.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
from psycopg2.extensions import cursor as Cursor  # noqa: N812 - the driver's own class is in lower case

from microflow.store.bulk import copy_table
from microflow.store.connector import PostgreSQLConnector
from microflow.store.jobs import JobStore
from microflow.store.progress import LIVE
from microflow.topics import Position, Result

__all__ = ["TopicStore"]

_RESULTS = pa.schema(
    [("consumer", pa.string()), ("topic", pa.string()), ("partition", pa.int32()), ("offset", pa.int64()),
     ("violation_count", pa.int16()), ("record", pa.string()), ("reason", pa.string())]
)  # fmt: skip
_WHERE = "WHERE consumer = %s AND topic = %s"
_KEPT = f"SELECT partition, next_offset, ahead FROM topic_offsets {_WHERE}"  # noqa: S608 - names of ours


class _MovedError(Exception):
    """Another process has committed in a partition that this one works on."""


class TopicStore:
    """Results and positions of one named consumer of one topic; the sink of a stream to PostgreSQL.

    Args:
        connector: The database.
        consumer: Processes of one name share the topic.
        topic: What is read.
    """

    def __init__(self, connector: PostgreSQLConnector, consumer: str, topic: str) -> None:
        self._connector = connector
        self._jobs = JobStore(connector)
        self._name = (consumer, topic)
        self._job: str | None = None
        self._known: dict[int, Position] = {}

    def begin(self, *, pipeline: str, method: str) -> str:
        """Enter this process as a job, for ``microflow jobs``; returns its name."""
        consumer, topic = self._name
        name = re.sub(r"[^A-Za-z0-9._-]", "-", consumer)[:57]
        job = f"{name}-{secrets.token_hex(3)}"
        spec = {"input": topic, "output": f"topic_results, consumer {consumer}", "method": {"method": method}}
        self._jobs.create(job, pipeline=pipeline, engine=LIVE, spec=spec, spec_hash="", input_sha256="")
        self._jobs.lock(job)
        self._jobs.start(job)
        self._job = job
        return job

    def end(self, metrics: Mapping[str, object]) -> None:
        """Record that this process has ended in good order."""
        if self._job is not None:
            self._jobs.complete(self._job, metrics)

    def kept(self, partitions: Sequence[int] = ()) -> Mapping[int, Position]:
        """Stored positions of partitions; of all that are known if none is named."""
        found = _positions(self._connector.query(_KEPT, self._name))
        self._known = {partition: at for partition, at in found.items() if not partitions or partition in partitions}
        return self._known

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        """One transaction; false where another process has moved on in one of the partitions."""
        table = self._table(results)

        def work(cursor: Cursor) -> None:
            for partition, at in positions.items():
                if not self._moved(cursor, partition, at):
                    raise _MovedError
            copy_table(cursor, "topic_results", table)
            self._count(cursor, results)

        def done(cursor: Cursor) -> bool:
            cursor.execute(_KEPT, self._name)
            found = _positions(cursor.fetchall())
            return all(found.get(partition) == at for partition, at in positions.items())

        try:
            self._connector.transaction(work, doing="committing a topic's results", done=done)
        except _MovedError:
            return False
        self._known = {**self._known, **positions}
        return True

    def close(self) -> None:
        """The connection belongs to the caller."""

    def _moved(self, cursor: Cursor, partition: int, at: Position) -> bool:
        """Move a partition on from where this process knows it to be; whether it still was there."""
        before, ahead = self._known.get(partition), sorted(at.ahead)
        if before is None:
            cursor.execute(
                "INSERT INTO topic_offsets VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                (*self._name, partition, at.offset, ahead),
            )
        else:
            cursor.execute(
                f"UPDATE topic_offsets SET next_offset = %s, ahead = %s {_WHERE}"  # noqa: S608
                " AND partition = %s AND next_offset = %s AND ahead = %s::bigint[]",
                (at.offset, ahead, *self._name, partition, before.offset, sorted(before.ahead)),
            )
        return bool(cursor.rowcount)

    def _count(self, cursor: Cursor, results: Sequence[Result]) -> None:
        if self._job is None:
            return
        released = sum(result.text is not None for result in results)
        unreadable = sum(result.reason is not None for result in results)
        cursor.execute(
            "UPDATE jobs SET microflows = microflows + 1, rows_read = rows_read + %s,"
            " rows_released = rows_released + %s, rows_suppressed = rows_suppressed + %s,"
            " rows_quarantined = rows_quarantined + %s,"
            " violations = violations + %s, updated_at = now() WHERE id = %s",
            (len(results) - unreadable, released, len(results) - released - unreadable, unreadable,
             sum(result.violations for result in results), self._job),
        )  # fmt: skip

    def _table(self, results: Sequence[Result]) -> pa.Table:
        rows = [
            (*self._name, result.partition, result.offset, result.violations, result.text and result.text.decode(),
             result.reason)
            for result in results
        ]  # fmt: skip
        columns = list(zip(*rows, strict=True)) or [()] * len(_RESULTS)
        return pa.Table.from_pydict(dict(zip(_RESULTS.names, columns, strict=True)), _RESULTS)


def _positions(rows: Iterable[Sequence[Any]]) -> dict[int, Position]:
    return {partition: Position(offset, frozenset(ahead)) for partition, offset, ahead in rows}
