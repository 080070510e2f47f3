"""What many rooms' tests need: a real database, and the real data set where it is at hand."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from microflow.schema import DatasetSchema, Record
    from microflow.topics.broker import Broker

# A slow machine is not a failing test, and a failure seen once must be seen again.
settings.register_profile("microflow", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("microflow")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def adult_csv() -> Path:
    """UCI Adult: ``MICROFLOW_ADULT``, or a ``shared/data`` folder beside the project."""
    found = Path(os.environ.get("MICROFLOW_ADULT", ROOT.parent / "shared" / "data" / "adult.csv"))
    if not found.is_file():
        pytest.skip("UCI Adult is not at hand: set MICROFLOW_ADULT to the path of adult.csv")
    return found


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """A fresh database on DATABASE_URL's server, or on the embedded one; dropped at the end."""
    from microflow.store.database import create_database, drop_database
    from microflow.store.server import ensure_server

    server = os.environ.get("DATABASE_URL") or ensure_server()
    name = f"microflow_test_{uuid.uuid4().hex[:12]}"
    yield create_database(server, name)
    drop_database(server, name)


@pytest.fixture(scope="session")
def needs_jars() -> Callable[[str], None]:
    """Skips with the reason where a set of jars cannot be had; in CI they are required."""
    from microflow.errors import SetupError
    from microflow.jvm import jars

    def check(name: str) -> None:
        try:
            jars(name)
        except SetupError as missing:
            if os.environ.get("CI"):
                raise
            pytest.skip(str(missing))

    return check


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, needs_jars: Callable[[str], None]) -> Iterator[Broker]:
    """A Kafka broker for all tests of a session: each creates topics of its own."""
    from microflow.topics.broker import Broker

    needs_jars("kafka")
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running


@pytest.fixture(scope="session")
def people() -> DatasetSchema:
    """A column of every type, for readers and writers to be tried on; the id names the record and must be there."""
    from microflow.schema import Column, DatasetSchema, Dtype, Role, SourceFormat

    return DatasetSchema(
        name="people",
        policy="gdpr",
        source=SourceFormat(missing=frozenset({"NA"})),
        columns=(
            Column("id", Role.RECORD_ID, Dtype.INTEGER, required=True),
            Column("name", Role.IDENTIFIER),
            Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER),
            Column("score", Role.SENSITIVE, Dtype.NUMBER),
            Column("member", Role.ATTRIBUTE, Dtype.BOOLEAN),
            Column("seen", Role.ATTRIBUTE, Dtype.DATE),
            Column("note", Role.FREE_TEXT),
        ),
    )


@pytest.fixture
def read(people: DatasetSchema) -> Callable[..., tuple[list[Record], list[str]]]:
    """Reads a file whole: its rows, and for each refused row the line, column and reason as a line of CSV."""
    from microflow.sinks.writers import quarantine_text
    from microflow.sources.columns import Refusals
    from microflow.sources.reader import read_split
    from microflow.sources.record_ids import SeenIds
    from microflow.sources.splits import Source

    def reader(path: Path, schema: DatasetSchema = people, *, keep_raw: bool = False) -> tuple[list[Record], list[str]]:
        rows: list[Record] = []
        log, seen, refusals = b"", SeenIds(), Refusals(keep_raw)
        for split in Source(path, schema, split_bytes=2**62).splits():
            for found in read_split(split, schema, refusals, seen=seen):
                rows += found.to_pylist()
                log += quarantine_text(refusals.take(), keep_raw=keep_raw)
        return rows, log.decode().splitlines()

    return reader
