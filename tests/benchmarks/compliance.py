"""``make bench SUITE=compliance``: the check of a microflow and of a record, each beside its competitors.

Everything runs in a process of its own in which Polars has one thread. Healthcare records with hard cases are checked
in morsels, as the engines do, and in microflows of 1,000 rows; that the forms agree is asserted before anything is
timed. The references are plain Polars with patterns written by hand, a loop of rule objects, and Presidio's pattern
recognisers without their language model (an optional peer: ``pip install '.[peers]'``).
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from typing import TypeVar

import numpy as np
import polars as pl
import pyarrow as pa

from benchmarks.harness import Case, Goal, Line, fixed, hand_over, in_one_thread, measure
from microflow.compliance import BatchChecker, Policy, RecordChecker, Rule, Violation, load_policy
from microflow.compliance.checkers import plain_expressions
from microflow.compliance.conditions import Contains
from microflow.compliance.findings import Targets
from microflow.compliance.patterns import PATTERNS
from microflow.datasets import generate
from microflow.descriptors import load_schema
from microflow.engine.kernel import morsels
from microflow.errors import MicroflowError
from microflow.records import microflows
from microflow.schema import DatasetSchema, Record, Value
from microflow.settings import MORSEL

__all__ = ["POLARS_THERE", "plain_polars", "run"]

T = TypeVar("T")
_ROWS, _RECORDS, _PEER_RECORDS, _ROUNDS = 1_000_000, 20_000, 1_000, 4
_MORSELS, _BATCH, _WHOLE, _FLOWS, _SCALAR, _NAIVE, _PRESIDIO = (
    f"check, morsels of {MORSEL} microflows",
    "check, microflows of 1,000",
    "plain Polars, same patterns, whole table",
    "plain Polars, same patterns, microflows",
    "check, record by record",
    "naive loop of rule objects",
    "Presidio's recognisers, free text only",
)
#: Goals in records/s are for a core on which plain Polars checks 3.5 M over the whole table; on any other, the ratio to
#: it measured here says what that core would do.
POLARS_THERE = 3.5e6
_ON_ANOTHER = "check, by that ratio, where plain Polars does 3.5 M/s"
#: The policy's identifiers as one writes them by hand, without check digits, ranges or positions.
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
    return in_one_thread(__name__, rows or _ROWS)


def _measured(rows: int) -> list[Line]:
    schema = load_schema("healthcare")
    policy = load_policy(schema.policy)
    table = pa.Table.from_batches([batch.rows for batch in generate("healthcare", rows, seed=1)])
    cut = list(microflows(table.to_batches()))
    flows, joined = [flow.rows for flow in cut], [morsel.rows for morsel in morsels(cut)]
    records: list[Record] = table.slice(0, _RECORDS).to_pylist()
    checker, one_by_one, naive = BatchChecker(policy, schema), RecordChecker(policy, schema), _naive(policy, schema)
    _refuse_unequal(checker, one_by_one, naive, flows, records)
    lines = measure(
        [
            Case(_MORSELS, _each(checker.check, joined, rows), reference=_WHOLE),
            Case(_BATCH, _each(checker.check, flows, rows), reference=_FLOWS),
            Case(_WHOLE, plain_polars(policy, schema, [table])),
            Case(_FLOWS, plain_polars(policy, schema, flows)),
            Case(_SCALAR, _each(one_by_one.check, records), reference=_NAIVE, goal=Goal(1.5e5, of_ratio=False)),
            Case(_NAIVE, _each(naive, records)),
            *_presidio(one_by_one.check, records[:_PEER_RECORDS]),
        ],
        rounds=_ROUNDS,
    )
    ratios = {line.name: line.ratio or 1.0 for line in lines}
    checked = sorted({target.field for target in checker.targets})
    filled = float(100 * np.mean([1 - table.column(name).null_count / len(table) for name in checked]))
    return [
        *lines,
        fixed("check, morsels, over plain Polars, whole table", ratios[_MORSELS], "×", at_least=0.6),
        fixed(_ON_ANOTHER, ratios[_MORSELS] * POLARS_THERE, "records/s", at_least=2e6),
        fixed("check, microflows, over plain Polars, microflows", ratios[_BATCH], "×", at_least=0.6),
        fixed("record check over naive loop", ratios[_SCALAR], "×", at_least=4),
        fixed("rules that apply", len(checker.targets), "rules", at_least=10),
        fixed("filled cells in the columns checked", filled, "%"),
    ]


def _each(check: Callable[[T], object], parts: Sequence[T], rows: int | None = None) -> Callable[[], float]:
    """Check part after part; they are so many rows, by default one each."""

    def work() -> float:
        for part in parts:
            check(part)
        return float(len(parts) if rows is None else rows)

    return work


def _refuse_unequal(
    batch: BatchChecker,
    record: RecordChecker,
    naive: Callable[[Record], list[Violation]],
    flows: list[pa.RecordBatch],
    records: list[Record],
) -> None:
    of_batch = [found for rows in flows[: -(-_RECORDS // 1_000)] for _, found in batch.violations(batch.check(rows))]
    of_record = [record.check(row) for row in records]
    if of_batch != list(chain.from_iterable(of_record)):
        raise MicroflowError("the forms of the check do not agree")
    for found, row in zip(of_record, records, strict=True):
        rules, theirs = {violation.rule for violation in found}, naive(row)
        missed = rules - {violation.rule for violation in theirs}
        # Where neighbours compete, the scanner gives a span to one pattern, and the loop to each that fits.
        alone = [
            violation
            for violation in theirs
            if violation.rule not in rules
            and not any(
                violation.field == other.field and violation.start < other.end and other.start < violation.end
                for other in found
            )
        ]
        if missed or alone:
            raise MicroflowError("the naive check finds other rules broken")


def plain_polars(
    policy: Policy, schema: DatasetSchema, parts: Sequence[pa.Table | pa.RecordBatch]
) -> Callable[[], float]:
    """Check of a policy as written by hand in Polars: a select per part, a mask per rule, no spans or check digits."""
    targets = Targets(policy, schema)
    by_hand = [
        pl.col(field.name).str.contains(_BY_HAND[pattern]).alias(f"{field.name} {pattern}")
        for field in targets.texts
        for pattern in field.by_pattern
        if pattern in _BY_HAND  # a record's own identifiers have no pattern
    ]
    expressions, fields = [*plain_expressions(targets), *by_hand], list(targets.fields)

    def work() -> float:
        return float(sum(pl.DataFrame(part.select(fields)).select_seq(expressions).height for part in parts))

    return work


def _naive(policy: Policy, schema: DatasetSchema) -> Callable[[Record], list[Violation]]:
    """A record check before anybody compiles it: every rule asked of every record, in turn.

    The policy measured has no guards, and neighbours do not compete: a span may lack what stands in front of a mark, or
    be found by two patterns. But for that, a record breaks the rules that the compiled check says, too.
    """
    named = {rule: [column.name for column in rule.columns(schema)] for rule in policy.rules}
    rules = [(rule, fields, _places_of(rule, policy)) for rule, fields in named.items()]

    def check(record: Record) -> list[Violation]:
        return [
            Violation(rule.id, field, rule.severity, rule.regulation, rule.article, start, end)
            for rule, fields, places in rules
            for field in fields
            for start, end in places(record.get(field))
        ]

    return check


def _places_of(rule: Rule, policy: Policy) -> Callable[[Value], Iterator[tuple[int, int]]]:
    """Places in a value at which a rule is broken; (-1, -1) is the whole of it."""
    condition = rule.condition
    if isinstance(condition, Contains):
        own = [pattern for pattern in PATTERNS if pattern.name == condition.pattern]
        searches = [
            (
                re.compile(pattern.expression, re.ASCII),
                re.compile(rf"(?:{pattern.behind})\Z", re.ASCII),
                pattern.measure,
            )
            for pattern in own
        ]

        def spans(value: Value) -> Iterator[tuple[int, int]]:
            for expression, behind, counts in searches:
                for match in expression.finditer(value) if isinstance(value, str) else ():
                    if counts(match) and behind.search(match.string, 0, match.start()):
                        yield match.span()

        return spans
    broken, asks_for_null = condition.forms(policy.reference_date).predicate, condition.word == "missing"

    def whole(value: Value) -> Iterator[tuple[int, int]]:
        if asks_for_null if value is None else broken(value):
            yield -1, -1

    return whole


def _presidio(check: Callable[[Record], object], records: list[Record]) -> list[Case]:
    """The optional peer, on free text alone (it is spared the other columns), and ours on the whole of its records."""
    if find_spec("presidio_analyzer") is None:
        return []
    theirs = _each(_presidio_search("notes"), records)
    return [Case(_PRESIDIO, theirs), Case("check, whole records, the same", _each(check, records), reference=_PRESIDIO)]


def _presidio_search(field: str) -> Callable[[Record], int]:
    """Count of the identifiers that Presidio's recognisers, called directly, find in a field, of the policy's kinds."""
    from presidio_analyzer import Pattern, PatternRecognizer
    from presidio_analyzer import predefined_recognizers as known

    # Where there is no network, its list of domains comes from the package, and 200 lines of log say so.
    logging.getLogger("tldextract").setLevel(logging.CRITICAL)
    kinds = (
        known.EmailRecognizer, known.UsSsnRecognizer, known.PhoneRecognizer, known.CreditCardRecognizer,
        known.IpRecognizer, known.UrlRecognizer, known.DateRecognizer,
    )  # fmt: skip
    mrn = PatternRecognizer("MRN", patterns=[Pattern("mrn", _BY_HAND["mrn"], 0.5)])
    recognisers = [*(kind() for kind in kinds), mrn]

    def search(record: Record) -> int:
        text = record[field]
        if not isinstance(text, str):
            return 0
        return sum(
            len(recogniser.analyze(text, recogniser.supported_entities, None) or ()) for recogniser in recognisers
        )

    return search


if __name__ == "__main__":
    hand_over(_measured(int(sys.argv[1])))
