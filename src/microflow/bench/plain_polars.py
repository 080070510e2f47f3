"""What one would write by hand for the same policy: the yardstick of a core."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl
import pyarrow as pa

from microflow.compliance import Policy
from microflow.compliance.checkers import plain_expressions
from microflow.compliance.findings import Targets
from microflow.schema import DatasetSchema

__all__ = ["BY_HAND", "POLARS_THERE", "plain_polars"]

#: Goals in records/s are for a core on which plain Polars checks 3.5 M over the whole table; on any other, the ratio to
#: it measured here says what that core would do.
POLARS_THERE = 3.5e6

#: The same identifiers, without check digits, ranges or positions.
BY_HAND = {
    "url": r"https?://\S+|www\.\S+",
    "email": r"[^\s@]+@[^\s@]+\.[^\s@]+",
    "card": r"\b[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3,4}\b|\b[0-9]{13,19}\b",
    "ssn": r"\b[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}\b",
    "mrn": r"(?i)\bmrn[:# -]{0,3}[0-9]{6,10}\b",
    "ip": r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){2,7}",
    "phone": r"\(?\b[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}\b|\+[0-9]{1,3}(?:[ -][0-9]{2,4}){2,4}\b",
    "date": r"\b(?:[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{1,2}/[0-9]{1,2}/[0-9]{4}|[0-9]{1,2} [A-Z][a-z]{2,8} [0-9]{4})\b",
}


def plain_polars(
    policy: Policy, schema: DatasetSchema, parts: Sequence[pa.Table | pa.RecordBatch]
) -> Callable[[], float]:
    """The same rules as one select a part, a mask a rule, without spans or check digits."""
    targets = Targets(policy, schema)
    by_hand = [
        pl.col(field.name).str.contains(BY_HAND[pattern]).alias(f"{field.name} {pattern}")
        for field in targets.texts
        for pattern in field.by_pattern
        if pattern in BY_HAND  # a record's own identifiers have no pattern
    ]
    expressions = [*plain_expressions(targets), *by_hand]
    fields = list(targets.fields)

    def work() -> float:
        return float(sum(pl.DataFrame(part.select(fields)).select_seq(expressions).height for part in parts))

    return work
