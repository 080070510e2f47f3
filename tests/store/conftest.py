"""Databases and servers for the tests of the store."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from microflow.store.connector import PostgreSQLConnector
from microflow.store.server import stop_server


@pytest.fixture(scope="session")
def migrated_url(database_url: str) -> str:
    """A database with all tables; tests tell their rows apart by job and experiment names."""
    with PostgreSQLConnector(database_url):
        return database_url


@pytest.fixture
def connector(migrated_url: str) -> Iterator[PostgreSQLConnector]:
    """An open connection."""
    with PostgreSQLConnector(migrated_url) as opened:
        yield opened


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """A folder for a server of one's own, which may be killed; open to the system user that root makes."""
    folder = Path(tempfile.mkdtemp(prefix="mf-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder / "pg"
    stop_server(folder / "pg")
    shutil.rmtree(folder)
