"""SIGTERM and Ctrl-C: how they end a command, whatever library they meet on the way.

An exception that a signal's handler raises is lost where it meets a destructor, a callback out of compiled code, or
somebody's broad ``except``: the command would go on. So it is raised again until it arrives.
"""

from __future__ import annotations

import signal
import sys
from types import TracebackType
from typing import Any, Self

__all__ = ["Terminated", "TerminatingSignals"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
#: Seconds until the exception counts as lost and is raised again; and again.
_AGAIN_S = 1.0


class Terminated(SystemExit):
    """A signal ends the command; the exit status says which."""


class TerminatingSignals:
    """Block that a signal ends by `Terminated`, which no other exception can take the place of.

    Until `handle` is called, the system's own action stays: the process ends at once. That is right while a command is
    imported, which leaves nothing to clean up. A signal that the parent process ignores stays ignored.
    """

    def __init__(self) -> None:
        self._status = 0
        self._before: dict[int, Any] = {}
        self._hook = sys.unraisablehook

    def __enter__(self) -> Self:
        return self

    def handle(self) -> None:
        """Raise `Terminated` from now on."""
        sys.unraisablehook = self._report
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._end)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._status:
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        sys.unraisablehook = self._hook
        # What a library made of the exception says nothing; a command that got to its end is done.
        if self._status and error is not None and not isinstance(error, Terminated):
            raise Terminated(self._status) from error

    def _end(self, number: int, _: object) -> None:
        if number != signal.SIGALRM:
            self._status = self._status or 128 + number
            self._before.setdefault(signal.SIGALRM, signal.signal(signal.SIGALRM, self._end))
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)
        handled = sys.exception()
        while handled is not None:
            if isinstance(handled, Terminated):
                return  # it has not been lost: somebody cleans up, which must not be cut short
            handled = handled.__context__
        raise Terminated(self._status)

    def _report(self, lost: sys.UnraisableHookArgs) -> None:
        if not isinstance(lost.exc_value, Terminated):
            self._hook(lost)
