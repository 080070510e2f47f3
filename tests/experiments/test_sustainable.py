"""The search finds the limit of systems whose limit is known."""

from __future__ import annotations

import pytest

from microflow.experiments.sustained import Probe, find_sustainable, judge
from microflow.lab.arrivals import poisson
from microflow.lab.open_loop import Objective, OpenLoop, Portions

MS = 1_000_000


def server(service_us: int, objective: Objective):
    def attempt(rate: float) -> Probe:
        loop = OpenLoop(poisson(rate, 5, seed=1))
        run = loop.simulate(Portions(), lambda due: due, service_ns=lambda _: service_us * 1_000)
        return judge(run, rate, objective, warm_up_s=0.5)

    return attempt


def test_a_server_is_sustained_up_to_its_capacity() -> None:
    """A millisecond of service is at most 1,000/s; with a generous latency objective the backlog decides."""
    found = find_sustainable(server(1_000, Objective(p99_ns=10_000 * MS)), 100, 3_000)
    assert found.bounded
    assert 900 <= found.rate <= 1_050


def test_a_tight_objective_is_reached_earlier() -> None:
    """M/D/1: at three quarters of the capacity 99 % wait more than 5 services, at half of it they do not."""
    loose = find_sustainable(server(1_000, Objective(p99_ns=50 * MS)), 100, 3_000)
    tight = find_sustainable(server(1_000, Objective(p99_ns=5 * MS)), 100, 3_000)
    assert 400 <= tight.rate < loose.rate <= 1_000


def test_the_ends_of_the_range_are_told_apart() -> None:
    """Nothing sustained is 0; everything sustained is a lower bound and says so."""
    none = find_sustainable(server(50_000, Objective(p99_ns=MS)), 100, 1_000)
    assert none.rate == 0
    assert [round(probe.rate, 1) for probe in none.probes] == [100, 50, 25, 12.5, 6.2, 3.1]
    everything = find_sustainable(server(1, Objective(p99_ns=MS)), 100, 1_000)
    assert (everything.rate, everything.bounded) == (1_000, False)


def test_the_search_is_bracketed_by_a_real_failure() -> None:
    """Where the lower end is not sustained, it goes down; what is found has a failed rate just above it."""
    found = find_sustainable(server(1_000, Objective(p99_ns=10_000 * MS)), 1_500, 3_000)
    failed = min(probe.rate for probe in found.probes if not probe.sustained)
    assert found.bounded
    assert 900 <= found.rate < failed <= 1.05 * found.rate


def test_what_a_short_run_let_through_a_long_one_must_confirm() -> None:
    """The confirmed rate passed the longer run itself, never one above it; what never passes is nothing."""

    def short(rate: float) -> Probe:
        return Probe(rate, 0, 0.0, 0, rate <= 1_000)

    def long(rate: float) -> Probe:
        return Probe(rate, 0, 0.0, 0, rate <= 900)

    found = find_sustainable(short, 500, 2_000, confirm=long)
    assert 850 <= found.rate <= 900
    assert found.probes[-1].sustained
    assert find_sustainable(short, 500, 2_000, confirm=lambda rate: Probe(rate, 0, 1.0, 0, False)).rate == 0


def test_both_ends_of_a_confirmed_rate_are_of_long_runs() -> None:
    """Too modest a search is climbed from: the answer passed the long run, and 5 % more failed it."""
    long: list[Probe] = []

    def confirm(rate: float) -> Probe:
        long.append(Probe(rate, 0, 0.0, 0, rate <= 900))
        return long[-1]

    found = find_sustainable(lambda rate: Probe(rate, 0, 0.0, 0, rate <= 700), 500, 2_000, confirm=confirm)
    held, failed = (max(one.rate for one in long if one.sustained), min(p.rate for p in long if not p.sustained))
    assert (found.rate, found.bounded) == (held, True)
    assert held <= 900 < failed <= 1.05 * held + 1e-9
    everything = find_sustainable(lambda rate: Probe(rate, 0, 0.0, 0, rate <= 700), 500, 800, confirm=confirm)
    assert (everything.rate, everything.bounded) == (800, False)


def test_a_load_that_is_lost_ends_early() -> None:
    """A trial ends once more than 1 in 100 records are late, because the objective is lost; not before."""
    objective, schedule = Objective(p99_ns=250 * MS), poisson(1_200, 30, seed=1)

    def served(limit: Objective | None) -> int:
        loop = OpenLoop(schedule, objective=limit, warm_up_s=0.2)
        run = loop.simulate(Portions(), lambda due: due, service_ns=lambda _: MS)
        assert not judge(run, 1_200, objective, warm_up_s=0.2).sustained
        return len(schedule) - run.unserved

    late = 0.01 * len(schedule) / 1_000  # seconds in which 1 in 100 of the records are served
    assert 1_000 * (1.25 + late) < served(objective) < 1_000 * (1.25 + 2 * late + 1)
    assert served(None) > 0.8 * len(schedule)


@pytest.mark.parametrize("rate", [300, 700, 900, 970])
def test_ending_early_changes_no_verdict(rate: float) -> None:
    """Sustained with and without the early end, or neither."""
    objective, schedule = Objective(p99_ns=20 * MS, slope=1), poisson(rate, 5, seed=2)
    verdicts = {
        judge(
            OpenLoop(schedule, objective=limit).simulate(Portions(), lambda due: due, service_ns=lambda _: MS),
            rate,
            objective,
        ).sustained
        for limit in (None, objective)
    }
    assert len(verdicts) == 1


def test_no_rate_above_the_upper_end_is_tried() -> None:
    """The engine's own rate at saturation bounds the search."""
    found = find_sustainable(lambda rate: Probe(rate, 0, 0.0, 0, True), 500, 2_000)
    assert max(probe.rate for probe in found.probes) == found.rate == 2_000


def test_unserved_records_are_not_sustained() -> None:
    """A system that drops what it cannot do has a splendid latency, and fails."""
    run = OpenLoop(poisson(500, 1, seed=1)).simulate(
        Portions(), lambda due: due if due.start % 100 else [], service_ns=lambda _: 1_000
    )
    assert not judge(run, 500, Objective(p99_ns=100 * MS)).sustained


@pytest.mark.parametrize("precision", [0.2, 0.05])
def test_the_interval_is_as_narrow_as_asked(precision: float) -> None:
    """The lowest failed and the highest sustained rate are within the precision."""
    found = find_sustainable(lambda rate: Probe(rate, 0, 0.0, 0, rate < 777), 10, 10_000, precision=precision)
    failed = min(probe.rate for probe in found.probes if not probe.sustained)
    assert found.rate < 777 <= failed <= found.rate * (1 + precision)
