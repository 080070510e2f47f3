"""Refusals while the clock runs: files, sockets, processes, and gates around what raises no audit event.

Everything that notices work outside memory (the audit hook, the gates around C code, a connector) asks
`refuse_if_pure`; while no clock runs that is one look at an empty dict.

Python's audit hooks see a file or socket being *opened*; they see neither the use of one already open nor the C code of
a database driver. These few functions are wrapped once, on the first guard; a passage costs one look at a dict while no
clock runs. Reads and writes on files already open need no gate: the kernel counts them.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
import sysconfig
import threading
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from microflow.errors import TimingContaminationError

if TYPE_CHECKING:
    from psycopg2.extensions import connection as Connection  # noqa: N812 - the driver's own classes are in lower case
    from psycopg2.extensions import cursor as Cursor  # noqa: N812

__all__ = [
    "Watcher", "close_gates", "contamination", "guarded_connection", "is_foreign", "refuse_if_pure",
    "runs_ours", "start_watching", "stop_watching",
]  # fmt: skip

#: Where files begin that belong to Python or to a library, to this package, and to its timing.
_LIBRARIES = ("<frozen", *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")))
_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_TIMING = str(Path(__file__).parent) + os.sep
_HINT = "do it before or after the pure phase; a lazy import or first-use initialisation needs a warm-up call before it"


class Watcher(Protocol):
    """Record of what was refused in its own thread, and of what other threads did meanwhile."""

    def refused(self, error: TimingContaminationError) -> None:
        """The timed thread tried; it gets ``error``."""
        ...

    def elsewhere(self, thread: str, *, helper: bool) -> None:
        """Another ``thread`` tried while the clock ran: one that this package answers for if it is a ``helper``."""
        ...


#: Thread identity to the watcher of the clock that runs there.
_watching: dict[int, Watcher] = {}
#: Whether the garbage collector waits for the clocks that run.
_collector_waits = False


def start_watching(watcher: Watcher) -> None:
    """Restrict this thread to memory from now on.

    The garbage collector waits meanwhile: it would run finalisers of anybody's garbage in the timed thread, where they
    are refused and their owner's files stay open. It makes up for it between spans, where its time is counted too.
    """
    global _collector_waits  # noqa: PLW0603 - the collector is the process's, not a thread's
    _watching[get_ident()] = watcher
    if gc.isenabled():
        gc.disable()
        _collector_waits = True


def stop_watching() -> None:
    """Remove the restriction of this thread."""
    global _collector_waits  # noqa: PLW0603
    _watching.pop(get_ident(), None)
    if _collector_waits and not _watching:
        _collector_waits = False
        gc.enable()


def refuse_if_pure(what: str) -> None:
    """Refuse ``what`` if this thread's clock is running; tell the watchers if only another thread's is.

    Call it where work leaves memory behind Python's back, as in a database connector. ``what`` names the operation,
    never a value.

    Raises:
        TimingContaminationError: names ``what`` and the line that asked for it.
    """
    if not _watching:
        return
    watcher = _watching.get(get_ident())
    if watcher is None:
        # Stopping a thread that the measurement does not own would break its owner: the measurement is what is spoilt.
        name, helper = _who()
        for other in list(_watching.values()):
            other.elsewhere(name, helper=helper)
        return
    error = contamination(what)
    watcher.refused(error)
    raise error


def contamination(what: str) -> TimingContaminationError:
    """The error that names ``what`` and the call site."""
    return TimingContaminationError(f"{what} while the clock was running, at {_call_site()}", hint=_HINT)


def _call_site() -> str:
    """``file:line`` of the innermost frame that belongs neither to this package's timing nor to a library."""
    nearest = sys._getframe(1)  # noqa: SLF001 - the documented way to a caller's frame
    frame: FrameType | None = nearest
    while frame is not None:
        name = frame.f_code.co_filename
        if not name.startswith(_TIMING if name.startswith(_PACKAGE) else _LIBRARIES):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return f"{nearest.f_code.co_filename}:{nearest.f_lineno}"


def _who() -> tuple[str, bool]:
    """This thread's name, and whether it may be at work for a span: see `microflow.timing.system_calls`."""
    # `threading.current_thread` takes a lock for a thread that is not Python's, and a hook may run inside that lock.
    thread: threading.Thread | None = threading._active.get(get_ident())  # type: ignore[attr-defined] # noqa: SLF001
    if thread is None or is_foreign(thread):
        return "", True
    return thread.name, runs_ours(sys._getframe(1))  # noqa: SLF001


def is_foreign(thread: threading.Thread) -> bool:
    """True if Python knows the thread only because foreign code called back from a thread of its own."""
    return isinstance(thread, threading._DummyThread)  # noqa: SLF001 - there is no other way to tell


def runs_ours(frame: FrameType | None) -> bool:
    """True if this package's code, except its timing, is in the frame or among its callers."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PACKAGE) and not name.startswith(_TIMING):
            return True
        frame = frame.f_back
    return False


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
            setattr(owner, name, gated(getattr(owner, name), f"{owner.__name__}.{name}"))


def gated(function: Callable[..., Any], what: str) -> Callable[..., Any]:
    """A function that asks `refuse_if_pure` before it does ``what``."""

    @functools.wraps(function)
    def gate(*args: Any, **kwargs: Any) -> Any:
        refuse_if_pure(what)
        return function(*args, **kwargs)

    return gate


def _gate_sqlalchemy(module: Any) -> None:
    """Every statement of every engine, whatever the driver."""

    def refuse(*_: Any) -> None:
        refuse_if_pure("a SQL statement")

    # The first comes before a cursor is made, the second is there for SQL text handed to the driver as it is.
    for event in ("before_execute", "before_cursor_execute"):
        module.event.listen(module.engine.Engine, event, refuse)


_CURSOR_CALLS = ("callproc", "copy_expert", "copy_from", "copy_to", "execute", "executemany", "fetchall", "fetchmany")


@functools.cache
def guarded_connection() -> type[Connection]:
    """Class of psycopg2 connections that refuse cursors and transaction control while the clock runs.

    The first `PurityGuard` makes it the default; a connector that opens connections earlier passes it to
    ``psycopg2.connect`` as the ``connection_factory``. A cursor is of a class derived from the one asked for.
    """
    from psycopg2.extensions import connection, cursor

    @functools.cache
    def guarded_cursor(kind: type[Cursor]) -> type[Cursor]:
        calls = {name: gated(getattr(kind, name), f"cursor.{name}") for name in _CURSOR_CALLS}
        return type(f"Guarded{kind.__name__}", (kind,), calls)

    class GuardedConnection(connection):
        commit = gated(connection.commit, "a database commit")
        rollback = gated(connection.rollback, "a database rollback")

        def cursor(self, *args: Any, **kwargs: Any) -> Any:
            refuse_if_pure("opening a database cursor")
            # The connection's own default may be unset; the type stubs know only that it may be set.
            default: Any = self.cursor_factory
            kind = kwargs.pop("cursor_factory", None) or default or cursor
            return super().cursor(*args, cursor_factory=guarded_cursor(kind), **kwargs)

    return GuardedConnection


def _gate_psycopg2(module: Any) -> None:
    """Every connection made from now on, unless its owner insists on a connection class of their own."""
    connect = module._connect  # noqa: SLF001 - the one function that every psycopg2 connection comes from

    @functools.wraps(connect)
    def gate(dsn: str, connection_factory: Any = None, **kwargs: Any) -> Any:
        refuse_if_pure("psycopg2.connect")
        return connect(dsn, connection_factory=connection_factory or guarded_connection(), **kwargs)

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
