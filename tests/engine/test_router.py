"""What is served next, and how; and what the router believes about costs."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.engine.router import (
    AdaptiveRouter,
    Costs,
    LearnedCosts,
    NaturalRouter,
    Objectives,
    RandomRouter,
    Route,
    Router,
    StaticRouter,
)
from microflow.settings import MICROFLOW_ROWS, MORSEL_ROWS

#: Break-even at 20 records; a full microflow takes 0.7 ms.
COSTS = Costs(single=10_500, fixed=200_000, each=500)


def urgent_every(step: int) -> object:
    return lambda first, stop: [i for i in range(first, stop) if i % step == 0]


def routers() -> dict[str, Router]:
    return {
        "one at a time": StaticRouter(1),
        "microflows": StaticRouter(1_000),
        "coin": RandomRouter(3),
        "natural": NaturalRouter(20),
        "adaptive": AdaptiveRouter(costs=COSTS),
        "urgent": AdaptiveRouter(Objectives(urgent_ns=1), COSTS, urgent=urgent_every(7)),  # type: ignore[arg-type]
    }


@pytest.mark.parametrize("name", routers())
@settings(max_examples=15)
@given(arrivals=st.lists(st.integers(1, 3_000), min_size=1, max_size=12), service=st.integers(1, 10**7))
def test_every_record_is_served_once(name: str, arrivals: list[int], service: int) -> None:
    """Whatever arrives when and whatever serving costs; none holds more than a morsel, a microflow where some press."""
    router, arrived, served = routers()[name], 0, []
    for more in arrivals:
        arrived += more
        for _ in range(min(more, 50)):
            route = router.route(arrived)
            if route is None:
                break
            assert 1 <= len(route.records) <= (MICROFLOW_ROWS if name == "urgent" else MORSEL_ROWS)
            served += route.records
            router.observe(route, service)
    while (route := router.route(arrived)) is not None:
        served += route.records
    assert sorted(served) == list(range(arrived))
    assert sum(router.reasons.values()) == arrived


def drained(router: Router, arrived: int) -> list[Route]:
    routes = []
    while (route := router.route(arrived)) is not None:
        routes.append(route)
    return routes


def test_low_load_goes_at_once_high_load_in_microflows() -> None:
    """A few waiting records go one by one, many in one go, and the reasons say so."""
    router = AdaptiveRouter(costs=COSTS)
    assert [(len(r.records), r.together) for r in drained(router, 3)] == [(1, False)] * 3
    route = router.route(303)
    assert route is not None
    assert (route.records, route.together) == (range(3, 303), True)
    assert router.reasons == {"low load": 3, "high load": 300}
    assert router.route(304 + MORSEL_ROWS).reason == "as many as allowed"  # type: ignore[union-attr]


def test_the_way_does_not_flutter_at_the_break_even_size() -> None:
    """Around 20 waiting records the router stays with what it does: the band is a quarter each way."""
    router, arrived, ways = AdaptiveRouter(costs=COSTS), 0, []
    for waiting in [23, 24, 23, 26, 23, 17, 17, 15, 18]:
        arrived = router._next + waiting
        route = router.route(arrived)
        assert route is not None
        ways.append(route.together)
    assert ways == [False, False, False, True, True, True, True, False, False]


def test_a_backlog_of_a_microflow_goes_as_one_whatever_was_learned() -> None:
    """Even where microflows seem dear: a wrong belief cannot keep a router from catching up."""
    router = AdaptiveRouter(costs=Costs(single=10_000, fixed=50_000_000, each=500))
    assert not router.route(900).together  # type: ignore[union-attr]
    assert router.route(2_000).together  # type: ignore[union-attr]


def test_a_missed_objective_halves_the_microflow_a_kept_one_lets_it_grow() -> None:
    """Additive increase, multiplicative decrease, never above a morsel."""
    router, sizes = AdaptiveRouter(Objectives(service_ns=1_000_000), COSTS), []
    for ns in [2_000_000, 2_000_000, 500_000, 500_000, 2_000_000, 500_000]:
        route = router.route(10**6)
        assert route is not None
        sizes.append(len(route.records))
        router.observe(route, ns)
    assert [size / MORSEL_ROWS for size in sizes] == [1, 0.5, 0.25, 0.3, 0.35, 0.175]


def test_full_microflows_go_together_and_the_last_ones_as_they_are() -> None:
    """The batch arm waits for one that is full, takes all that are, a morsel at most, and the rest at the end."""
    router = StaticRouter(1_000)
    assert router.wanted() == 1_000
    assert [len(route.records) for route in drained(router, MORSEL_ROWS + 2_500)] == [MORSEL_ROWS, 2_000, 500]
    assert router.wanted() == MORSEL_ROWS + 3_500


def test_urgent_records_overtake_only_where_they_would_be_late() -> None:
    """Those whose turn comes in time keep their place; those far behind go first, each once."""
    late = Objectives(urgent_ns=1_500_000)  # two microflows of 0.7 ms
    router = AdaptiveRouter(late, COSTS, urgent=urgent_every(1_000))  # type: ignore[arg-type]
    first, *others = drained(router, 5_000)
    assert (list(first.records), first.reason) == ([2_000, 3_000, 4_000], "urgent")
    served = [ordinal for route in others for ordinal in route.records]
    assert served == [i for i in range(5_000) if i not in {2_000, 3_000, 4_000}]
    assert router.reasons["urgent"] == 3


def test_without_backlog_urgency_is_not_even_looked_at() -> None:
    """The check costs nothing while everything is in time."""

    def refuse(first: int, stop: int) -> Sequence[int]:
        raise AssertionError

    assert len(drained(AdaptiveRouter(costs=COSTS, urgent=refuse), 900)) == 1


def test_order_is_kept_per_key_if_asked() -> None:
    """An urgent record takes the earlier ones of its key along; of every key the order of arrival holds."""
    keys = [i % 97 for i in range(6_000)]

    def ahead(first: int, ordinal: int) -> Sequence[int]:
        return [i for i in range(first, ordinal) if keys[i] == keys[ordinal]]

    plain = AdaptiveRouter(Objectives(urgent_ns=1), COSTS, urgent=urgent_every(1_013))  # type: ignore[arg-type]
    kept = AdaptiveRouter(Objectives(urgent_ns=1), COSTS, urgent=urgent_every(1_013), ahead=ahead)  # type: ignore[arg-type]

    def in_order(router: Router) -> bool:
        served = [ordinal for route in drained(router, 6_000) for ordinal in route.records]
        assert sorted(served) == list(range(6_000))
        return all([i for i in served if keys[i] == key] == [*range(key, 6_000, 97)] for key in range(97))

    assert in_order(kept)
    assert not in_order(plain), "the test must be able to fail"


@settings(max_examples=12)
@given(
    st.floats(2_000, 50_000),
    st.floats(20_000, 900_000),
    st.floats(100, 1_500),
    st.lists(st.integers(1, 1_000), min_size=1),
)
def test_costs_are_learned_whatever_they_were_thought_to_be(
    single: float, fixed: float, each: float, sizes: list[int]
) -> None:
    """After a few hundred services of varied sizes the line and the single cost are the true ones within a tenth."""
    truth, learned = Costs(single, fixed, each), LearnedCosts(Costs(12_000, 300_000, 600))
    for turn in range(400):
        size = [*sizes, 3, 900][turn % (len(sizes) + 2)]
        learned.observe(size, truth.together(size), together=True)
        learned.observe(1, truth.alone(1), together=False)
    assert learned.now.single == pytest.approx(single, rel=0.1)
    for size in (10, 100, 1_000):
        assert learned.now.together(size) == pytest.approx(truth.together(size), rel=0.15)


def test_one_accident_does_not_change_the_mind() -> None:
    """A service that took a thousand times longer moves the belief by a fraction."""
    learned = LearnedCosts(Costs(10_000, 200_000, 500))
    before = learned.now
    learned.observe(1, 10_000_000, together=False)
    assert learned.now.single <= 1.2 * before.single
    for _ in range(50):
        learned.observe(500, before.together(500), together=True)
    learned.observe(500, 450_000_000, together=True)
    assert learned.now.together(500) <= 1.3 * before.together(500)


def test_interruptions_do_not_speak_against_microflows() -> None:
    """On a machine that takes the core away for 10 ms in every 5 ms of work, break-even stays what the work says."""
    truth, chance = Costs(10_000, 250_000, 1_500), np.random.default_rng(1)
    learned = LearnedCosts(truth)

    def seen(work_ns: float) -> float:
        return work_ns + 10_000_000 * chance.poisson(work_ns / 5_000_000)

    for _ in range(1_000):
        learned.observe(1, seen(truth.alone(1)), together=False)
        size = int(chance.choice([30, 100, 400, 1_000]))
        learned.observe(size, seen(truth.together(size)), together=True)
    assert truth.break_even / 2 < learned.break_even < truth.break_even * 2


def test_costs_are_never_negative() -> None:
    """Even when large microflows are seen to be faster than small ones."""
    learned = LearnedCosts()
    for _ in range(100):
        learned.observe(10, 900_000, together=True)
        learned.observe(1_000, 500_000, together=True)
    assert learned.now.each >= 0
    assert learned.now.fixed >= 0
    assert learned.now.break_even > 0
