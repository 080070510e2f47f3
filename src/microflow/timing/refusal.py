"""Who may not touch anything but memory now, and the one way to tell them.

Everything that notices work outside memory (the audit hook, the gates around C code, a connector) asks
`refuse_if_pure`; while no clock runs that is one look at an empty dict.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import threading
from pathlib import Path
from threading import get_ident
from types import FrameType
from typing import Protocol

from microflow.errors import TimingContaminationError

__all__ = [
    "Watcher",
    "call_site",
    "contamination",
    "is_foreign",
    "refuse_if_pure",
    "runs_ours",
    "start_watching",
    "stop_watching",
]

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_TIMING = str(Path(__file__).parent) + os.sep
_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_HINT = "do it before or after the pure phase; a lazy import or first-use initialisation needs a warm-up call before it"


class Watcher(Protocol):
    """Keeps account of what was refused in its own thread, and of what other threads did meanwhile."""

    def refused(self, error: TimingContaminationError) -> None:
        """The timed thread tried; it gets ``error``."""
        ...

    def elsewhere(self, thread: str, *, helper: bool) -> None:
        """Another ``thread`` tried while the clock ran: one that this package answers for if it is a ``helper``."""
        ...


#: Thread identity to the watcher of the clock that runs there.
_watching: dict[int, Watcher] = {}


def start_watching(watcher: Watcher) -> None:
    """From now on this thread may touch memory only."""
    _watching[get_ident()] = watcher


def stop_watching() -> None:
    """This thread is free again."""
    _watching.pop(get_ident(), None)


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
    return TimingContaminationError(f"{what} while the clock was running, at {call_site()}", hint=_HINT)


def call_site() -> str:
    """``file:line`` of the innermost frame that belongs neither to this package's timing nor to a library."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to a caller's frame
    nearest = frame
    while frame is not None:
        name = frame.f_code.co_filename
        if not _is_machinery(name):
            return f"{name}:{frame.f_lineno}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return f"{nearest.f_code.co_filename}:{nearest.f_lineno}"


def _who() -> tuple[str, bool]:
    """This thread's name, and whether it may be at work for a span: see `microflow.timing.bystanders`."""
    # `threading.current_thread` takes a lock for a thread that is not Python's, and a hook may run inside that lock.
    thread: threading.Thread | None = threading._active.get(get_ident())  # type: ignore[attr-defined] # noqa: SLF001
    if thread is None or is_foreign(thread):
        return "", True
    return thread.name, runs_ours(sys._getframe(1))  # noqa: SLF001 - the documented way to a caller's frame


def is_foreign(thread: threading.Thread) -> bool:
    """Whether Python only knows of it because foreign code called back from a thread of its own."""
    return isinstance(thread, threading._DummyThread)  # noqa: SLF001 - there is no other way to tell


def runs_ours(frame: FrameType | None) -> bool:
    """Whether this package's code, its timing apart, is in the frame or among its callers."""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(_PACKAGE) and not name.startswith(_TIMING):
            return True
        frame = frame.f_back
    return False


def _is_machinery(filename: str) -> bool:
    if filename.startswith(_PACKAGE):
        return filename.startswith(_TIMING)
    return filename.startswith(("<frozen", *_LIBRARIES))
