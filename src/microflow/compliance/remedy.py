"""Acting on what was found: fields by role, free text span by span, whole records where keeping them is unlawful.

Each remedy is one function of a value, used by both forms, and leaves nothing that the same policy would find again.
A remedy never changes a column's type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from microflow.compliance.conditions import Contains
from microflow.compliance.findings import Findings, Violation
from microflow.compliance.policy import Policy
from microflow.compliance.restricted_zip import RESTRICTED_ZIP3
from microflow.compliance.targets import Targets
from microflow.schema import DatasetSchema, Record, Value

__all__ = ["BatchRemedy", "RecordRemedy"]

#: Start and end of a finding and what it looked like, in one text.
Span = tuple[int, int, str]

_SUPPRESS = "suppress_record"
_SHOWN_FIRST, _SHOWN_LAST = 6, 4


def _zip3(value: str) -> str:
    prefix = value[:3]
    return "000" if prefix in RESTRICTED_ZIP3 else prefix


#: What a whole field becomes.
_FIELD_REMEDIES: dict[str, Callable[[Any], Value]] = {
    "blank": lambda _: None,
    "zip3": _zip3,
    "year": lambda value: value[:4],
    "top_code_90": lambda value: type(value)(90),
    "two_decimals": lambda value: round(value, 2),
}


def _mask_card(text: str) -> str:
    """First six and last four digits stay, as PCI DSS 4.0 requirement 3.4.1 allows; separators go."""
    digits = [char for char in text if char.isdigit()]
    hidden = "*" * (len(digits) - _SHOWN_FIRST - _SHOWN_LAST)
    return "".join([*digits[:_SHOWN_FIRST], hidden, *digits[-_SHOWN_LAST:]])


def _redact(text: str, spans: Sequence[Span]) -> str:
    """Every span replaced by what it was, in brackets: ``[EMAIL]``; the last first, so that offsets hold."""
    for start, end, pattern in sorted(set(spans), reverse=True):
        found = text[start:end]
        text = f"{text[:start]}{_mask_card(found) if pattern == 'pan' else f'[{pattern.upper()}]'}{text[end:]}"
    return text


class _Remedies:
    """For every target of a policy on a data set: what to do."""

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        targets = Targets(policy, schema).all
        self.fields = [target.field for target in targets]
        self.suppresses = np.array([target.rule.remedy == _SUPPRESS for target in targets], np.bool_)
        self.whole = [_FIELD_REMEDIES.get(target.rule.remedy) for target in targets]
        self.patterns = [
            ("pan" if target.rule.remedy == "mask_card" else target.rule.condition.pattern)
            if isinstance(target.rule.condition, Contains)
            else ""
            for target in targets
        ]
        self.index = {(target.rule.id, target.field): i for i, target in enumerate(targets)}

    def remedied(self, value: Any, findings: Sequence[tuple[int, int, int]]) -> Value:
        """One field's value after all its findings (target, start, end)."""
        spans = [(start, end, self.patterns[i]) for i, start, end in findings if start >= 0]
        result: Value = _redact(value, spans) if spans else value
        for i, start, _ in findings:
            remedy = self.whole[i]
            if start < 0 and remedy is not None and result is not None:
                result = remedy(result)
        return result


class BatchRemedy:
    """Remedies for microflows."""

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self._spec = (policy, schema)
        self._remedies = _Remedies(policy, schema)

    def __reduce__(self) -> tuple[type[BatchRemedy], tuple[Policy, DatasetSchema]]:
        return type(self), self._spec

    def apply(self, rows: pa.RecordBatch, findings: Findings) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """Rows that survive, remedied, and the positions (int64, ascending) they had."""
        everyone = np.arange(rows.num_rows, dtype=np.int64)
        if not len(findings):
            return rows, everyone
        suppressed = self._remedies.suppresses[findings.targets]
        columns = list(rows.columns)
        for name, cells in self._cells(findings, suppressed).items():
            position = rows.schema.get_field_index(name)
            columns[position] = self._remedied(columns[position], cells)
        remedied = pa.RecordBatch.from_arrays(columns, schema=rows.schema)
        if not suppressed.any():
            return remedied, everyone
        stays = np.ones(rows.num_rows, np.bool_)
        stays[findings.rows[suppressed]] = False
        return remedied.filter(pa.array(stays)), everyone[stays]

    def _cells(
        self, findings: Findings, suppressed: npt.NDArray[np.bool_]
    ) -> dict[str, dict[int, list[tuple[int, int, int]]]]:
        """Field to row to its findings, without those that only suppress."""
        cells: dict[str, dict[int, list[tuple[int, int, int]]]] = defaultdict(lambda: defaultdict(list))
        kept = np.flatnonzero(~suppressed)
        columns = (findings.rows, findings.targets, findings.starts, findings.ends)
        for row, index, start, end in zip(*(column[kept].tolist() for column in columns), strict=True):
            cells[self._remedies.fields[index]][row].append((index, start, end))
        return cells

    def _remedied(self, column: pa.Array, cells: dict[int, list[tuple[int, int, int]]]) -> pa.Array:
        rows = np.fromiter(cells, np.int64, len(cells))
        values = column.take(pa.array(rows)).to_pylist()
        remedied = [self._remedies.remedied(value, found) for value, found in zip(values, cells.values(), strict=True)]
        mask = np.zeros(len(column), np.bool_)
        mask[rows] = True
        return pc.replace_with_mask(column, pa.array(mask), pa.array(remedied, column.type))


class RecordRemedy:
    """Remedies for single records; gives what `BatchRemedy` gives."""

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self._spec = (policy, schema)
        self._remedies = _Remedies(policy, schema)

    def __reduce__(self) -> tuple[type[RecordRemedy], tuple[Policy, DatasetSchema]]:
        return type(self), self._spec

    def apply(self, record: Record, violations: Sequence[Violation]) -> Record | None:
        """The record as it may go on, as a new dict, or ``None`` where it may not be kept at all."""
        if not violations:
            return record
        remedies = self._remedies
        cells: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
        for violation in violations:
            index = remedies.index[violation.rule, violation.field]
            if remedies.suppresses[index]:
                return None
            cells[violation.field].append((index, violation.start, violation.end))
        return {**record, **{name: remedies.remedied(record[name], found) for name, found in cells.items()}}
