"""The connection to PostgreSQL: retries, transactions, records and violations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self, TypeVar

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the driver's own classes are in lower case
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from microflow.errors import StoreError
from microflow.settings import Retries, Settings
from microflow.store.bulk import ORIGINALS, RECORDS, VIOLATIONS, Ids, check_keys, copy_tables, in_pieces, reserve_ids
from microflow.store.database import driver_dsn, ensure_schema
from microflow.store.server import ensure_server
from microflow.timing.refusal import guarded_connection, refuse_if_pure

__all__ = ["PostgreSQLConnector", "is_worth_retrying", "store_error"]


def is_worth_retrying(error: psycopg2.Error) -> bool:
    """True if the same work may succeed later: a lost or refused connection, a full disk, a deadlock."""
    return isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)


def store_error(error: psycopg2.Error, doing: str) -> StoreError:
    """A `StoreError` without personal data: messages about values quote the value, so only their kind is given."""
    if error.pgcode is None and is_worth_retrying(error):
        reason = (str(error).strip().splitlines() or ["the connection was lost"])[0]
        hint = "see that the server runs (microflow db start), then resume the job"
    elif is_worth_retrying(error):
        reason, hint = f"{error.diag.message_primary} ({error.pgcode})", "put the server right, then resume the job"
    else:
        where = error.diag.constraint_name or error.diag.column_name or error.diag.table_name
        reason, hint = f"{type(error).__name__} ({error.pgcode}){f' at {where}' if where else ''}", ""
    return StoreError(f"PostgreSQL failed while {doing}: {reason}", hint=hint)


T = TypeVar("T")
Work = Callable[[Cursor], T]

#: Notices a server that went away without a word after about half a minute instead of the kernel's two hours.
_KEEPALIVE: Any = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "connect_timeout": 10}


class PostgreSQLConnector:
    """A connection to the results database that loads in bulk and survives the loss of its server.

    While a `PhaseClock` runs with a guard, every call is refused: database work belongs outside of the pure phase.

    Args:
        url: Where to connect; by default ``DATABASE_URL``, else the embedded server, which is started (and started
            again if it dies). TLS settings are part of the address (``?sslmode=verify-full&sslrootcert=...``).
        retries: How long to wait for a lost server before giving up.

    Raises:
        StoreError: PostgreSQL refused, or was lost for longer than the retries last. Never holds a value of a row.
    """

    def __init__(self, url: str | None = None, *, retries: Retries | None = None) -> None:
        self._given_url = url or Settings.read().database_url
        self._retries = retries or Retries()
        self._connection: Connection | None = None
        self.on_connect: Work[None] | None = None
        self.reconnections = 0
        self.url = self._given_url or ""

    def __enter__(self) -> Self:
        self._persist(self._connect, "connecting")
        ensure_schema(self.url)
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def transaction(self, work: Work[T], *, doing: str = "working", done: Work[bool] | None = None) -> T | None:
        """Run ``work(cursor)`` in one transaction: everything it does, or nothing.

        A lost connection is made again and the work repeated. If it was lost while committing, it is unknown whether
        the server had finished; ``done(cursor)`` then says so, and the work is not repeated (the result is ``None``).
        """
        repeated = False

        def attempt() -> T | None:
            nonlocal repeated
            again, repeated = repeated, True
            connection = self._connection or self._connect()
            with connection, connection.cursor() as cursor:
                if again and done is not None and done(cursor):
                    return None
                return work(cursor)

        return self._persist(attempt, doing)

    @contextmanager
    def get_cursor(self) -> Iterator[Cursor]:
        """A cursor in a transaction of its own: committed when the block is left, rolled back by an error.

        A connection lost in between is not made again, because what the block did cannot be repeated: use
        `transaction` where it must survive that.

        Raises:
            StoreError: PostgreSQL refused, or was lost. Never holds a value of a row.
        """
        refuse_if_pure("a database call")
        connection = self._connection or self._persist(self._connect, "connecting")
        try:
            with connection, connection.cursor() as cursor:
                yield cursor
        except psycopg2.Error as error:
            raise store_error(error, "working") from error

    def query(self, statement: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one parameterised statement."""

        def work(cursor: Cursor) -> list[tuple[Any, ...]]:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

        return self.transaction(work, doing="reading") or []

    def batch_insert_records(self, records: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert all records or none, and return their ids in the records' order.

        Keys: ``job_id`` (required), ``record_id``, ``ordinal``, ``original_data``, ``processed_data``,
        ``compliance_status``, ``violation_count``, ``violation_types``, ``processing_time``,
        ``anonymization_applied``, ``released``. ``original_data`` goes to a table of its own, which the writer's role
        cannot read back.
        """
        check_keys(records, RECORDS | ORIGINALS, required=("job_id",))
        originals = [record for record in records if record.get("original_data")]

        def load(cursor: Cursor, ids: Ids) -> None:
            copy_tables(cursor, "data_records", in_pieces(RECORDS, records, ids))
            if originals:
                own = reserve_ids(cursor, "original_records", len(originals))
                copy_tables(cursor, "original_records", in_pieces(ORIGINALS, originals, own))

        return self._insert("data_records", len(records), load)

    def batch_insert_violations(self, violations: Sequence[Mapping[str, Any]]) -> list[int]:
        """Insert all violations or none, and return their ids in order.

        Keys: ``job_id``, ``rule``, ``field`` (required), ``record_id``, ``ordinal``, ``severity``, ``regulation``,
        ``article``, ``start``, ``end``.
        """
        check_keys(violations, VIOLATIONS, required=("job_id", "rule", "field"))

        def load(cursor: Cursor, ids: Ids) -> None:
            copy_tables(cursor, "violations", in_pieces(VIOLATIONS, violations, ids))

        return self._insert("violations", len(violations), load)

    def _insert(self, table: str, count: int, load: Callable[[Cursor, Ids], None]) -> list[int]:
        """Number ``count`` rows and load them, once."""
        if not count:
            return []
        # Ids are drawn in a transaction of their own: known before the load, they tell afterwards whether it happened.
        ids = self.transaction(lambda cursor: reserve_ids(cursor, table, count), doing="numbering rows")
        assert ids is not None

        def loaded(cursor: Cursor) -> bool:
            cursor.execute(f"SELECT 1 FROM {table} WHERE id = %s", (int(ids[0]),))  # noqa: S608 - a name of ours
            return cursor.fetchone() is not None

        self.transaction(lambda cursor: load(cursor, ids), doing=f"loading {table}", done=loaded)
        numbers: list[int] = ids.tolist()
        return numbers

    def _connect(self) -> Connection:
        refuse_if_pure("connecting to PostgreSQL")
        self.url = self._given_url or ensure_server()
        dsn = driver_dsn(self.url)
        connection: Connection = psycopg2.connect(dsn, connection_factory=guarded_connection(), **_KEEPALIVE)
        if self.on_connect is not None:
            with connection, connection.cursor() as cursor:
                self.on_connect(cursor)
        self._connection = connection
        return connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _persist(self, attempt: Callable[[], T], doing: str) -> T:
        def is_lost(error: psycopg2.Error) -> bool:
            if is_worth_retrying(error):
                self._disconnect()
                self.reconnections += 1
                return True
            return False

        try:
            return self._retries.persist(attempt, psycopg2.Error, is_lost)
        except psycopg2.Error as error:
            raise store_error(error, doing) from error
