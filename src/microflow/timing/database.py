"""psycopg2 connections and cursors that ask before they talk: its C code raises no audit event of its own.

    psycopg2.connect(dsn, connection_factory=GuardedConnection)

The first `PurityGuard` makes this the default factory; a connector that opens connections earlier passes it.
"""

from __future__ import annotations

import functools
from typing import Any

from psycopg2.extensions import connection, cursor

from microflow.timing.refusal import refuse_if_pure

__all__ = ["GuardedConnection", "guarded_cursor"]

_CURSOR_CALLS = ("callproc", "copy_expert", "copy_from", "copy_to", "execute", "executemany", "fetchall", "fetchmany")


class GuardedConnection(connection):
    """A connection that refuses cursors and transaction control while the clock runs."""

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor as ever, of a class derived from the one asked for."""
        refuse_if_pure("opening a database cursor")
        # The connection's own default may be unset; the type stubs know only that it may be set.
        default: Any = self.cursor_factory
        kind = kwargs.pop("cursor_factory", None) or default or cursor
        return super().cursor(*args, cursor_factory=guarded_cursor(kind), **kwargs)

    def commit(self) -> None:
        refuse_if_pure("a database commit")
        super().commit()

    def rollback(self) -> None:
        refuse_if_pure("a database rollback")
        super().rollback()


@functools.cache
def guarded_cursor(kind: type[cursor]) -> type[cursor]:
    """A subclass of a cursor class (``RealDictCursor``, ...) whose calls to the server are refused inside the clock."""
    return type(f"Guarded{kind.__name__}", (kind,), {name: _asking(kind, name) for name in _CURSOR_CALLS})


def _asking(kind: type[cursor], name: str) -> Any:
    call = getattr(kind, name)

    @functools.wraps(call)
    def method(self: cursor, *args: Any, **kwargs: Any) -> Any:
        refuse_if_pure(f"cursor.{name}")
        return call(self, *args, **kwargs)

    return method
