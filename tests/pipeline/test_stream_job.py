"""A stream that dies anywhere and is started again: every message once, whatever the sink."""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import CheckpointError, InputError, JobConflictError
from microflow.pipeline.stream_job import Stream, _Partition
from microflow.store.connector import PostgreSQLConnector
from microflow.store.topics import TopicStore
from microflow.topics import Kept, Position, Received, Result
from microflow.topics.lines import FileSink
from pipeline.alike import topic_results

SCHEMA = load_schema("healthcare")
RECORDS = [row for block in generate("healthcare", 600, 1) for row in block.rows.to_pylist()]
SPEC = ProcessingSpec(SCHEMA, load_policy(SCHEMA.policy), MethodSettings(Method.TOKENIZATION), key=bytes(range(32)))
GOOD = [json.dumps(record).encode() for record in RECORDS]
POISON = [
    b"[" * 100_000,
    json.dumps(RECORDS[0] | {"age": 10**400}).encode(),
    json.dumps(RECORDS[0] | {"triage": "\ud800"}).encode(),
    GOOD[0][:-1] + b',"age":1,"age":2}',
    json.dumps(RECORDS[0] | {"age": "old"}).encode(),
    json.dumps(RECORDS[0] | {"surplus": 1}).encode(),
    b"null",
]
#: Poison among good messages, and what must be released.
MESSAGES = [one for n, good in enumerate(GOOD) for one in ([good, POISON[n // 50 % 7]] if n % 50 == 7 else [good])]
BAD = sum(one in POISON for one in MESSAGES)
EXPECTED = [one.released for one in MessageService(SPEC)(MESSAGES)]


class Recorded:
    """A topic of two partitions that may be read again, from where its sink says."""

    def __init__(self, kept: Kept, sizes: Sequence[int] = (100,)) -> None:
        self._messages = [Received(n % 2, n // 2, None, one) for n, one in enumerate(MESSAGES)]
        self._kept, self._sizes = kept, list(sizes)
        self.replays, self.rewinds = True, 0
        self.rewind()

    @property
    def ended(self) -> bool:
        return not self._left

    def poll(self, most: int, timeout_s: float) -> list[Received]:
        self._sizes.append(size := self._sizes.pop(0))
        taken, self._left = self._left[: min(most, size)], self._left[min(most, size) :]
        return taken

    def ahead(self, partition: int) -> frozenset[int]:
        return self._at.get(partition, Position(0)).ahead

    def rewind(self) -> None:
        self.rewinds += 1
        self._at = self._kept((0, 1))
        self._left = [one for one in self._messages if self._is_left(one)]

    def lag(self) -> int:
        return len(self._left)

    def _is_left(self, one: Received) -> bool:
        at = self._at.get(one.partition, Position(0))
        return one.offset >= at.offset and one.offset not in at.ahead


class DiedError(Exception):
    pass


def dying(sink: FileSink | TopicStore, commits: int, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Let it die in its ``commits``-th commit, before ``step``."""
    original, calls = getattr(sink, step), []

    def die(*given: object) -> object:
        calls.append(1)
        if len(calls) == commits:
            raise DiedError
        return original(*given)

    monkeypatch.setattr(sink, step, die)


def service(*, hybrid: bool = True) -> MessageService:
    return MessageService(SPEC, hybrid=hybrid, urgency=[])


@pytest.mark.parametrize("step", ["commit", "_remember"])
@pytest.mark.parametrize("hybrid", [True, False])
def test_a_file_is_continued_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, hybrid: bool) -> None:
    """Also where the process died between the rows and the journal: the rows are cut off and come again."""
    path, dead = tmp_path / "safe.jsonl", tmp_path / "dead.jsonl"
    for dies_at in (1, 3, 2, 100):
        sink = FileSink(path, "topic", dead)
        dying(sink, dies_at, monkeypatch, step)
        try:
            Stream(Recorded(sink.kept), sink, service(hybrid=hybrid)).run()
        except DiedError:
            assert dies_at < 100
        sink.close()
    assert sorted(path.read_bytes().splitlines()) == sorted(one for one in EXPECTED if one is not None)
    letters = [json.loads(line) for line in dead.read_text().splitlines()]
    assert len({(one["partition"], one["offset"]) for one in letters}) == len(letters) == BAD
    assert dead.stat().st_mode & 0o777 == 0o600
    assert not any(word in dead.read_text() for word in ("old", "0000000"))


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(20, 400), min_size=1, max_size=4))
def test_however_they_arrive_the_rows_are_the_same(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """In the order of arrival, where none is urgent."""
    path = tmp_path_factory.mktemp("any") / "safe.jsonl"
    sink = FileSink(path, "topic", path.with_suffix(".dead"))
    Stream(Recorded(sink.kept, sizes), sink, service()).run()
    sink.close()
    assert path.read_bytes().splitlines() == [one for one in EXPECTED if one is not None]


def test_a_file_of_another_hand_is_not_touched(tmp_path: Path) -> None:
    """It was there before, another process writes it, another source was read, or it was cut."""
    (tmp_path / "other").write_text("precious\n")
    with pytest.raises(InputError, match="no earlier stream"):
        FileSink(tmp_path / "other", "topic")
    path = tmp_path / "mine"
    first = FileSink(path, "topic")
    with pytest.raises(JobConflictError):
        FileSink(path, "topic")
    first.commit([Result(0, 0, text=b"{}")], {0: Position(1)})
    first.close()
    with pytest.raises(CheckpointError, match="another source"):
        FileSink(path, "another")
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="shorter"):
        FileSink(path, "topic")


def test_rows_and_positions_are_one_transaction(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream to PostgreSQL dies twice: every message has one row, the unreadable ones with their reason."""
    with PostgreSQLConnector(database_url) as connector:
        for dies_at in (2, 3, 100):
            sink = TopicStore(connector, "died", "topic")
            dying(sink, dies_at, monkeypatch, "commit")
            try:
                Stream(Recorded(sink.kept), sink, service()).run()
            except DiedError:
                assert dies_at < 100
        rows = topic_results(connector, "died", "topic")
    assert [(row[0], row[1]) for row in rows] == sorted((n % 2, n // 2) for n in range(len(MESSAGES)))
    assert [row[3] for row in rows] == [
        None if one is None else json.loads(one) for one in [*EXPECTED[::2], *EXPECTED[1::2]]
    ]
    assert sum(row[4] is not None for row in rows) == BAD


def test_who_was_given_up_cannot_commit(database_url: str) -> None:
    """Two processes believe that a partition is theirs: only one moves it on, the other reads again from there."""
    with PostgreSQLConnector(database_url) as one, PostgreSQLConnector(database_url) as other:
        stale, live = TopicStore(one, "rivals", "topic"), TopicStore(other, "rivals", "topic")
        assert stale.kept([0]) == live.kept([0]) == {}
        assert live.commit([Result(0, 0, text=b"{}")], {0: Position(1)})
        assert not stale.commit([Result(0, 0, text=b"{}")], {0: Position(1)})
        assert stale.kept([0]) == {0: Position(1)}
        assert stale.commit([Result(0, 1, text=b"{}")], {0: Position(2)})
        assert not live.commit([Result(0, 1, text=b"{}")], {0: Position(2)})
        assert [row[:2] for row in topic_results(one, "rivals", "topic")] == [(0, 0), (0, 1)]


class Noting(TopicStore):
    """Keeps what was committed, in order."""

    def __init__(self, connector: PostgreSQLConnector) -> None:
        super().__init__(connector, "urgent", "topic")
        self.commits: list[tuple[int, Mapping[int, Position]]] = []

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        self.commits.append((len(results), positions))
        return super().commit(results, positions)


def test_urgent_records_are_committed_ahead_and_once(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies right after urgent records went ahead: the restart leaves them out."""
    with PostgreSQLConnector(database_url) as connector:
        first = Noting(connector)
        hurried = service()
        monkeypatch.setattr(hurried, "serve", _early_then_rest(service()))
        dying(first, 2, monkeypatch, "commit")
        with pytest.raises(DiedError):
            Stream(Recorded(first.kept, [600]), first, hurried).run()
        assert first.commits[0][1][0].ahead
        second = Noting(connector)
        source = Recorded(second.kept, [40])
        assert source.ahead(0) == first.commits[0][1][0].ahead
        last = Stream(source, second, service())
        last.run()
        assert last.progress.committed == len(MESSAGES) - 20
        rows = topic_results(connector, "urgent", "topic")
        assert [row[:2] for row in rows] == sorted((n % 2, n // 2) for n in range(len(MESSAGES)))
        assert not any(at.ahead for at in second.kept([0, 1]).values())


def test_what_went_ahead_at_the_head_moves_the_position_on() -> None:
    """Else the last message, committed ahead, would wait for ever for one behind it."""
    partition = _Partition()
    for offset in (3, 4, 5, 8):
        partition.receive(offset)
    partition.ahead.update({6, 7, 9})
    partition.leave(5)
    assert partition.position() == Position(3, frozenset({5, 6, 7, 9}))
    partition.leave(3)
    partition.leave(4)
    assert partition.position() == Position(8, frozenset({9}))
    partition.leave(8)
    assert partition.position() == Position(10)


def _early_then_rest(patient: MessageService):
    def serve(messages: Sequence[bytes], _keys: Sequence[bytes | None]):
        outcomes = patient(messages)
        early = [n for n, one in enumerate(outcomes) if one.released is not None][400:420]
        yield {n: outcomes[n] for n in early}
        yield {n: one for n, one in enumerate(outcomes) if n not in early}

    return serve


class Collected:
    """A sink that keeps what it is given, and refuses every so-many-th commit, or dies in it."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.positions: dict[int, Position] = {}
        self.calls = 0
        self.refuses = self.dies = 0

    def kept(self, _partitions: Sequence[int]) -> Mapping[int, Position]:
        return self.positions

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        self.calls += 1
        if self.dies and self.calls % self.dies == 0:
            raise DiedError
        if self.refuses and self.calls % self.refuses == 0:
            return False
        self.results += results
        self.positions = {**self.positions, **positions}
        return True


class Overlapping(Collected):
    """The same in a thread, slowly; one commit at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.thread, self.under_way, self.overlaps = ThreadPoolExecutor(1), 0, 0

    def start(self, results: Sequence[Result], positions: Mapping[int, Position]) -> Future[bool]:
        assert not self.under_way
        self.under_way += 1
        return self.thread.submit(self._slowly, results, positions)

    def commit(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        raise AssertionError("it is started")

    def _slowly(self, results: Sequence[Result], positions: Mapping[int, Position]) -> bool:
        time.sleep(0.01)
        try:
            return super().commit(results, positions)
        finally:
            self.under_way -= 1


class Counting(Recorded):
    """Counts how often it is read while a commit is under way."""

    sink: Overlapping

    def poll(self, most: int, timeout_s: float) -> list[Received]:
        self.sink.overlaps += self.sink.under_way
        return super().poll(most, timeout_s)


@pytest.mark.parametrize("refuses", [0, 2, 3, 5])
@pytest.mark.parametrize("hybrid", [True, False])
def test_a_commit_goes_on_while_the_next_messages_are_read(refuses: int, hybrid: bool) -> None:
    """An aborted commit discards what was computed meanwhile; in the end each record is there once, in order."""
    sink = Overlapping()
    sink.refuses = refuses
    source = Counting(sink.kept, [50])
    source.sink = sink
    stream = Stream(source, sink, service(hybrid=hybrid))
    stream.run()
    assert sink.overlaps > 3
    places = [(one.partition, one.offset) for one in sink.results]
    assert sorted(places) == sorted((n % 2, n // 2) for n in range(len(MESSAGES)))
    released = [one.text for one in sorted(sink.results, key=lambda one: (one.offset, one.partition))]
    assert released == EXPECTED
    assert stream.progress.committed == len(MESSAGES)
    assert (stream.progress.given_again > 0) == (refuses > 0)
    assert gc.get_threshold()[0] < 10_000


def test_a_commit_that_fails_in_its_thread_ends_the_stream() -> None:
    sink = Overlapping()
    sink.dies = 3
    with pytest.raises(DiedError):
        Stream(Recorded(sink.kept, [50]), sink, service()).run()
    assert len(sink.results) == 100


HIDING = ProcessingSpec(SCHEMA, load_policy(SCHEMA.policy), MethodSettings(Method.K_ANONYMITY, delta=60))


@settings(max_examples=6, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=3),
    dies=st.integers(0, 6),
    refuses=st.sampled_from([0, 2, 3, 5]),
    hybrid=st.booleans(),
    kind=st.sampled_from([Collected, Overlapping]),
)
def test_what_is_held_back_is_read_again_and_leaves_once(
    sizes: list[int], dies: int, refuses: int, hybrid: bool, kind: type[Collected]
) -> None:
    """After any kill or abort, no position passes a record that has not left, and each class has k records."""
    sink = kind()
    for starts in range(20):
        # It lives longer and longer, so that it comes to an end.
        sink.calls, sink.dies, sink.refuses = 0, (dies + 3 * starts if dies else 0), (refuses if starts < 3 else 0)
        source = Recorded(sink.kept, sizes)
        stream = Stream(source, sink, MessageService(HIDING, hybrid=hybrid))
        try:
            stream.run()
        except DiedError:
            done = {(one.partition, one.offset) for one in sink.results}
            for partition, at in sink.positions.items():
                assert all((partition, offset) in done for offset in (*range(at.offset), *at.ahead))
                assert (partition, at.offset) not in done
        else:
            break
    places = [(one.partition, one.offset) for one in sink.results]
    assert len(places) == len(set(places)) == len(MESSAGES)
    assert all(not at.ahead for at in sink.positions.values())
    assert sum(one.reason is not None for one in sink.results) == BAD
    names = [column.name for column in SCHEMA.quasi_identifiers]
    released = [json.loads(one.text) for one in sink.results if one.text is not None]
    assert min(Counter(tuple(record[name] for name in names) for record in released).values()) >= 5


@pytest.mark.parametrize("replays", [True, False])
def test_a_stop_leaves_what_is_held_back_to_the_next_start(replays: bool) -> None:
    """From a source that can be read again; what was read from a pipe leaves now or never."""
    sink, asked = Collected(), []
    source = Recorded(sink.kept, [100])
    source.replays = replays
    stream = Stream(source, sink, MessageService(HIDING))
    stream.run(stopping=lambda: asked.append(1) or len(asked) > 2)
    assert bool(stream._service.held) == replays
    assert (len(sink.results) == 200) == (not replays)


def test_a_record_held_at_the_end_of_a_quiet_night_leaves() -> None:
    """Nothing comes for a while, the source does not end, and all are committed within the bound in seconds."""
    sink = Collected()

    class Quiet(Recorded):
        ended = False

        def poll(self, most: int, timeout_s: float) -> list[Received]:
            time.sleep(0.01)
            return super().poll(most, timeout_s)

    source = Quiet(sink.kept, [200])
    stream = Stream(source, sink, MessageService(HIDING, seconds=0.1))
    stream.run(stopping=lambda: len(sink.results) == len(MESSAGES))
    assert {partition: at.ahead for partition, at in sink.positions.items()} == {0: frozenset(), 1: frozenset()}
    assert stream.progress.committed == len(MESSAGES)
