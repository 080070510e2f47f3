"""The purity guard: while the clock runs, nothing but memory is touched, and there is evidence of it.

Three nets, each behind the other:

1. *Refusal by audit hook* (PEP 578): opening files, sockets, processes, SQLite databases; changing directories.
2. *Refusal by gate* (`microflow.timing.refusal`): what raises no audit event, above all database drivers in C.
3. *Evidence by the kernel* (`microflow.timing.system_calls`): reads and writes on files already open, in any language.

What another thread does meanwhile is not stopped, for it may belong to somebody else; it is counted. Where the thread
may be at work for the span, `PurityEvidence.is_pure` is false. What unrelated threads do is separate: it is not the
span's doing, and never the same twice (`microflow.timing.system_calls` draws the line).

The guard acts just outside the timed span; inside, the pure phase of every pipeline raises no audit event at all, so
that there is nothing to pay (``make bench SUITE=timing`` measures both).
Limits: a mapped file read as memory, ``send`` by foreign C code, what was taken before the first guard existed (a
``time.sleep`` imported by name, a psycopg2 connection of another class than `guarded_connection`), and work handed to a
Python thread that runs none of this package's code pass the nets; voluntary context switches, part of the evidence,
give away whatever waits.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from threading import get_ident, get_native_id

from microflow.errors import TimingContaminationError
from microflow.timing.refusal import close_gates, contamination, refuse_if_pure, start_watching, stop_watching
from microflow.timing.system_calls import KernelCounters, KernelReading, OtherThreads

__all__ = ["PurityEvidence", "PurityGuard", "refuse_if_pure"]

#: Audit events before the dot: https://docs.python.org/3/library/audit_events.html
_FAMILIES = frozenset({"fcntl", "mmap", "open", "os", "pty", "socket", "sqlite3", "subprocess", "syslog", "time"})
_EVENTS = frozenset({"_thread.start_new_thread", "_thread.start_joinable_thread", "builtins.input", "ctypes.dlopen"})
_hooked: list[int] = []


@dataclass(slots=True)
class PurityEvidence:
    """Counters over all pure spans so far. Calls and bytes are the timed thread's, as the kernel counted them.

    ``helper_`` and ``elsewhere_`` are the calls and the attempts (audit events, gates) of other threads: of those that
    may have been at work for a span, and of unrelated threads. ``by_thread`` has both by the thread's name if known.
    ``kernel_counters`` is false where the kernel keeps none (not Linux): then only refusals are evidence.
    """

    kernel_counters: bool
    spans: int = 0
    refused: int = 0
    read_calls: int = 0
    write_calls: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    helper_calls: int = 0
    helper_events: int = 0
    elsewhere_calls: int = 0
    elsewhere_events: int = 0
    voluntary_switches: int = 0
    involuntary_switches: int = 0
    by_thread: dict[str, int] = field(default_factory=dict)

    @property
    def is_pure(self) -> bool:
        """True if only memory was touched, by this thread and by those that may have worked for it."""
        return self.refused + self.read_calls + self.write_calls + self.helper_calls + self.helper_events == 0


class PurityGuard:
    """Guard of the pure spans of one `PhaseClock`, in the thread that runs it.

    >>> from microflow.timing.clock import PhaseClock
    >>> clock = PhaseClock(guard=PurityGuard())
    >>> with clock.pure():
    ...     total = sum(range(1000))
    >>> clock.guard.evidence.is_pure
    True
    """

    def __init__(self) -> None:
        self._place: tuple[int, int] | None = None
        self._counters: KernelCounters | None = None
        self._others = OtherThreads()
        self._acted: dict[int, str] = {}
        self._start: KernelReading | None = None
        self._first_error: TimingContaminationError | None = None
        if not _hooked:
            # A hook cannot be taken away again: there is one, for all guards of the process and its forked children.
            sys.addaudithook(_audit)
            _hooked.append(os.getpid())
        close_gates()
        self.evidence = PurityEvidence(kernel_counters=self._settle())

    def enter(self) -> None:
        """Begin to guard: the clock is about to start in this thread."""
        close_gates()
        if self._place != (os.getpid(), get_ident()):
            self._settle()
        self._first_error, self._acted = None, {}
        if self._counters is not None:
            self._start = self._counters.before()
            if self._others.settle(self._start):
                self._start = self._counters.before()
        start_watching(self)

    def leave(self, error: BaseException | None = None) -> None:
        """End the guard of a span; ``error`` is the exception that ended the span, if there was one.

        Raises:
            TimingContaminationError: a refusal was swallowed or wrapped inside, or, where the span has no other
                error, the kernel counted reads or writes.
        """
        stop_watching()
        self.evidence.spans += 1
        kernel_error = self._kernel_error()
        if self._first_error is not None:
            if error is not self._first_error:
                raise self._first_error
        elif kernel_error is not None and error is None:
            raise kernel_error

    def refused(self, error: TimingContaminationError) -> None:
        """Record a refusal, so that code which catches it does not hide it."""
        self.evidence.refused += 1
        self._first_error = self._first_error or error

    def elsewhere(self, thread: str, *, helper: bool) -> None:
        """Record that the calling thread, another one, is about to touch something while the clock runs."""
        evidence = self.evidence
        evidence.by_thread[thread] = evidence.by_thread.get(thread, 0) + 1
        if helper:
            evidence.helper_events += 1
        else:
            evidence.elsewhere_events += 1
            self._acted[get_native_id()] = thread

    def close(self) -> None:
        """Close the kernel's descriptors; a guard may be used again afterwards."""
        if self._counters is not None:
            self._counters.close()
        self._counters, self._place = None, None

    def __del__(self) -> None:
        self.close()

    def _settle(self) -> bool:
        """Open the counters of the thread we are in (a thread or a forked child sees others than its parent)."""
        self.close()
        self._place, self._others = (os.getpid(), get_ident()), OtherThreads()
        try:
            self._counters = KernelCounters()
        except OSError:
            return False
        self._others.settle(self._counters.before())
        return True

    def _kernel_error(self) -> TimingContaminationError | None:
        if self._counters is None or self._start is None:
            return None
        traffic, evidence = self._counters.since(self._start), self.evidence
        evidence.read_calls += traffic.read_calls
        evidence.write_calls += traffic.write_calls
        evidence.read_bytes += traffic.read_bytes
        evidence.written_bytes += traffic.written_bytes
        evidence.voluntary_switches += traffic.voluntary_switches
        evidence.involuntary_switches += traffic.involuntary_switches
        for share in self._others.shares(traffic.elsewhere_calls, self._acted) if traffic.elsewhere_calls else ():
            evidence.by_thread[share.name] = evidence.by_thread.get(share.name, 0) + share.calls
            if share.helper:
                evidence.helper_calls += share.calls
            else:
                evidence.elsewhere_calls += share.calls
        if traffic.read_calls == traffic.write_calls == 0:
            return None
        calls = f"{traffic.read_calls} read and {traffic.write_calls} write calls"
        return contamination(f"the kernel counted {calls} on open files")


def _audit(event: str, _: tuple[object, ...]) -> None:
    if event in _EVENTS or event.partition(".")[0] in _FAMILIES:
        refuse_if_pure(event)
