"""PostgreSQL: models, bulk load, the embedded server.

Guarantee: what is inserted together is stored together or not at all, also when the client, the server or the line
between them dies half way. Nothing here is imported before it is used: a job without a database needs no driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from microflow.store.connector import PostgreSQLConnector
    from microflow.store.database import migrate
    from microflow.store.experiments import ExperimentStore
    from microflow.store.server import ensure_server, stop_server

__all__ = ["ExperimentStore", "PostgreSQLConnector", "ensure_server", "migrate", "stop_server"]

_MODULES = {
    "ExperimentStore": "experiments",
    "PostgreSQLConnector": "connector",
    "ensure_server": "server",
    "migrate": "database",
    "stop_server": "server",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
