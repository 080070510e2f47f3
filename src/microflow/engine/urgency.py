"""Urgency of records: declarative rules over a record's own fields.

    urgent:                                   # in a descriptor, or as a list in a file of its own
    - {kind: urgency, at_least: emergency}    # severity: an ordered category
    - {kind: amount, at_least: 40000}
    - {column: triage, one_of: [emergency]}
    - {kind: retain_until, within_days: 30}   # deadline: a date at most so many days after the policy's reference date

A rule speaks of every column of its kind (or of one column); a record is urgent if any rule says so, and a missing
value is never urgent. A rule whose kind the data set lacks says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.descriptors import urgency_rules
from microflow.descriptors.model import UrgencyModel
from microflow.errors import SchemaError
from microflow.schema import Column, DatasetSchema, Record, UrgencyRule, Value
from microflow.yaml_model import read_file

__all__ = ["Urgency", "load_urgency"]


def load_urgency(path: Path) -> tuple[UrgencyRule, ...]:
    """Rules from a YAML list.

    Raises:
        SchemaError: not readable, not such a list, or a word that is not in the vocabulary.
    """
    document = read_file(path, list[UrgencyModel], SchemaError)
    return urgency_rules(document, document.model)


class Urgency:
    """Urgency rules compiled for a data set; they decide alike on a record and on a row of a batch.

    Args:
        schema: The data set.
        rules: Any of them makes a record urgent; by default the data set's own.
        reference: The day that deadlines count from: the policy's reference date.

    Raises:
        SchemaError: a rule does not fit its column.

    >>> from microflow.descriptors import load_schema
    >>> urgency = Urgency(load_schema("healthcare"))
    >>> urgency.of_record({"triage": "emergency"}), urgency.of_record({"triage": "routine"})
    (True, False)
    """

    def __init__(
        self, schema: DatasetSchema, rules: Sequence[UrgencyRule] | None = None, reference: date | None = None
    ) -> None:
        rules = schema.urgent if rules is None else rules
        compiled = [(column, rule) for rule in rules for column in rule.columns(schema)]
        self._tests = [(column.name, *_compiled(column, rule, reference)) for column, rule in compiled]

    def of_record(self, record: Record) -> bool:
        """True if the record is urgent."""
        for name, test, _ in self._tests:
            value = record.get(name)
            if value is not None and test(value):
                return True
        return False

    def of_rows(self, rows: pa.RecordBatch) -> npt.NDArray[np.bool_]:
        """Flags of the urgent rows."""
        masks = (_true(vectorised(rows.column(name))) for name, _, vectorised in self._tests)
        return reduce(or_, masks, np.zeros(rows.num_rows, np.bool_))


Test = Callable[[Any], bool]
Vectorised = Callable[[pa.Array], pa.Array]


def _compiled(column: Column, rule: UrgencyRule, reference: date | None) -> tuple[Test, Vectorised]:
    if rule.within_days is not None:
        if reference is None:
            raise SchemaError("deadlines count from a policy's reference date", column=column.name)
        last: Value = (reference + timedelta(days=rule.within_days)).isoformat()
        # ISO dates sort as text; a shortened one (YYYY-MM) sorts before its days, so it counts as its first.
        return (lambda value: value <= last), (lambda values: pc.less_equal(values, last))
    if isinstance(rule.at_least, int | float):
        least = rule.at_least
        if not column.is_numeric:
            raise SchemaError("at_least a number needs a column of numbers", column=column.name)
        return (lambda value: value >= least), (lambda values: pc.greater_equal(values, least))
    words = frozenset(rule.one_of or _from(column, str(rule.at_least)))
    return words.__contains__, (lambda values: pc.is_in(values, pa.array(sorted(words), values.type)))


def _from(column: Column, word: str) -> tuple[str, ...]:
    """The categories of an ordered column from this one upwards."""
    if not column.ordered or word not in column.categories:
        raise SchemaError(
            f"at_least {word!r} needs an ordered column with that category",
            column=column.name,
            hint=f"categories are: {', '.join(column.categories) or 'none'}",
        )
    return column.categories[column.categories.index(word) :]


def _true(mask: pa.Array) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = pc.fill_null(mask, False).to_numpy(zero_copy_only=False)
    return flags
