"""``microflow bench compliance``: the check of a microflow and of a record, each beside what it competes with.

Everything runs in a process of its own in which Polars has one thread. Healthcare records with hard cases are checked
in microflows of 1,000 rows; that the forms agree is asserted before anything is timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain

import numpy as np
import polars as pl
import pyarrow as pa

from microflow.bench import naive_check
from microflow.bench.harness import Case, Line, fixed, measure
from microflow.bench.presidio import is_installed, presidio_search
from microflow.compliance import BatchChecker, Policy, RecordChecker, load_policy
from microflow.compliance.targets import Targets
from microflow.compliance.vector import plain_expressions
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.errors import MicroflowError
from microflow.microflows import microflows
from microflow.schema import DatasetSchema, Record

__all__ = ["run"]

_ROWS = 1_000_000
_RECORDS = 20_000
_ROUNDS = 4
_PEER_RECORDS = 1_000
_BATCH, _WHOLE, _FLOWS, _SCALAR, _NAIVE, _PRESIDIO = (
    "check, microflows of 1,000",
    "plain Polars, same patterns, whole table",
    "plain Polars, same patterns, microflows",
    "check, record by record",
    "naive loop of rule objects",
    "Presidio's recognisers, free text only",
)

#: The goal of 2 M records/s is for a core on which plain Polars passes 3.5 M over the whole table; on any other, the
#: ratio measured here says what that core would do.
_POLARS_THERE = 3.5e6
_ON_ANOTHER = "check, by that ratio, where plain Polars does 3.5 M/s"

#: What one would write by hand for the same identifiers, without check digits, ranges or positions.
_BY_HAND = {
    "url": r"https?://\S+|www\.\S+",
    "email": r"[^\s@]+@[^\s@]+\.[^\s@]+",
    "card": r"\b[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3,4}\b|\b[0-9]{13,19}\b",
    "ssn": r"\b[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}\b",
    "mrn": r"(?i)\bmrn[:# -]{0,3}[0-9]{6,10}\b",
    "ip": r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){2,7}",
    "phone": r"\(?\b[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}\b|\+[0-9]{1,3}(?:[ -][0-9]{2,4}){2,4}\b",
    "date": r"\b(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}|[0-9]{1,2} [A-Z][a-z]{2,8} [0-9]{4})\b",
}


def run(rows: int | None) -> list[Line]:
    """Rates of both forms; ``rows`` is what the batch form checks (1,000,000 by default)."""
    command = [sys.executable, "-m", __name__, str(rows or _ROWS)]
    environment = os.environ | {"POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MicroflowError("the benchmark's process failed", hint=done.stderr.strip().rpartition("\n")[2])
    return [Line(**line) for line in json.loads(done.stdout)]


def _measured(rows: int) -> list[Line]:
    schema = load_schema("healthcare")
    policy = load_policy(schema.policy)
    table = pa.Table.from_batches([batch.rows for batch in generate("healthcare", rows, seed=1)])
    flows = [flow.rows for flow in microflows(table.to_batches())]
    records: list[Record] = table.slice(0, _RECORDS).to_pylist()
    checker = BatchChecker(policy, schema)
    _refuse_unequal(checker, RecordChecker(policy, schema), naive_check.NaiveChecker(policy, schema), flows, records)
    lines = measure(
        [
            Case(_BATCH, _over(checker.check, flows), reference=_WHOLE),
            Case(_WHOLE, _plain_polars(policy, schema, [table])),
            Case(_FLOWS, _plain_polars(policy, schema, flows), reference=_WHOLE),
            Case(
                _SCALAR,
                _each(RecordChecker(policy, schema).check, records),
                reference=_NAIVE,
                goal=1.5e5,
                absolute=True,
            ),
            Case(_NAIVE, _each(naive_check.NaiveChecker(policy, schema).check, records)),
            *_presidio(records[:_PEER_RECORDS]),
        ],
        rounds=_ROUNDS,
    )
    ratios = {line.name: line.ratio or 1.0 for line in lines}
    rates = {line.name: line.value for line in lines}
    return [
        *lines,
        *(
            fixed(f"{ours} over Presidio's recognisers", rates[ours] / rates[_PRESIDIO], "×")
            for ours in (_BATCH, _SCALAR)
            if _PRESIDIO in rates
        ),
        fixed("check over plain Polars, whole table", ratios[_BATCH], "×", at_least=0.6),
        fixed(_ON_ANOTHER, ratios[_BATCH] * _POLARS_THERE, "records/s", at_least=2e6),
        fixed("check over plain Polars, microflows", ratios[_BATCH] / ratios[_FLOWS], "×", at_least=0.6),
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


def _plain_polars(
    policy: Policy, schema: DatasetSchema, parts: Sequence[pa.Table | pa.RecordBatch]
) -> Callable[[], float]:
    """The same rules as one select a part, a mask a rule, without spans or check digits."""
    targets = Targets(policy, schema)
    by_hand = [
        pl.col(field.name).str.contains(_BY_HAND[pattern]).alias(f"{field.name} {pattern}")
        for field in targets.texts
        for pattern in field.by_pattern
    ]
    expressions = [*plain_expressions(targets), *by_hand]
    fields = list(targets.fields)

    def work() -> float:
        return float(sum(pl.DataFrame(part.select(fields)).select_seq(expressions).height for part in parts))

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


def _presidio(records: list[Record]) -> list[Case]:
    """The optional peer, on free text alone: the other columns it is spared."""
    if not is_installed():
        return []
    return [Case(_PRESIDIO, _each(presidio_search("notes", _BY_HAND["mrn"]), records), reference=_SCALAR)]


def _filled(table: pa.Table, checker: BatchChecker) -> float:
    names = {target.field for target in checker.targets}
    return float(100 * np.mean([1 - table.column(name).null_count / len(table) for name in sorted(names)]))


if __name__ == "__main__":
    sys.stdout.write(json.dumps([asdict(line) for line in _measured(int(sys.argv[1]))]))
