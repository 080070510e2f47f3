"""Messages that arrive: routes give equal rows, and an unreadable one leaves its neighbours alone."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.service import MessageService
from microflow.errors import MicroflowError

SCHEMA = load_schema("healthcare")
RECORDS = [row for block in generate("healthcare", 400, 1) for row in block.rows.to_pylist()]
GOOD = json.dumps(RECORDS[0]).encode()
POISON = {
    "deep nesting": b"[" * 100_000,
    "deep objects": b'{"a":' * 100_000,
    "400 digits": json.dumps(RECORDS[0] | {"age": 10**400}).encode(),
    "5000 digits": b'{"age":' + b"9" * 5_000 + b"}",
    "lone surrogate": json.dumps(RECORDS[0] | {"triage": "\ud800"}).encode(),
    "a key given again behind a line's end": GOOD[:-1].replace(b'"age":', b'"age"\n:') + b',"age":2}',
    "duplicate keys": GOOD[:-1] + b',"age":1,"age":2}',
    "consent twice": GOOD[:-1] + b',"consent":"granted"}',
    "wrong type": json.dumps(RECORDS[0] | {"age": "old"}).encode(),
    "a list": b"[1]",
    "nothing": b"",
    "not UTF-8": b"\xff\xfe",
    "NaN": b'{"age":NaN}',
    "unknown field": json.dumps(RECORDS[0] | {"surplus": 1}).encode(),
}


def _spec(method: Method = Method.TOKENIZATION) -> ProcessingSpec:
    return ProcessingSpec(SCHEMA, load_policy(SCHEMA.policy), MethodSettings(method), key=bytes(range(32)))


@pytest.mark.parametrize("hybrid", [False, True])
@pytest.mark.parametrize("name", POISON)
def test_an_unreadable_message_leaves_its_neighbours_alone(name: str, hybrid: bool) -> None:
    """It has a reason that holds none of its values; the messages beside it come out as they do without it."""
    service = MessageService(_spec(), hybrid=hybrid)
    # So many that they are read a column at a time.
    *_, first, bad, last = service([*[GOOD] * 40, POISON[name], GOOD])
    assert bad.unreadable is not None
    assert bad.released is None
    assert not any(value in bad.unreadable for value in ("999", "old"))
    assert first == last == MessageService(_spec())([GOOD])[0]
    assert service.counts["unreadable"] == 1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 250), min_size=1, max_size=4), st.integers(0, 399))
def test_both_ways_give_equal_rows(sizes: list[int], start: int) -> None:
    """However many have arrived at a time, the hybrid releases what the stream releases, in the same order."""
    hybrid, stream = MessageService(_spec(), hybrid=True), MessageService(_spec())
    for size in sizes:
        messages = [json.dumps(RECORDS[(start + i) % len(RECORDS)]).encode() for i in range(size)]
        assert hybrid(messages) == stream(messages)
        start += size
    assert sum(hybrid.reasons.values()) == sum(sizes)


def test_the_router_vectorises_a_backlog_and_serves_few_one_by_one() -> None:
    """Its reasons say so."""
    service = MessageService(_spec(), hybrid=True)
    service([GOOD])
    assert service.reasons == {"low load": 1}
    service([GOOD] * 2_000)
    assert service.reasons["high load"] + service.reasons["as many as allowed"] > 1_000


def test_urgent_records_at_the_end_of_a_backlog_leave_first() -> None:
    """They may be committed before the others; nothing is served twice, and the rows are those of the stream."""
    messages = [json.dumps(RECORDS[i % len(RECORDS)]).encode() for i in range(6_000)]
    service = MessageService(_spec(), hybrid=True)
    *early, rest = service.serve(messages)
    assert [part.early for part in early] == [True] * len(early) != []
    assert not rest.early
    assert {RECORDS[at % len(RECORDS)]["triage"] for part in early for at in part.places} == {"emergency"}
    outcomes = dict(pair for part in (*early, rest) for pair in zip(part.places, part.outcomes, strict=True))
    assert sum(len(part.places) for part in (*early, rest)) == len(outcomes) == 6_000
    assert service.reasons["urgent"] == sum(len(part.places) for part in early)
    alone = MessageService(_spec())(messages[: len(RECORDS)])
    assert [outcomes[at] for at in sorted(outcomes)] == alone * (6_000 // len(RECORDS))


def test_k_anonymity_is_refused() -> None:
    """A record cannot be hidden alone, and held records are not committed yet."""
    with pytest.raises(MicroflowError, match="cannot release a record by itself"):
        MessageService(_spec(Method.K_ANONYMITY))
