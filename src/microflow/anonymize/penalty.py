"""How much generalised text has lost: the normalised certainty penalty of released labels.

Read from the labels alone, so that releases of any system can be compared by one definition (Xu et al., KDD 2006).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from microflow.anonymize.generalise import Label, parse
from microflow.schema import Column, DatasetSchema, Value

__all__ = ["certainty_penalty"]


def certainty_penalty(original: pa.RecordBatch, released: pa.RecordBatch, schema: DatasetSchema) -> float:
    """The mean penalty over all released cells of quasi-identifiers: 0 nothing lost, 1 everything.

    A label loses, of a numeric column, its length over the length of the original's values, and of any other column,
    ``(covered - 1) / (distinct - 1)`` of the original's distinct values (a missing one is a value). A label that covers
    both numbers and missing values loses everything.

    >>> from microflow.schema import Dtype, Role
    >>> column = Column("age", Role.QUASI_IDENTIFIER, Dtype.INTEGER)
    >>> original = pa.record_batch({"age": pa.array([30, 35, 40, 50])})
    >>> released = pa.record_batch({"age": ["[30-40]", "[30-40]", "[30-40]", "50"]})
    >>> certainty_penalty(original, released, DatasetSchema("ages", (column,), "hipaa"))
    0.375
    """
    columns = schema.quasi_identifiers
    return float(np.mean([_column_penalty(original[c.name], released[c.name], c) for c in columns]))


def _column_penalty(original: pa.Array, released: pa.Array, column: Column) -> float:
    domain = [None if value != value else value for value in original.unique().to_pylist()]  # noqa: PLR0124 - NaN
    counts = released.value_counts()
    labels = (parse(text, column) for text in counts.field("values").to_pylist())
    lost = [_numeric(label, domain) if column.is_numeric else _covered(label, domain) for label in labels]
    return float(np.average(lost, weights=counts.field("counts").to_numpy()))


def _covered(label: Label, domain: list[Value]) -> float:
    return (sum(map(label.covers, domain)) - 1) / max(1, len(domain) - 1)


def _numeric(label: Label, domain: list[Value]) -> float:
    known = [float(value) for value in domain if value is not None]
    if label.missing or not known:
        return 0.0
    part = label
    if label.parts:
        if label.covers(None):
            return 1.0
        part = label.parts[0]
    if part.prefix is not None:
        return 1.0
    if part.exact is not None:
        return 0.0
    low, high = max(float(part.low or 0.0), min(known)), min(float(part.high or 0.0), max(known))
    return max(0.0, high - low) / (max(known) - min(known) or 1.0)
