"""Rows good and bad of every data type, specifications over them, and one Spark session."""

from __future__ import annotations

import random
from collections.abc import Callable

import pyarrow as pa
import pytest

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.descriptors import load_schema
from microflow.engine import ProcessingSpec
from microflow.schema import Column, DatasetSchema, Dtype, Role, Value

DATA_TYPES = ("healthcare", "financial", "ecommerce", "iot")
KEY = bytes(range(32))

#: By kind: what is in order, and what is not.
_WORDS: dict[str, tuple[list[Value], list[Value]]] = {
    "name": ([None], ["Ann Smith", "Jörg Ö'Brien"]),
    "ssn": ([None, "***-**-****"], ["123-45-6789"]),
    "email": ([None], ["ann@example.org"]),
    "phone": ([None], ["555-123-4567"]),
    "pan": ([None, "411111******1111"], ["4111111111111111", "4111 1111 1111 1111"]),
    "cvv": ([None], ["123"]),
    "ip": ([None], ["192.0.2.7"]),
    "zip": (["941", "606"], ["94107", "03601"]),
    "date": (["2021"], ["2021-03-01", "2021-03"]),
    "consent_status": (["granted"], ["withdrawn", None]),
    "consent_expires": (["2030-01-01"], ["2020-01-01"]),
    "retain_until": (["2030-06-30"], ["2019-12-31"]),
    "urgency": (["routine", "routine", "urgent"], ["emergency"]),
}
_TEXTS = [
    "stable, follow-up in 3 weeks",
    "mail ann@example.org or call 555-123-4567",
    "SSN 123-45-6789, seen on 2021-03-01 — naïve Ünïcödé",
    "card 4111 1111 1111 1111",
    None,
]


def rows_of(schema: DatasetSchema, count: int, seed: int = 1, bad: float = 0.04) -> pa.RecordBatch:
    """Random rows of a data set; each value is a bad one with probability ``bad``."""
    chance = random.Random(seed)

    def value(column: Column, row: int) -> Value:
        is_bad = chance.random() < bad
        if column.role is Role.RECORD_ID:
            return row if column.dtype is Dtype.INTEGER else f"r{row}"
        if column.kind in _WORDS:
            return chance.choice(_WORDS[column.kind][is_bad])
        if column.role is Role.FREE_TEXT:
            return chance.choice(_TEXTS) if is_bad else _TEXTS[0]
        if is_bad and not column.required:
            return None
        return _plain(column, chance)

    columns = {column.name: [value(column, row) for row in range(count)] for column in schema.columns}
    return pa.RecordBatch.from_pydict(columns, schema=schema.arrow)


def _plain(column: Column, chance: random.Random) -> Value:
    low, high = int(column.low or 0), int(column.high or 100)
    if column.categories:
        return chance.choice(column.categories)
    if column.dtype is Dtype.INTEGER:
        return chance.randint(low, high)
    if column.dtype is Dtype.NUMBER:
        return chance.uniform(low, high)
    if column.dtype is Dtype.BOOLEAN:
        return chance.random() < 0.5
    return f"2021-0{chance.randint(1, 9)}-11" if column.dtype is Dtype.DATE else f"{chance.getrandbits(40):010x}"


def spec_of(data_type: str, method: Method = Method.TOKENIZATION, **settings: object) -> ProcessingSpec:
    """A data type under its own policy, with a known key."""
    schema = load_schema(data_type)
    return ProcessingSpec(schema, load_policy(schema.policy), MethodSettings(method, **settings), key=KEY)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def make_rows() -> Callable[..., pa.RecordBatch]:
    """`rows_of`."""
    return rows_of


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., ProcessingSpec]:
    """`spec_of`."""
    return spec_of
