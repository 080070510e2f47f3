"""Which records cannot wait: declarative rules over a record's own fields.

A rule names a kind of column and what makes it urgent. The shipped rules read the alert column of each data type
(``triage``, ``fraud_alert``, ``delivery``, ``alert``) and the amount.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.schema import DatasetSchema, Record

__all__ = ["DEFAULT_URGENCY", "Urgency", "UrgencyRule"]


@dataclass(frozen=True, slots=True)
class UrgencyRule:
    """A record is urgent if its column of this kind is one of ``words``, or a number of at least ``at_least``."""

    kind: str
    words: frozenset[str] = frozenset()
    at_least: float | None = None


DEFAULT_URGENCY = (UrgencyRule("urgency", words=frozenset({"emergency"})),)


class Urgency:
    """Urgency rules laid over a data set; a rule whose kind the data set lacks says nothing."""

    def __init__(self, schema: DatasetSchema, rules: tuple[UrgencyRule, ...] = DEFAULT_URGENCY) -> None:
        self._tests = [(column.name, rule) for rule in rules for column in schema.with_kind(rule.kind)]

    def of_record(self, record: Record) -> bool:
        """Whether one record is urgent."""
        for name, rule in self._tests:
            value = record.get(name)
            if value in rule.words:
                return True
            if rule.at_least is not None and isinstance(value, int | float) and value >= rule.at_least:
                return True
        return False

    def of_rows(self, rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Whether each row is urgent."""
        urgent = np.zeros(rows.num_rows, np.bool_)
        for name, rule in self._tests:
            column = rows.column(name)
            if rule.words:
                urgent |= _true(pc.is_in(column, pa.array(sorted(rule.words), column.type)))
            if rule.at_least is not None:
                urgent |= _true(pc.greater_equal(column, rule.at_least))
        return urgent


def _true(mask: pa.Array) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return flags
