"""psycopg2 connections and cursors that ask before they talk: its C code raises no audit event of its own.

    psycopg2.connect(dsn, connection_factory=GuardedConnection)

The first `PurityGuard` makes this the default factory; a connector that opens connections earlier passes it.
"""

from __future__ import annotations

import functools
from typing import Any

from psycopg2.extensions import connection, cursor

from microflow.timing.refusal import gated, refuse_if_pure

__all__ = ["GuardedConnection", "guarded_cursor"]

_CURSOR_CALLS = ("callproc", "copy_expert", "copy_from", "copy_to", "execute", "executemany", "fetchall", "fetchmany")


class GuardedConnection(connection):
    """A connection that refuses cursors and transaction control while the clock runs."""

    commit = gated(connection.commit, "a database commit")
    rollback = gated(connection.rollback, "a database rollback")

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor as ever, of a class derived from the one asked for."""
        refuse_if_pure("opening a database cursor")
        # The connection's own default may be unset; the type stubs know only that it may be set.
        default: Any = self.cursor_factory
        kind = kwargs.pop("cursor_factory", None) or default or cursor
        return super().cursor(*args, cursor_factory=guarded_cursor(kind), **kwargs)


@functools.cache
def guarded_cursor(kind: type[cursor]) -> type[cursor]:
    """A subclass of a cursor class (``RealDictCursor``, ...) whose calls to the server are refused inside the clock."""
    calls = {name: gated(getattr(kind, name), f"cursor.{name}") for name in _CURSOR_CALLS}
    return type(f"Guarded{kind.__name__}", (kind,), calls)
