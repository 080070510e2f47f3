"""PostgreSQL: models, bulk load, the embedded server.

Guarantee: what is inserted together is stored together or not at all, also when the client, the server or the line
between them dies half way.
"""

from microflow.store.connector import PostgreSQLConnector
from microflow.store.experiments import ExperimentStore
from microflow.store.migrate import migrate
from microflow.store.server import ensure_server, stop_server

__all__ = ["ExperimentStore", "PostgreSQLConnector", "ensure_server", "migrate", "stop_server"]
