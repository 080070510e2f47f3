"""The clock's arithmetic, its refusals, and what it does with spans that others measured."""

from __future__ import annotations

import time

import pytest

from microflow.errors import MicroflowError, TimingContaminationError
from microflow.timing import clock as clock_module
from microflow.timing.clock import PhaseClock
from microflow.timing.guard import PurityGuard


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Time stands still until a test moves it."""
    now = [0]
    monkeypatch.setattr(clock_module, "_now", lambda: now[0])
    return now


def test_phases_and_residual_are_wall_time(ticks: list[int]) -> None:
    """Every nanosecond belongs to a phase or to the residual, none to two."""
    clock = PhaseClock()
    for span, ns in ((clock.pre(), 5), (clock.pure(), 70), (clock.post(), 20)):
        with span:
            ticks[0] += ns
        ticks[0] += 1
    report = clock.report()
    assert (report.pre_ns, report.pure_ns, report.post_ns) == (5, 70, 20)
    assert (report.wall_ns, report.residual_ns) == (98, 3)


def test_the_clock_stands_still_between_microflows(ticks: list[int]) -> None:
    """What happens between two pure spans is in none of them."""
    clock = PhaseClock()
    for ns in (10, 30):
        with clock.pure():
            ticks[0] += ns
        ticks[0] += 1_000
    assert clock.pure_ns == 40
    assert clock.pure_spans.tolist() == [10, 30]


def test_a_pause_is_taken_out_of_wall_time(ticks: list[int]) -> None:
    """Time that is nobody's is published, and is not residual."""
    clock = PhaseClock()
    with clock.pause():
        ticks[0] += 500
    with clock.post():
        ticks[0] += 7
    report = clock.report()
    assert (report.wall_ns, report.paused_ns, report.residual_ns) == (7, 500, 0)


def test_reading_times_each_fetch_and_nothing_else(ticks: list[int]) -> None:
    """A source's own work is pre-processing; the consumer's is not."""

    def source() -> object:
        for item in "ab":
            ticks[0] += 10
            yield item
        ticks[0] += 3

    clock = PhaseClock()
    seen = []
    for item in clock.reading(source()):
        ticks[0] += 100
        seen.append(item)
    assert seen == ["a", "b"]
    assert clock.report().pre_ns == 23


@pytest.mark.parametrize("inner", ["pre", "pure", "post", "pause"])
@pytest.mark.parametrize("outer", ["pre", "pure", "post", "pause"])
def test_nested_spans_are_refused(outer: str, inner: str) -> None:
    """A nanosecond in two phases would make the sum a lie; the refused span leaves the first as it was."""
    clock = PhaseClock()
    with getattr(clock, outer)():
        with pytest.raises(MicroflowError, match="cannot start inside"):
            getattr(clock, inner)().__enter__()
        assert clock.running is not None
    assert clock.running is None
    with getattr(clock, inner)():
        pass


def test_what_the_guard_takes_is_not_pure(ticks: list[int]) -> None:
    """Arming the guard is pre-processing, its evidence post-processing, also when it complains; no time is lost."""

    class SlowGuard(PurityGuard):
        def enter(self) -> None:
            ticks[0] += 3

        def leave(self, error: BaseException | None = None) -> None:
            ticks[0] += 5
            raise TimingContaminationError("late")

    clock = PhaseClock(SlowGuard())
    with pytest.raises(TimingContaminationError), clock.pure():
        ticks[0] += 40
    report = clock.report()
    assert (report.pre_ns, report.pure_ns, report.post_ns, report.residual_ns) == (3, 40, 5, 0)


def test_an_exception_ends_the_span(ticks: list[int]) -> None:
    """Work that fails is timed up to its failure, and the clock can go on."""
    clock = PhaseClock()

    def work() -> None:
        ticks[0] += 4
        raise KeyError

    with pytest.raises(KeyError), clock.pure():
        work()
    with clock.post():
        ticks[0] += 1
    assert clock.report().pure_ns == 4


def test_what_two_workers_do_adds_up_but_overlaps(ticks: list[int]) -> None:
    """Work is the sum over workers; no more of it than this process waited for lies in wall time."""
    clock = PhaseClock()
    with clock.waiting():
        ticks[0] += 50
    clock.add_work(4, (40, 20), 1)
    clock.add_work(0, (30, 5), 0)
    with clock.pure():
        ticks[0] += 7
    ticks[0] += 3
    report = clock.report()
    assert report.pure_ns == clock.pure_ns == 102
    assert report.overlap_ns == 50
    assert report.residual_ns == 60 - (4 + 102 + 1 - 50)
    assert clock.pure_spans.tolist() == [40, 20, 30, 5, 7]


def test_real_time_is_counted() -> None:
    """Without a fake clock: a busy loop of 5 ms is in the pure phase, whole."""
    clock = PhaseClock()
    with clock.pure():
        start = time.perf_counter_ns()
        while time.perf_counter_ns() - start < 5_000_000:
            pass
    report = clock.report()
    assert 5_000_000 <= report.pure_ns <= report.wall_ns
