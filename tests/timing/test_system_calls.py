"""Every call of another thread is put to the thread that made it; the span answers for its helpers alone."""

from __future__ import annotations

import _thread
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from microflow.descriptors import load_schema
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityEvidence, PurityGuard

#: Hashed in some hundredths of a second, in which the interpreter is free for others.
LONG = bytes(20_000_000)


@pytest.fixture
def zero() -> Iterator[int]:
    """An open descriptor: reading from it is seen by the kernel alone."""
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


class Native:
    """A thread that Python does not know of, as a library's pool has them: at rest until told to work, and after."""

    def __init__(self, work: Callable[[], object], name: str = "") -> None:
        self._work, self._name = work, name
        self._ready, self._told, self._done = threading.Event(), threading.Event(), threading.Event()
        _thread.start_new_thread(self._run, ())
        self._ready.wait()

    def _run(self) -> None:
        if self._name:
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(self._name)
        self._ready.set()
        self._told.wait()
        self._work()
        self._done.set()
        threading.Event().wait()

    def go(self) -> None:
        self._told.set()
        self._done.wait()


class Outsider(threading.Thread):
    """A thread of Python's that has nothing to do with us: works when told to, and stays until let go."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(name="outsider", daemon=True)
        self._work = work
        self._told, self._done, self._let_go = threading.Event(), threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        self._told.wait()
        self._work()
        self._done.set()
        self._let_go.wait()

    def go(self) -> None:
        self._told.set()
        self._done.wait()

    def leave(self) -> None:
        self._let_go.set()
        self.join()


def seen_in_a_span(work: Callable[[], object]) -> PurityEvidence:
    guard = PurityGuard()
    with PhaseClock(guard).pure():
        work()
    return guard.evidence


def test_a_newborn_comes_to_rest_before_the_clock_starts(zero: int) -> None:
    """What a pool's thread reads on its way to its first work is no call of the span that happens to follow."""
    clock, born, done = PhaseClock(PurityGuard()), threading.Event(), threading.Event()

    def newborn() -> None:
        born.set()
        hashlib.sha256(LONG)
        os.read(zero, 1)
        done.set()
        threading.Event().wait()

    _thread.start_new_thread(newborn, ())
    born.wait()
    with clock.pure():
        done.wait()
    assert clock.guard is not None
    assert clock.guard.evidence.is_pure, clock.guard.evidence
    assert clock.guard.evidence.elsewhere_calls == 0


def test_what_a_library_s_thread_reads_is_the_span_s(zero: int) -> None:
    """Native threads may have been handed the span's own work: their calls count, to the last one."""
    native = Native(lambda: [os.read(zero, 1) for _ in range(3)], name="pool-0")
    evidence = seen_in_a_span(native.go)
    assert (evidence.helper_calls, evidence.elsewhere_calls) == (3, 0)
    assert evidence.by_thread == {"pool-0": 3}
    assert not evidence.is_pure


@pytest.mark.parametrize("name", ["polars-ooc-clea", "rdk:main", "ZMQbg/IO/0"])
def test_chores_of_a_library_are_unrelated(name: str, zero: int) -> None:
    """Threads that libraries keep for themselves are known by name."""
    evidence = seen_in_a_span(Native(lambda: os.read(zero, 1), name).go)
    assert (evidence.helper_calls, evidence.elsewhere_calls) == (0, 1)
    assert evidence.by_thread == {name: 1}
    assert evidence.is_pure


def test_helpers_and_unrelated_threads_of_one_span_are_separated(zero: int) -> None:
    """Both called while the clock ran: each call is put to the thread that made it."""
    native = Native(lambda: [os.read(zero, 1) for _ in range(2)], name="pool-0")
    outsider = Outsider(lambda: [os.read(zero, 1) for _ in range(5)])
    evidence = seen_in_a_span(lambda: (native.go(), outsider.go()))
    outsider.leave()
    assert (evidence.helper_calls, evidence.elsewhere_calls) == (2, 5)
    assert evidence.by_thread == {"pool-0": 2, "outsider": 5}


def test_an_unrelated_thread_that_ends_inside_takes_its_calls_along(zero: int) -> None:
    """The kernel no longer lists a thread that ended; that it is gone, and whose it was, is known all the same."""
    outsider = Outsider(lambda: os.read(zero, 1))
    evidence = seen_in_a_span(lambda: (outsider.go(), outsider.leave()))
    assert (evidence.helper_calls, evidence.elsewhere_calls) == (0, 1)
    assert evidence.is_pure


def test_calls_between_spans_are_nobody_s(zero: int) -> None:
    """A helper that wrote what the last span released is not held to it in the next."""
    native, outsider = Native(lambda: os.read(zero, 1), "pool-0"), Outsider(lambda: os.read(zero, 1))
    guard = PurityGuard()
    clock = PhaseClock(guard)
    with clock.pure():
        pass
    native.go()
    with clock.pure():
        outsider.go()
    outsider.leave()
    assert guard.evidence.by_thread == {"outsider": 1}
    assert guard.evidence.is_pure


def test_our_own_code_in_another_thread_is_a_helper() -> None:
    """A thread in which this package opens a file while the clock runs is ours to answer for."""
    outsider = Outsider(lambda: load_schema("healthcare"))
    evidence = seen_in_a_span(outsider.go)
    outsider.leave()
    assert evidence.helper_events >= 1
    assert not evidence.is_pure


def test_a_call_back_from_a_library_s_thread_is_a_helper_s() -> None:
    """Python code that a pool runs in a thread of its own opens a file: there is no telling for whom."""
    evidence = seen_in_a_span(Native(lambda: Path(__file__).read_text()).go)
    assert evidence.helper_events >= 1
    assert not evidence.is_pure
