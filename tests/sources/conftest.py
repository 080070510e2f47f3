"""A small data set with a column of every type, for readers and writers to be tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from microflow.schema import Column, DatasetSchema, Dtype, Role, SourceFormat
from microflow.sources import Quarantine, read_microflows


@pytest.fixture(scope="session")
def people() -> DatasetSchema:
    """Seven columns; the id names the record and must be there."""
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
def read(people):
    """Read a file whole: its rows, and for each quarantined row the line, column and reason."""

    def reader(path: Path, schema: DatasetSchema = people, **options):
        log = path.with_name("log.csv")
        with Quarantine(log, **options) as quarantine:
            flows = list(read_microflows(path, schema, quarantine=quarantine))
        rows = [row for flow in flows for row in flow.rows.to_pylist()]
        return rows, log.read_text("utf-8").splitlines()[1:] if quarantine.total else []

    return reader
