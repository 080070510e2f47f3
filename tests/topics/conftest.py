"""One broker for all tests of topics: each makes topics of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from microflow.topics.broker import Broker


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, needs_jars: Callable[[str], None]) -> Iterator[Broker]:
    needs_jars("kafka")
    with Broker(tmp_path_factory.mktemp("kafka")) as running:
        yield running
