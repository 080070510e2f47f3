"""At least once, bounded, and once at the sink."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.errors import StoreError
from microflow.topics.delivery import Delivery, Once
from microflow.topics.memory import MemoryTopic


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.ns = 0

    def __call__(self) -> int:
        return self.ns


def filled(count: int, partitions: int = 1) -> MemoryTopic[int]:
    topic = MemoryTopic[int]("t", partitions=partitions)
    topic.send((str(n).encode(), n) for n in range(count))
    return topic


@settings(max_examples=40)
@given(st.integers(0, 80), st.integers(1, 3), st.integers(1, 9), st.integers(0, 2**32))
def test_every_record_is_done_once_whatever_fails(count: int, partitions: int, most: int, seed: int) -> None:
    """Random failures, time-outs and late acks: every record reaches the sink, and none twice."""
    chance, clock = random.Random(seed), Clock()
    delivery = Delivery(filled(count, partitions).reader(), timeout_ns=10, attempts=10**6, now=clock, most_in_flight=20)
    once, done, given_out = Once(), [], 0
    for _ in range(20_000):
        taken = delivery.take(most)
        given_out += len(taken)
        clock.ns += chance.randrange(12)
        for one in taken:
            fate = chance.random()
            if fate < 0.2:
                delivery.fail(one)
            elif fate < 0.9:
                if once.first(one.value):
                    done.append(one.value)
                delivery.ack([one])
        if not taken and not delivery.in_flight:
            break
    assert sorted(done) == list(range(count))
    assert given_out == count + delivery.replayed
    assert sum(delivery.committed.values()) == count
    assert once.remembered == 0


def test_what_is_in_flight_is_bounded() -> None:
    """Without acks a reader gets no more than the bound: back-pressure reaches the topic."""
    topic = filled(100)
    delivery = Delivery(topic.reader(), most_in_flight=8)
    assert len(delivery.take(50)) == 8
    assert delivery.take(50) == []
    assert delivery.in_flight == 8


def test_a_restart_begins_at_the_first_unanswered() -> None:
    """Committed is the lowest offset not acknowledged, even when later ones are."""
    topic = filled(10)
    delivery = Delivery(topic.reader())
    taken = delivery.take(10)
    delivery.ack([*taken[:3], *taken[5:]])
    assert delivery.committed == {0: 3}
    topic.release(delivery.committed)
    assert [one.value for one in Delivery(topic.reader()).take(100)] == [3, 4, 5, 6, 7, 8, 9]


def test_what_failed_is_not_committed() -> None:
    """While it waits to be given again, a restart begins with it."""
    delivery = Delivery(filled(5).reader())
    first, *others = delivery.take(5)
    delivery.ack(others)
    delivery.fail(first)
    assert delivery.committed == {0: 0}


def test_a_late_record_comes_again_before_new_ones() -> None:
    """After its time-out, and not before."""
    clock = Clock()
    delivery = Delivery(filled(4).reader(), timeout_ns=100, now=clock)
    delivery.take(2)
    clock.ns = 99
    assert [one.value for one in delivery.take(1)] == [2]
    clock.ns = 100
    assert [one.value for one in delivery.take(4)] == [0, 1, 3]


def test_a_late_ack_of_what_waits_for_replay_counts() -> None:
    """A slow bolt's ack after the time-out spares the replay."""
    clock = Clock()
    delivery = Delivery(filled(2).reader(), timeout_ns=10, now=clock)
    first, _ = delivery.take(2)
    clock.ns = 10
    assert [one.value for one in delivery.take(1)] == [0]
    delivery.ack([first])
    assert [one.value for one in delivery.take(5)] == [1]


def test_a_record_that_always_fails_stops_the_job() -> None:
    """With its place in the message and nothing of its content."""
    delivery = Delivery(filled(1).reader(), attempts=3)
    for _ in range(2):
        delivery.fail(delivery.take(1)[0])
    with pytest.raises(StoreError, match="offset 0 of partition 0 failed 3 times"):
        delivery.fail(delivery.take(1)[0])
