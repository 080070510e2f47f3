"""How well violations are found: every rule against the generator's ground truth, hard cases on.

A finding is right when row, rule, field and, in free text, the span agree with the truth to the code point. The figures
say how well the rules cover what the generator writes, near misses included; they promise nothing about other prose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from microflow.assess.rates import Rate
from microflow.compliance import BatchChecker, load_policy
from microflow.datasets import GeneratedBatch
from microflow.descriptors import load_schema
from microflow.microflows import microflows

__all__ = ["GOAL", "Accuracy", "Counts", "by_regulation", "measure_accuracy"]

#: What every rule is held to on 200,000 records of each data type.
GOAL = {"recall": 0.999, "precision": 0.995}

#: Row, rule, field, start and end.
Place = tuple[int, str, str, int, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """Violations that were found, that were found and are none, and that were not found."""

    hits: int
    false_alarms: int
    misses: int

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.hits + other.hits, self.false_alarms + other.false_alarms, self.misses + other.misses)

    @property
    def precision(self) -> Rate:
        """The share of the findings that are right, with Wilson's interval."""
        return Rate.of(self.hits, self.hits + self.false_alarms)

    @property
    def recall(self) -> Rate:
        """The share of the violations that are found, with Wilson's interval."""
        return Rate.of(self.hits, self.hits + self.misses)

    @property
    def f1(self) -> Rate:
        """The harmonic mean of precision and recall.

        ``F* = hits / (hits + false alarms + misses)`` is a share, so Wilson's interval holds for it, and F1 grows with
        it as ``2 F* / (1 + F*)`` (Hand, Christen and Kirielle, Machine Learning 110, 2021).

        >>> counts = Counts(90, 10, 10)
        >>> round(counts.f1.value, 3), counts.f1.low < 0.9 < counts.f1.high
        (0.9, True)
        """
        star = Rate.of(self.hits, self.hits + self.false_alarms + self.misses)
        value, low, high = (2 * share / (1 + share) for share in (star.value, star.low, star.high))
        return Rate(star.successes, star.attempts, value, low, high)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One rule on one data type; a rule that the data type's columns never invoke is not measured."""

    data_type: str
    regulation: str
    rule: str
    counts: Counts

    @property
    def reaches_goal(self) -> bool:
        """Whether recall and precision are at least `GOAL`."""
        return self.counts.recall.value >= GOAL["recall"] and self.counts.precision.value >= GOAL["precision"]


def measure_accuracy(data_type: str, batches: Iterable[GeneratedBatch]) -> list[Accuracy]:
    """Check generated records of ``data_type`` against their truth, a batch at a time.

    Returns:
        One `Accuracy` for each rule of the data type's default policy that was broken or reported, in policy order.
    """
    schema = load_schema(data_type)
    policy = load_policy(schema.policy)
    checker = BatchChecker(policy, schema)
    hits, false_alarms, misses = Counter[str](), Counter[str](), Counter[str]()
    first_row = 0
    for batch in batches:
        truth, found = set(_true_places(batch.truth)), set(_found_places(checker, batch.rows, first_row))
        hits.update(place[1] for place in truth & found)
        false_alarms.update(place[1] for place in found - truth)
        misses.update(place[1] for place in truth - found)
        first_row += batch.rows.num_rows
    counts = {rule.id: Counts(hits[rule.id], false_alarms[rule.id], misses[rule.id]) for rule in policy.rules}
    return [
        Accuracy(data_type, rule.regulation, rule.id, counts[rule.id])
        for rule in policy.rules
        if counts[rule.id] != Counts(0, 0, 0)
    ]


def _true_places(truth: pa.RecordBatch) -> Iterator[Place]:
    yield from zip(*(column.to_pylist() for column in truth.columns), strict=True)


def _found_places(checker: BatchChecker, rows: pa.RecordBatch, first_row: int) -> Iterator[Place]:
    for flow in microflows([rows]):
        for row, violation in checker.violations(checker.check(flow.rows)):
            at = first_row + flow.first_row + row
            yield at, violation.rule, violation.field, violation.start, violation.end


def by_regulation(measured: Iterable[Accuracy]) -> dict[str, Counts]:
    """The counts of all rules of a regulation together, whatever the data type."""
    totals: dict[str, Counts] = {}
    for accuracy in measured:
        totals[accuracy.regulation] = totals.get(accuracy.regulation, Counts(0, 0, 0)) + accuracy.counts
    return totals
