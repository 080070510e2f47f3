"""A small input, a token key, and a connection, for jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.people import write_people
from microflow.anonymize.contract import Method, MethodSettings
from microflow.pipeline import JobSpec
from microflow.store import PostgreSQLConnector


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Healthcare records, one in ten with a violation, one in a hundred unusable."""
    path = tmp_path_factory.mktemp("people") / "people.csv"
    write_people(path, 400)
    return path


@pytest.fixture(autouse=True)
def token_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """The key of the environment."""
    key = "5f" * 64
    monkeypatch.setenv("MICROFLOW_TOKEN_KEY", key)
    return key


@pytest.fixture
def connector(database_url: str) -> Iterator[PostgreSQLConnector]:
    with PostgreSQLConnector(database_url) as opened:
        yield opened


@pytest.fixture
def a_job(people: Path, tmp_path: Path) -> Callable[..., JobSpec]:
    """Makes a job; keywords change it."""

    def make(**changes: Any) -> JobSpec:
        method = MethodSettings(Method.TOKENIZATION)
        return JobSpec(**{
            "input": people, "output": tmp_path / "out.csv", "schema": "healthcare", "method": method,
            "microflow_rows": 50, "quarantine": tmp_path / "bad.csv",
        } | changes)  # fmt: skip

    return make
