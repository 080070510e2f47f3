"""Gates around what leaves memory without an audit event: sleeps, open sockets, threads, fsync, database drivers.

Python's audit hooks see a file or socket being *opened*; they see neither the use of one already open nor the C code of
a database driver. These few functions are wrapped once, on the first guard; a passage costs one look at a dict while no
clock runs. Reads and writes on files already open need no gate: the kernel counts them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from microflow.timing.refusal import refuse_if_pure

__all__ = ["close_gates"]

_SOCKET_CALLS = ("send", "sendall", "recv", "recv_into", "recvfrom", "accept")
_closed: set[str] = set()


def close_gates() -> None:
    """Put every gate in place that is not yet; a database driver gets its gate once somebody has imported it."""
    for name, close in _GATES.items():
        if name not in _closed and (module := sys.modules.get(name)) is not None:
            _closed.add(name)
            close(module)


def _close_functions(owner: Any, *names: str) -> None:
    for name in names:
        if hasattr(owner, name):
            setattr(owner, name, _gated(getattr(owner, name), f"{owner.__name__}.{name}"))


def _gated(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def gate(*args: Any, **kwargs: Any) -> Any:
        refuse_if_pure(name)
        return function(*args, **kwargs)

    return gate


def _gate_sqlalchemy(module: Any) -> None:
    """Every statement of every engine, whatever the driver."""

    def refuse(*_: Any) -> None:
        refuse_if_pure("a SQL statement")

    # The first comes before a cursor is made, the second is there for SQL text handed to the driver as it is.
    for event in ("before_execute", "before_cursor_execute"):
        module.event.listen(module.engine.Engine, event, refuse)


def _gate_psycopg2(module: Any) -> None:
    """Every connection made from now on, unless its owner insists on a connection class of their own."""
    from microflow.timing.database import GuardedConnection

    connect = module._connect  # noqa: SLF001 - the one function that every psycopg2 connection comes from

    @functools.wraps(connect)
    def gate(dsn: str, connection_factory: Any = None, **kwargs: Any) -> Any:
        refuse_if_pure("psycopg2.connect")
        return connect(dsn, connection_factory=connection_factory or GuardedConnection, **kwargs)

    module._connect = gate  # noqa: SLF001


#: Module name to what closes its gate. Without an audit event in some supported Python: sleep before 3.13, threads
#: before 3.12, open sockets and fsync in all.
_GATES: dict[str, Callable[[Any], None]] = {
    "time": lambda module: _close_functions(module, "sleep"),
    "threading": lambda module: _close_functions(module.Thread, "start"),
    "os": lambda module: _close_functions(module, "fsync", "fdatasync", "sync", "sendfile"),
    "socket": lambda module: _close_functions(module.socket, *_SOCKET_CALLS),
    "ssl": lambda module: _close_functions(module.SSLSocket, *_SOCKET_CALLS, "read", "write"),
    "sqlalchemy": _gate_sqlalchemy,
    "psycopg2": _gate_psycopg2,
}
