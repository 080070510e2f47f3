"""Routers in simulated time, where every run is the same on every machine, against who knows the future."""

from itertools import product

import numpy as np
import pytest

from microflow.engine.router import AdaptiveRouter, Costs, NaturalRouter, Objectives, RandomRouter, Router, StaticRouter
from microflow.experiments.controls import oracle
from microflow.lab.arrivals import poisson
from microflow.lab.open_loop import OpenLoopRun, simulate
from microflow.settings import MORSEL_ROWS

COSTS = Costs(single=10_000, fixed=250_000, each=500)
STREAM_CAPACITY = 1e9 / COSTS.single
BATCH_CAPACITY = MORSEL_ROWS * 1e9 / COSTS.together(MORSEL_ROWS)


def p99(router: Router, schedule: np.ndarray) -> int:
    run = simulate(schedule, router, COSTS)
    assert run.unserved == 0
    return run.summary().p99_ns


def hybrid() -> AdaptiveRouter:
    return AdaptiveRouter(costs=COSTS)


def offered(rate: float, records: int = 12_000) -> np.ndarray:
    return poisson(rate, records / rate, seed=1)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.49])
def test_at_low_load_the_hybrid_is_as_quick_as_the_stream(share: float) -> None:
    """Below half of the stream's capacity its p99 is at most 1.25 times the stream's."""
    schedule = offered(share * STREAM_CAPACITY)
    assert p99(hybrid(), schedule) <= 1.25 * p99(StaticRouter(1), schedule)


@pytest.mark.parametrize(
    "rate", [1.1 * STREAM_CAPACITY, 0.3 * BATCH_CAPACITY, 0.6 * BATCH_CAPACITY, 0.9 * BATCH_CAPACITY]
)
def test_in_between_the_hybrid_beats_both(rate: float) -> None:
    """And a coin as well."""
    schedule = offered(rate, 40_000)
    others = [p99(router, schedule) for router in (StaticRouter(1), StaticRouter(1_000), RandomRouter(1))]
    assert p99(hybrid(), schedule) < min(others)


def test_at_saturation_the_hybrid_is_as_fast_as_batch() -> None:
    """With everything due at once: at least 0.9 of the throughput of full microflows."""
    schedule = np.zeros(30_000, np.int64)
    batch, mixed = (
        int(simulate(schedule, router, COSTS).completed_ns.max()) for router in (StaticRouter(1_000), hybrid())
    )
    assert batch / mixed >= 0.9


def burst() -> np.ndarray:
    """Ten times the load for a while, amid a load that the stream could bear."""
    calm, peak = poisson(40_000, 0.05, seed=2), poisson(400_000, 0.03, seed=3)
    return np.concatenate([calm, peak + 50_000_000, calm + 80_000_000])


def mean_latency(run: OpenLoopRun) -> float:
    assert run.unserved == 0
    return float(run.latencies_ns().mean())


def test_under_bursts_the_hybrid_is_near_the_oracle() -> None:
    """Within 1.5 times of who knows the future, in the mean and at the 99th percentile; static arms are not."""
    schedule = burst()
    best, mine = oracle(schedule, COSTS, beam=3), simulate(schedule, hybrid(), COSTS)
    assert mean_latency(best) <= mean_latency(mine) <= 1.5 * mean_latency(best)
    assert mine.summary().p99_ns <= 1.5 * best.summary().p99_ns
    for router in (StaticRouter(1), StaticRouter(1_000)):
        assert mean_latency(simulate(schedule, router, COSTS)) > 1.5 * mean_latency(best)
    assert mean_latency(simulate(schedule, RandomRouter(1), COSTS)) > mean_latency(mine)


def test_with_the_true_costs_natural_batching_does_as_well() -> None:
    """The advantage of the adaptive router: the size need not be known, and a wrong one costs."""
    schedule = burst()
    mine, told, wrong = (
        mean_latency(simulate(schedule, router, COSTS))
        for router in (hybrid(), NaturalRouter(round(COSTS.break_even)), NaturalRouter(1_000))
    )
    assert mine == pytest.approx(told, rel=0.15)
    assert wrong > 1.5 * mine


def test_the_oracle_is_the_best_of_all_ways() -> None:
    """Against every way to cut seven arrivals into services, by brute force."""
    costs = Costs(single=10, fixed=25, each=1)
    for seed in range(5):
        schedule = np.sort(np.random.default_rng(seed).integers(0, 80, 7))
        best = min(_cut_at(schedule.tolist(), cuts, costs) for cuts in product([False, True], repeat=6))
        assert oracle(schedule, costs, beam=100).latencies_ns().sum() <= 1.02 * best


def _cut_at(arrivals: list[int], cuts: tuple[bool, ...], costs: Costs) -> float:
    ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [len(arrivals)]
    free, total, first = 0.0, 0.0, 0
    for end in ends:
        size = end - first
        cost = costs.together(size) if size > 1 else min(costs.alone(1), costs.together(1))
        free = max(free, arrivals[end - 1]) + cost
        total += sum(free - arrival for arrival in arrivals[first:end])
        first = end
    return total


def test_urgent_records_are_served_in_time_under_a_burst() -> None:
    """While the others queue, the urgent ones wait for their objective and one microflow at most."""
    schedule = np.zeros(20_000, np.int64)
    urgent = set(range(0, 20_000, 400))
    router = AdaptiveRouter(
        Objectives(urgent_ns=2_000_000),
        COSTS,
        urgent=lambda first, stop: [i for i in range(first, stop) if i in urgent],
    )
    run = simulate(schedule, router, COSTS)
    assert run.completed_ns[sorted(urgent)].max() <= 2_000_000 + COSTS.together(1_000)
    assert run.completed_ns.max() > 10_000_000
