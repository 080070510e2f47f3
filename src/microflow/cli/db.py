"""``microflow db``: the embedded PostgreSQL, and the schema of any database."""

from __future__ import annotations

import click

from microflow.settings import Settings
from microflow.store.database import migrate as migrate_database
from microflow.store.database import without_password
from microflow.store.server import ensure_server, server_url, stop_server

__all__ = ["db"]


@click.group()
def db() -> None:
    """Start, stop and migrate the database that results go to.

    DATABASE_URL names a server of your own; without it an embedded PostgreSQL is started when it is needed.
    """


@db.command()
def start() -> None:
    """Start the embedded PostgreSQL unless it runs, and print its address."""
    url = ensure_server()
    migrate_database(url)
    click.echo(url)


@db.command()
def stop() -> None:
    """Stop the embedded PostgreSQL; what it holds stays."""
    click.echo("stopped" if stop_server() else "it was not running")


@db.command()
def url() -> None:
    """Print the address results go to, without its password."""
    click.echo(without_password(Settings.read().database_url or server_url()))


@db.command()
def migrate() -> None:
    """Bring the database to the newest schema (every command does so by itself where it may)."""
    target = Settings.read().database_url or ensure_server()
    migrate_database(target)
    click.echo(f"{without_password(target)} is at the newest schema")
