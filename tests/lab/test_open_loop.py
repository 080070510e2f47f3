"""Open loop: nothing a system does can hide what its records waited for."""

from __future__ import annotations

import fcntl
import math
import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.engine.router import StaticRouter
from microflow.errors import MicroflowError
from microflow.lab import arrivals
from microflow.lab.arrivals import SimulatedFeed, poisson, steady
from microflow.lab.open_loop import OpenLoop, OpenLoopRun, Portions

MS = 1_000_000


def lindley(schedule: np.ndarray, service_ns: int) -> np.ndarray:
    """Latencies of a queue with one server by Lindley's recursion: an oracle without any loop of ours."""
    latencies, free = [], 0
    for arrival in schedule.tolist():
        free = max(arrival, free) + service_ns
        latencies.append(free - arrival)
    return np.array(latencies)


@given(rate=st.integers(100, 20_000), service_us=st.integers(1, 300), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_simulated_stream_is_lindleys_queue(rate: int, service_us: int, seed: int) -> None:
    """Every latency to the nanosecond, under-loaded and overloaded alike."""
    schedule = poisson(rate, 0.2, seed)
    if len(schedule) == 0:
        return
    run = OpenLoop(schedule, give_up_s=1e6).simulate(
        Portions(), lambda due: due, service_ns=lambda _: service_us * 1_000
    )
    assert (run.latencies_ns() == lindley(schedule, service_us * 1_000)).all()


def test_a_stall_is_seen_in_full_simulated() -> None:
    """One stall of 200 ms at 1,000/s: its 200 records waited 200, 199, 198 ... ms, and a closed loop would see one."""
    run = OpenLoop(steady(1_000, 2)).simulate(
        Portions(), lambda due: due, service_ns=lambda due: 200 * MS if due.start == 1_000 else 1_000
    )
    waited = run.latencies_ns()
    assert (waited > 10 * MS).sum() == pytest.approx(190, abs=2)
    np.testing.assert_allclose(waited[1_000:1_150] / MS, np.arange(200, 50, -1), atol=0.3)
    assert run.summary().p99_ns > 170 * MS


def test_a_stall_is_seen_in_full_in_real_time() -> None:
    """The same stall in a real run: the load came from another process all the while."""

    def serve(due: range) -> range:
        if due.start == 300:
            time.sleep(0.2)
        return due

    run = OpenLoop(steady(1_000, 0.8)).run(Portions(), serve)
    waited = run.latencies_ns()
    assert run.unserved == 0
    assert waited.max() >= 200 * MS
    # A loaded machine can only make the records behind the stall wait longer.
    assert (waited[300:450] >= (np.arange(200, 50, -1) - 1) * MS).all()


@pytest.mark.parametrize(
    ("least", "most", "sizes"),
    [(1, 1, [1] * 10), (4, 4, [4, 4, 2]), (1, 100, [1, 4, 5]), (4, 8, [4, 4, 2])],
)
def test_portions_are_handed_over_in_order(least: int, most: int, sizes: list[int]) -> None:
    """Ten records 1 ms apart, a first call of 4.5 ms: each kind of system gets its own portions, in order."""
    seen: list[range] = []

    def serve(due: range) -> range:
        seen.append(due)
        return due

    OpenLoop(steady(1_000, 0.01)).simulate(
        Portions(least, most),
        serve,
        service_ns=lambda due: 4_500_000 if due.start == 0 else 6 * MS if most > 4 else 1_000,
    )
    assert [len(due) for due in seen] == sizes
    assert [index for due in seen for index in due] == list(range(10))


def test_a_dispatcher_is_told_what_serving_took() -> None:
    """A router that learns costs sees each portion with its own."""
    seen: list[tuple[range, int]] = []

    class Learning(Portions):
        def observe(self, portion: range, ns: int) -> None:
            seen.append((portion, ns))

    OpenLoop(steady(1_000, 0.003)).simulate(Learning(), lambda due: due, service_ns=lambda due: 10 + due.start)
    assert seen == [(range(i, i + 1), 10 + i) for i in range(3)]


def test_a_batch_waits_for_its_records() -> None:
    """Full microflows cost the wait to fill them: the mean latency is half of it, the adaptive system pays nothing."""
    schedule = steady(10_000, 2)
    batch = OpenLoop(schedule).simulate(Portions(1_000, 1_000), lambda due: due, service_ns=lambda _: 1)
    adaptive = OpenLoop(schedule).simulate(Portions(1, 1_000), lambda due: due, service_ns=lambda _: 1)
    assert batch.latencies_ns().mean() == pytest.approx(50 * MS, rel=0.02)
    assert adaptive.latencies_ns().max() == 1


def test_records_held_back_count_until_they_are_released() -> None:
    """A system with a delay bound returns other indices than it was given; the flush releases the rest."""
    held: list[int] = []

    def serve(due: range) -> list[int]:
        held.extend(due)
        return [held.pop(0)] if len(held) > 3 else []

    run = OpenLoop(steady(1_000, 0.01)).simulate(Portions(), serve, lambda: held, service_ns=lambda _: 0)
    assert (run.latencies_ns()[:7] == 3 * MS).all()
    assert (run.latencies_ns()[7:] == np.array([2, 1, 0]) * MS).all()
    assert run.unserved == 0


def test_what_is_never_returned_is_not_served() -> None:
    """A lost record is counted, and has no latency."""
    run = OpenLoop(steady(1_000, 0.01)).simulate(
        Portions(), lambda due: [i for i in due if i != 4], service_ns=lambda _: 0
    )
    assert run.unserved == 1
    assert len(run.latencies_ns()) == 9


@pytest.mark.parametrize(("service_us", "slope"), [(500, 0.0), (2_000, 0.5), (4_000, 0.75)])
def test_the_backlog_of_an_overload_grows_by_its_excess(service_us: int, slope: float) -> None:
    """At 1,000/s a server of 500/s falls behind by half the load; one that keeps up has no slope."""
    run = OpenLoop(steady(1_000, 2), give_up_s=60).simulate(
        Portions(), lambda due: due, service_ns=lambda _: service_us * 1_000
    )
    assert run.backlog_slope() == pytest.approx(slope, abs=0.01)


def test_an_overload_is_given_up() -> None:
    """A hopeless run ends a given time after the last arrival; what was not served is counted."""
    run = OpenLoop(steady(1_000, 1), give_up_s=1).simulate(Portions(), lambda due: due, service_ns=lambda _: 10 * MS)
    assert run.unserved == pytest.approx(800, abs=3)
    assert run.backlog_slope() == pytest.approx(0.9, abs=0.02)


def test_warm_up_is_cut_by_arrival() -> None:
    """Records due in the warm-up are not in the percentiles, whenever they were finished."""
    run = OpenLoop(steady(1_000, 1)).simulate(
        Portions(), lambda due: due, service_ns=lambda due: 100 * MS if due.start == 0 else 1_000
    )
    assert run.summary().max_ns == 100 * MS
    assert run.summary(warm_up_s=0.5).max_ns == 1_000
    assert run.summary(warm_up_s=0.5).count == 500


def test_a_hurried_run_measures_services_and_skips_waits() -> None:
    """The call itself is timed; an idle hour is not waited for."""
    start = time.perf_counter_ns()
    run = OpenLoop(np.array([0, 3_600 * 10**9])).hurry(Portions(), lambda due: time.sleep(0.01) or due)
    assert time.perf_counter_ns() - start < 60 * 10**9
    assert run.latencies_ns().min() >= 10 * MS


def test_a_hurried_run_counts_what_deciding_costs() -> None:
    """A dispatcher that thinks for 5 ms delays its record by them; in simulated time it would not."""

    class Slow(Portions):
        def route(self, arrived: int) -> range | None:
            time.sleep(0.005)
            return super().route(arrived)

    run = OpenLoop(steady(10, 0.5)).hurry(Slow(), lambda due: due)
    assert run.latencies_ns().min() >= 5 * MS
    assert run.unserved == 0


def test_a_real_run_serves_everything_once_and_in_order() -> None:
    """20,000 records at 40,000/s through pipe and process: none lost, none twice, none before it was due."""
    seen: list[int] = []

    def serve(due: range) -> range:
        seen.extend(due)
        return due

    schedule = poisson(40_000, 0.5, seed=1)
    run = OpenLoop(schedule).run(Portions(1, 1_000), serve)
    assert seen == list(range(len(schedule)))
    assert run.unserved == 0
    assert run.latencies_ns().min() >= 0
    assert 0 < len(run.generator_lag_ns) <= len(schedule)
    assert run.generator_lag_ns.min() >= 0


def test_the_generator_does_not_wait_for_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that hears nothing while more announcements come than a pipe can hold still learns of all records."""

    def serve(due: range) -> range:
        if due.start == 0:
            time.sleep(0.6)
        return due

    popen = arrivals.subprocess.Popen

    def with_a_narrow_pipe(*args: object, **options: object) -> object:
        process = popen(*args, **options)
        fcntl.fcntl(process.stdout.fileno(), fcntl.F_SETPIPE_SZ, 4_096)
        return process

    monkeypatch.setattr(arrivals.subprocess, "Popen", with_a_narrow_pipe)
    schedule = steady(30_000, 0.5)
    run = OpenLoop(schedule).run(Portions(1, 1_000), serve)
    assert run.unserved == 0
    assert run.latencies_ns()[: len(schedule) // 2].min() >= 300 * MS
    # Had the full pipe held the generator up, it would have slept along for most of the 600 ms.
    assert run.generator_lag_ns.max() < 250 * MS


def test_no_process_outlives_a_run_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of the system under test ends the load generator too."""
    started = []
    popen = arrivals.subprocess.Popen
    monkeypatch.setattr(arrivals.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def serve(due: range) -> range:
        raise KeyError

    with pytest.raises(KeyError):
        OpenLoop(steady(100, 60)).run(Portions(), serve)
    assert started[0].returncode is not None


def test_a_generator_that_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose load stopped is not a run."""
    started = []
    popen = arrivals.subprocess.Popen
    monkeypatch.setattr(arrivals.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def serve(due: range) -> range:
        os.kill(started[0].pid, 9)
        return due

    with pytest.raises(MicroflowError, match="load generator"):
        OpenLoop(steady(100, 60)).run(Portions(), serve)


def test_an_empty_schedule_is_refused() -> None:
    """It would measure nothing and divide by it."""
    with pytest.raises(ValueError, match="without arrivals"):
        OpenLoop(np.empty(0, np.int64))


def test_slope_of_degenerate_runs_is_zero() -> None:
    """One record, or a warm-up longer than the run: no trend can be seen."""
    run = OpenLoopRun(np.array([5]), np.array([9]), np.empty(0, np.int64))
    assert run.backlog_slope() == 0
    assert not math.isnan(run.backlog_slope(warm_up_s=10))


def test_a_microflow_leaves_when_it_is_full_or_its_oldest_record_has_waited() -> None:
    """At 1,000/s and 5 ms six records leave together, and none waits longer; a burst leaves as soon as one is full."""
    calm = OpenLoop(steady(1_000, 0.6))
    run = calm.simulate(StaticRouter(1_000, 5 * MS), lambda route: route.records, service_ns=lambda _: 0)
    assert run.latencies_ns().max() == 5 * MS
    assert np.unique(run.completed_ns, return_counts=True)[1].tolist() == [6] * 100
    burst = OpenLoop(steady(1_000_000, 0.01))
    run = burst.simulate(StaticRouter(1_000, 5 * MS), lambda route: route.records, service_ns=lambda _: 0)
    assert np.unique(run.completed_ns, return_counts=True)[1].tolist() == [1_000] * 10
    assert run.latencies_ns().max() == 999_000


def test_lingering_in_real_time_needs_no_arrival() -> None:
    """Two records half a second apart: the first is done long before the second comes."""
    schedule = np.array([0, 500 * MS])
    for drive in (OpenLoop(schedule).run, OpenLoop(schedule).hurry):
        run = drive(StaticRouter(1_000, 20 * MS), lambda route: route.records)
        assert 20 * MS <= run.latencies_ns()[0] < 400 * MS
        assert run.unserved == 0


@given(rate=st.integers(100, 20_000), linger_us=st.integers(1, 300_000), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_lingering_loses_no_record(rate: int, linger_us: int, seed: int) -> None:
    """Whatever the rate: all are served, and an idle server lets none wait longer."""
    schedule = poisson(rate, 0.2, seed)
    if len(schedule) == 0:
        return
    router = StaticRouter(100, linger_us * 1_000)
    run = OpenLoop(schedule).simulate(router, lambda route: route.records, service_ns=lambda _: 0)
    assert run.unserved == 0
    assert run.latencies_ns().max() <= linger_us * 1_000


def test_an_arrival_that_is_announced_late_is_waited_for() -> None:
    """Its time is over before the generator says that it is there: that is not the end of the run."""

    class Late(SimulatedFeed):
        def wait(self, least: int, until: int | None = None) -> int:
            if until is None:
                return super().wait(least)
            self._now = max(self._now, until)
            return 0

    loop = OpenLoop(steady(1_000, 0.01))
    completed = loop._drive(Late(steady(1_000, 0.01)), StaticRouter(4, MS), lambda route: route.records, None)
    assert (completed >= 0).all()
