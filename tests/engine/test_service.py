"""Records and messages that arrive: routes give equal rows, and an unreadable one leaves its neighbours alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microflow.anonymize.contract import Method, MethodSettings
from microflow.compliance import load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine.contract import ProcessingSpec
from microflow.engine.router import AdaptiveRouter, Objectives, Route
from microflow.engine.service import MessageService, Service, Workload, measured_costs
from microflow.engine.urgency import Urgency
from microflow.lab.arrivals import steady
from microflow.lab.open_loop import OpenLoop

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
    assert early
    assert {RECORDS[at % len(RECORDS)]["triage"] for part in early for at in part} == {"emergency"}
    outcomes = dict(pair for part in (*early, rest) for pair in part.items())
    assert sum(len(part) for part in (*early, rest)) == len(outcomes) == 6_000
    assert service.reasons["urgent"] == sum(len(part) for part in early)
    alone = MessageService(_spec())(messages[: len(RECORDS)])
    assert [outcomes[at] for at in sorted(outcomes)] == alone * (6_000 // len(RECORDS))


def test_where_order_is_kept_an_urgent_record_takes_the_earlier_ones_of_its_key_along() -> None:
    """Among the results that leave first, no message of a key stands behind a later one of that key."""
    messages = [json.dumps(RECORDS[i % len(RECORDS)]).encode() for i in range(6_000)]
    keys = [None if i % 7 == 0 else b"%d" % (i % 50) for i in range(6_000)]
    service = MessageService(_spec(), hybrid=True, ordered=True)
    left: list[int] = []
    *early, rest = service.serve(messages, keys)
    for part in (*early, rest):
        left += part
    assert sorted(left) == list(range(6_000))
    assert sum(map(len, early)) > 0
    for key in set(keys) - {None}:
        mine = [number for number in left if keys[number] == key]
        assert mine == sorted(mine)


@pytest.mark.parametrize("hybrid", [False, True])
def test_k_anonymity_hides_each_record_among_k(hybrid: bool) -> None:
    """One outcome a message, whatever is held back; every class that leaves has k records or more."""
    service = MessageService(_spec(Method.K_ANONYMITY), hybrid=hybrid)
    outcomes = [
        one
        for size in (40, 1, 2_500, 30)
        for one in service([json.dumps(RECORDS[i % len(RECORDS)]).encode() for i in range(size)])
    ]
    assert service.held == 0
    assert len(outcomes) == 2_571 == service.counts["released"] + service.counts["suppressed"]
    names = [column.name for column in SCHEMA.quasi_identifiers]
    released = [json.loads(one.released) for one in outcomes if one.released is not None]
    assert len(released) > 2_000
    assert min(Counter(tuple(record[name] for name in names) for record in released).values()) >= 5
    assert bool(service.reasons["high load"]) == hybrid


def test_what_is_held_back_leaves_in_time() -> None:
    """Nothing comes any more: the bound in seconds lets go of what the bound in records would keep."""
    service = MessageService(_spec(Method.K_ANONYMITY), seconds=0.05)
    (first,) = service.serve([json.dumps(record).encode() for record in RECORDS[:100]])
    assert service.held == 100 - len(first)
    assert service.due() == {}
    time.sleep(0.06)
    due = service.due()
    assert service.held == 0
    assert sorted([*first, *due]) == list(range(100))
    assert sum(one.released is not None for one in due.values()) > 50


def test_a_workload_repeats_its_records_in_both_forms(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Ordinals beyond the end, and stretches across it, in either form."""
    rows = make_rows(make_spec("iot").schema, 30)
    workload, records = Workload(rows), rows.to_pylist()
    assert workload.rows(range(55, 95)).to_pylist() == [records[i % 30] for i in range(55, 95)]
    assert workload.rows([3, 64]).to_pylist() == [records[3], records[4]]
    assert [workload.record(i) for i in (0, 31)] == [records[0], records[1]]


@pytest.mark.parametrize("method", Method)
def test_both_ways_account_for_every_record(
    method: Method, make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Alone, together and held back: after the flush every ordinal has been returned once."""
    spec = make_spec("healthcare", method, k=5)
    service = Service(spec, Workload(make_rows(spec.schema, 100)))
    done = list(service(Route(range(60), together=False, reason="")))
    done += service(Route(range(60, 100), together=True, reason=""))
    done += service.flush()
    assert sorted(done) == list(range(100))


def test_costs_can_be_measured(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """On this machine, whatever it is busy with: each is a time, and the router can start from them."""
    spec = make_spec("healthcare")
    costs = measured_costs(Service(spec, Workload(make_rows(spec.schema, 500))), rounds=3)
    assert costs.single > 100
    assert min(costs.fixed, costs.each) >= 0
    assert costs.together(1_000) > 1_000


def test_a_short_run_in_real_time(
    make_rows: Callable[..., pa.RecordBatch], make_spec: Callable[..., ProcessingSpec]
) -> None:
    """Everything is served, urgent records and order per key included, and latencies are positive."""
    spec = make_spec("healthcare")
    workload, urgency = Workload(make_rows(spec.schema, 500)), Urgency(spec.schema)
    router = AdaptiveRouter(
        Objectives(urgent_ns=1),
        urgent=lambda first, stop: [i for i in range(first, stop) if urgency.of_record(workload.record(i))],
        ahead=lambda first, ordinal: [
            i for i in range(first, ordinal) if workload.record(i) == workload.record(ordinal)
        ],
    )
    service = Service(spec, workload)
    run = OpenLoop(steady(20_000, 0.1)).run(router, service, service.flush)
    assert run.unserved == 0
    assert (run.latencies_ns() > 0).all()
    assert sum(router.reasons.values()) == 2_000
