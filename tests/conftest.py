"""What many rooms' tests need: a real database, and the real data set where it is at hand."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

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
    from microflow.store.server import create_database, drop_database, ensure_server

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
