"""``microflow db``: the results database."""

from __future__ import annotations

import click

from microflow.settings import Settings
from microflow.store import PostgreSQLConnector
from microflow.store.server import ensure_server, stop_server

__all__ = ["db"]


@click.group()
def db() -> None:
    """Start, stop and prepare the results database.

    DATABASE_URL names a PostgreSQL of yours; without it an embedded one is started when it is needed.
    """


@db.command()
def start() -> None:
    """Start the embedded server, bring its tables up to date, and print its address."""
    given = Settings.read().database_url
    url = given or ensure_server()
    with PostgreSQLConnector(url):
        click.echo("DATABASE_URL is reachable and its tables are up to date" if given else url)


@db.command()
def stop() -> None:
    """Stop the embedded server; what it holds stays."""
    click.echo("stopped" if stop_server() else "the embedded server was not running")


@db.command()
def url() -> None:
    """Print the embedded server's address, for psql and notebooks; starts it if need be."""
    click.echo(ensure_server())
