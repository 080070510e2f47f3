"""COPY loads what was given: every chunk, nulls apart from empty texts, and nothing of a load that fails half way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from microflow.errors import StoreError
from microflow.store.bulk import copy_table, copy_tables
from microflow.store.connector import PostgreSQLConnector

pytestmark = pytest.mark.database

SCHEMA = pa.schema([("n", pa.int64()), ("text", pa.string())])


@pytest.fixture
def loaded(connector: PostgreSQLConnector) -> Any:
    """A function that loads tables into a fresh one and gives back what the database holds."""

    def load(*tables: pa.Table) -> list[tuple[Any, ...]]:
        def work(cursor: Any) -> list[tuple[Any, ...]]:
            cursor.execute("CREATE TEMPORARY TABLE bulk_check (n bigint, text text) ON COMMIT DROP")
            assert copy_tables(cursor, "bulk_check", iter(tables)) == sum(len(table) for table in tables)
            cursor.execute("SELECT n, text FROM bulk_check ORDER BY n")
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            return rows

        found = connector.transaction(work)
        assert found is not None
        return found

    return load


def test_an_empty_chunk_before_others_is_nothing(loaded: Any) -> None:
    """Microflows without a violation come before those with one; they add no row and no garbage."""
    chunks = [SCHEMA.empty_table(), pa.table({"n": [1, 2], "text": ["a", "b"]}, SCHEMA), SCHEMA.empty_table()]
    assert loaded(pa.concat_tables(chunks)) == [(1, "a"), (2, "b")]


def test_null_and_empty_text_and_awkward_text_come_back(loaded: Any) -> None:
    """What CSV gives a meaning to is data here."""
    texts = [None, "", '"', "a,b", "line\nbreak", "\\N", "\\.", " blank ", "ü€😀"]
    assert loaded(pa.table({"n": range(len(texts)), "text": texts}, SCHEMA)) == list(enumerate(texts))


def test_tables_that_are_made_as_the_server_stores_are_all_stored(loaded: Any) -> None:
    """Pieces follow each other without a seam, however long they are."""
    pieces = [
        pa.table({"n": range(start, start + 700), "text": ["x" * 900] * 700}, SCHEMA) for start in (0, 700, 1_400)
    ]
    assert [n for n, _ in loaded(*pieces)] == list(range(2_100))


def test_a_table_that_cannot_be_made_leaves_nothing(connector: PostgreSQLConnector) -> None:
    """The error is the one that making it raised, and the load is undone."""

    def tables() -> Iterator[pa.Table]:
        yield pa.table({"n": [1], "text": ["a"]}, SCHEMA)
        raise StoreError("no such record")

    connector.transaction(lambda cursor: cursor.execute("CREATE TABLE IF NOT EXISTS bulk_kept (n bigint, text text)"))
    with pytest.raises(StoreError, match="no such record"):
        connector.transaction(lambda cursor: copy_tables(cursor, "bulk_kept", tables()))
    assert connector.query("SELECT count(*) FROM bulk_kept") == [(0,)]
    connector.transaction(lambda cursor: copy_table(cursor, "bulk_kept", pa.table({"n": [1], "text": ["a"]}, SCHEMA)))
    assert connector.query("SELECT count(*) FROM bulk_kept") == [(1,)]
    connector.transaction(lambda cursor: cursor.execute("DROP TABLE bulk_kept"))
