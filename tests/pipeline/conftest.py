"""A small input, a token key, and a connection, for jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faults.stand import write_people
from microflow.anonymize.contract import Method, MethodSettings
from microflow.pipeline import JobSpec
from microflow.store.connector import PostgreSQLConnector


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Healthcare records, one in ten with a violation, one in a hundred unusable."""
    path = tmp_path_factory.mktemp("people") / "people.csv"
    write_people(path, 400)
    return path


@pytest.fixture(scope="session")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten files with cells of several lines, rows for the quarantine, and ids that come twice."""
    folder = tmp_path_factory.mktemp("visits")
    for number in range(10):
        path = folder / f"{number:02d}.csv"
        write_people(path, 30, seed=number // 2)
        path.write_text(path.read_text().replace("no complaints", '"seen\ntwice, ""well"""'))
    for number in range(1, 10):
        path = folder / f"{number:02d}.csv"
        lines = path.read_text().splitlines(keepends=True)
        moved = [
            f"{int(a) + 25 * number},{b}"
            if (a := line.partition(",")[0]).isdigit() and (b := line.partition(",")[2])
            else line
            for line in lines
        ]
        path.write_text("".join(moved))
    return folder


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
