"""The topic in memory: order, bounds, replay."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.errors import StoreError
from microflow.topics import memory
from microflow.topics.memory import MemoryTopic


def pairs(count: int, start: int = 0) -> list[tuple[bytes, int]]:
    return [(str(n).encode(), n) for n in range(start, start + count)]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 20), max_size=60), st.integers(1, 5), st.integers(1, 7))
def test_order_holds_within_a_key(keys: list[int], partitions: int, most: int) -> None:
    """Whatever the partitions and the poll size, records of one key come in the order they were sent, none missing."""
    topic = MemoryTopic[tuple[int, int]]("t", partitions=partitions)
    topic.send((str(key).encode(), (key, turn)) for turn, key in enumerate(keys))
    reader, got = topic.reader(), []
    while batch := reader.poll(most):
        got += [one.value for one in batch]
    for key in set(keys):
        assert [turn for k, turn in got if k == key] == [turn for turn, k in enumerate(keys) if k == key]
    assert reader.backlog() == 0


def test_a_full_topic_takes_no_more_until_released() -> None:
    """Capacity bounds what is kept, and releasing makes exactly that much room."""
    topic = MemoryTopic[int]("t", capacity=3)
    assert topic.offer(pairs(5)) == 3
    topic.reader().poll(3)
    assert topic.offer(pairs(1)) == 0, "received is not released"
    topic.release({0: 2})
    assert topic.offer(pairs(5, start=3)) == 2
    assert [one.value for one in topic.reader().poll(10)] == [2, 3, 4]


def test_a_fast_writer_waits_for_its_reader() -> None:
    """A writer thread is held back, and nothing is lost or reordered."""
    topic = MemoryTopic[int]("t", capacity=10)
    writer = threading.Thread(target=topic.send, args=(pairs(500),))
    writer.start()
    reader, got, most_kept = topic.reader(), [], 0
    while len(got) < 500:
        most_kept = max(most_kept, reader.backlog())
        got += [one.value for one in reader.poll(7, timeout_s=5)]
        topic.release(reader.offsets)
    writer.join()
    assert got == list(range(500))
    assert most_kept <= 10


def test_a_writer_nobody_reads_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting has an end, with a hint."""
    monkeypatch.setattr(memory, "PATIENCE_S", 0.01)
    with pytest.raises(StoreError, match="stayed full"):
        MemoryTopic[int]("t", capacity=1).send(pairs(2))


def test_a_new_reader_starts_at_what_was_released() -> None:
    """A crash of the reader replays exactly what it had not released."""
    topic = MemoryTopic[int]("t")
    topic.send(pairs(10))
    topic.reader().poll(6)
    topic.release({0: 4})
    assert [one.value for one in topic.reader().poll(100)] == [4, 5, 6, 7, 8, 9]
    assert [one.offset for one in topic.reader({0: 8}).poll(100)] == [8, 9]


def test_polling_an_empty_topic_ends_in_time() -> None:
    """No record, no error, no hang."""
    assert MemoryTopic[int]("t").reader().poll(5, timeout_s=0.01) == []
