"""What a database address means to the two libraries that read it."""

from __future__ import annotations

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from microflow.errors import StoreError

__all__ = ["driver_dsn", "engine_url", "without_password"]

#: Parameters of an address that are secret (libpq's names).
_SECRETS = {"password", "sslpassword", "oauth_client_secret"}


def engine_url(url: str) -> URL:
    """The address for SQLAlchemy, with the driver we ship; everything else (TLS settings too) is passed through.

    Raises:
        StoreError: not an address of a PostgreSQL database.

    >>> engine_url("postgres://me@host/db?sslmode=verify-full").drivername
    'postgresql+psycopg2'
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        # The text itself stays out of the message: it may hold a password.
        raise StoreError("DATABASE_URL cannot be read", hint="write postgresql://user@host:5432/database") from None
    if parsed.get_backend_name() not in {"postgresql", "postgres"}:
        raise StoreError(f"{parsed.get_backend_name()} is not PostgreSQL", hint="results live in PostgreSQL only")
    return parsed.set(drivername="postgresql+psycopg2")


def driver_dsn(url: str) -> str:
    """The address for psycopg2 itself.

    >>> driver_dsn("postgresql+psycopg2://me@host/db?sslmode=require")
    'postgresql://me@host/db?sslmode=require'
    """
    return engine_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def without_password(url: str) -> str:
    """The address as it may be shown.

    >>> without_password("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    >>> without_password("postgresql://host/db?user=me&password=secret")
    'postgresql://host/db?password=hidden&user=me'
    """
    shown = engine_url(url).set(drivername="postgresql")
    hidden = {name: "hidden" for name in shown.query if name.lower() in _SECRETS}
    return shown.update_query_dict(hidden).render_as_string(hide_password=True)
