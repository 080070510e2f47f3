"""``microflow bench compliance``: the check of a microflow and of a record, each beside what it competes with.

Everything runs in a process of its own in which Polars has one thread. Healthcare records with hard cases are checked
in morsels, as the engines do, and in microflows of 1,000 rows; that the forms agree is asserted before anything is
timed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import chain

import numpy as np
import pyarrow as pa

from microflow.bench import naive_check
from microflow.bench.harness import Case, Line, fixed, hand_over, in_one_thread, measure
from microflow.bench.plain_polars import BY_HAND, POLARS_THERE, plain_polars
from microflow.bench.presidio import is_installed, presidio_search
from microflow.compliance import BatchChecker, RecordChecker, load_policy
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine.morsels import morsels
from microflow.errors import MicroflowError
from microflow.records import microflows
from microflow.schema import Record
from microflow.settings import MORSEL

__all__ = ["run"]

_ROWS = 1_000_000
_RECORDS = 20_000
_ROUNDS = 4
_PEER_RECORDS = 1_000
_MORSELS, _BATCH, _WHOLE, _FLOWS, _SCALAR, _NAIVE, _PRESIDIO = (
    f"check, morsels of {MORSEL} microflows",
    "check, microflows of 1,000",
    "plain Polars, same patterns, whole table",
    "plain Polars, same patterns, microflows",
    "check, record by record",
    "naive loop of rule objects",
    "Presidio's recognisers, free text only",
)

#: The goal is for another core than this one may be: see `POLARS_THERE`.
_ON_ANOTHER = "check, by that ratio, where plain Polars does 3.5 M/s"


def run(rows: int | None) -> list[Line]:
    """Rates of both forms; ``rows`` is what the batch form checks (1,000,000 by default)."""
    return in_one_thread(__name__, rows or _ROWS)


def _measured(rows: int) -> list[Line]:
    schema = load_schema("healthcare")
    policy = load_policy(schema.policy)
    table = pa.Table.from_batches([batch.rows for batch in generate("healthcare", rows, seed=1)])
    cut = list(microflows(table.to_batches()))
    flows, joined = [flow.rows for flow in cut], [morsel.rows for morsel in morsels(cut)]
    records: list[Record] = table.slice(0, _RECORDS).to_pylist()
    checker = BatchChecker(policy, schema)
    _refuse_unequal(checker, RecordChecker(policy, schema), naive_check.NaiveChecker(policy, schema), flows, records)
    lines = measure(
        [
            Case(_MORSELS, _over(checker.check, joined), reference=_WHOLE),
            Case(_BATCH, _over(checker.check, flows), reference=_FLOWS),
            Case(_WHOLE, plain_polars(policy, schema, [table])),
            Case(_FLOWS, plain_polars(policy, schema, flows)),
            Case(
                _SCALAR,
                _each(RecordChecker(policy, schema).check, records),
                reference=_NAIVE,
                goal=1.5e5,
                absolute=True,
            ),
            Case(_NAIVE, _each(naive_check.NaiveChecker(policy, schema).check, records)),
            *_presidio(RecordChecker(policy, schema).check, records[:_PEER_RECORDS]),
        ],
        rounds=_ROUNDS,
    )
    ratios = {line.name: line.ratio or 1.0 for line in lines}
    return [
        *lines,
        fixed("check, morsels, over plain Polars, whole table", ratios[_MORSELS], "×", at_least=0.6),
        fixed(_ON_ANOTHER, ratios[_MORSELS] * POLARS_THERE, "records/s", at_least=2e6),
        fixed("check, microflows, over plain Polars, microflows", ratios[_BATCH], "×", at_least=0.6),
        fixed("record check over naive loop", ratios[_SCALAR], "×", at_least=4),
        fixed("rules that apply", len(checker.targets), "rules", at_least=10),
        fixed("filled cells in the columns checked", _filled(table, checker), "%"),
    ]


def _over(check: Callable[[pa.RecordBatch], object], flows: list[pa.RecordBatch]) -> Callable[[], float]:
    def work() -> float:
        for rows in flows:
            check(rows)
        return float(sum(rows.num_rows for rows in flows))

    return work


def _each(check: Callable[[Record], object], records: list[Record]) -> Callable[[], float]:
    def work() -> float:
        for record in records:
            check(record)
        return float(len(records))

    return work


def _refuse_unequal(
    batch: BatchChecker,
    record: RecordChecker,
    naive: naive_check.NaiveChecker,
    flows: list[pa.RecordBatch],
    records: list[Record],
) -> None:
    of_batch = [found for rows in flows[: -(-_RECORDS // 1_000)] for _, found in batch.violations(batch.check(rows))]
    of_record = [record.check(one) for one in records]
    if of_batch != list(chain.from_iterable(of_record)):
        raise MicroflowError("the forms of the check do not agree")
    for found, one in zip(of_record, records, strict=True):
        if {violation.rule for violation in found} != {violation.rule for violation in naive.check(one)}:
            raise MicroflowError("the naive check finds other rules broken")


def _presidio(check: Callable[[Record], object], records: list[Record]) -> list[Case]:
    """The optional peer, on free text alone (it is spared the other columns), and ours on the whole of its records."""
    if not is_installed():
        return []
    theirs = _each(presidio_search("notes", BY_HAND["mrn"]), records)
    return [Case(_PRESIDIO, theirs), Case("check, whole records, the same", _each(check, records), reference=_PRESIDIO)]


def _filled(table: pa.Table, checker: BatchChecker) -> float:
    names = {target.field for target in checker.targets}
    return float(100 * np.mean([1 - table.column(name).null_count / len(table) for name in sorted(names)]))


if __name__ == "__main__":
    hand_over(_measured(int(sys.argv[1])))
