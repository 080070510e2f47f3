"""Remedies: what a rule does to a value that violates it.

Each remedy is one function of a value, used by both forms, and leaves nothing that the same policy would find again.
A remedy never changes a column's type.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from microflow.compliance.conditions import RESTRICTED_ZIP3, Contains
from microflow.compliance.findings import Compiled, Findings, Targets, Violation
from microflow.compliance.policy import Policy, Rule
from microflow.schema import DatasetSchema, Record, Value

__all__ = ["BatchRemedy", "RecordRemedy"]

#: Target, start and end of a finding; start is -1 where it is about the whole field.
Finding = tuple[int, int, int]

_SUPPRESS = "suppress_record"
_SHOWN_FIRST, _SHOWN_LAST = 6, 4
#: How often a redacted text is looked at again.
_LOOKS = 8
#: ZIP codes of five digits, with or without the four behind them, and three digits that hide the others.
_ZIP = re.compile(r"(\d{3})(?:\d{2}(?:[- ]?\d{4})?|[*xX#]{2})?", re.ASCII)
#: The same without the nought at the front, which a spreadsheet takes for a number's and drops.
_ZIP_WITHOUT_NOUGHT = re.compile(r"(\d{2})\d{2}(?:[- ]?\d{4})?", re.ASCII)


def _zip3(value: str) -> str | None:
    """The first three digits, or ``000`` where they name few people; nothing of what is no ZIP code."""
    text = value.strip()
    if found := _ZIP.fullmatch(text):
        prefix = found[1]
    elif found := _ZIP_WITHOUT_NOUGHT.fullmatch(text):
        prefix = f"0{found[1]}"
    else:
        return None
    return "000" if prefix in RESTRICTED_ZIP3 else prefix


#: What a whole field becomes.
_FIELD_REMEDIES: dict[str, Callable[[Any], Value]] = {
    "blank": lambda _: None,
    _SUPPRESS: lambda _: None,  # where only a second look finds the reason
    "zip3": _zip3,
    "year": lambda value: value[:4],
    "top_code_90": lambda value: type(value)(90),
    "two_decimals": lambda value: round(value, 2),
}


def _mask_card(text: str) -> str:
    """First six and last four digits stay, as PCI DSS 4.0 requirement 3.4.1 allows; separators go.

    >>> _mask_card("4111 1111 1111 1111")
    '411111******1111'
    """
    digits = "".join(char for char in text if "0" <= char <= "9")
    hidden = "*" * (len(digits) - _SHOWN_FIRST - _SHOWN_LAST)
    return f"{digits[:_SHOWN_FIRST]}{hidden}{digits[-_SHOWN_LAST:]}"


class _Remedy(Compiled):
    """For every target of a policy on a data set: what to do.

    ``spared`` columns keep their values: the next step needs them, and removes them.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema, spared: frozenset[str] = frozenset()) -> None:
        super().__init__(policy, schema, spared)
        compiled = Targets(policy, schema)
        rules = [target.rule for target in compiled.all]
        self._spared = spared
        self._fields = [target.field for target in compiled.all]
        self._index = {(target.rule.id, target.field): i for i, target in enumerate(compiled.all)}
        self._suppresses = np.array([rule.remedy == _SUPPRESS for rule in rules], np.bool_)
        others = {target.field for target in compiled.all if target.rule.remedy not in {"blank", _SUPPRESS}}
        self._only_blanked = frozenset(self._fields) - others
        self._whole = [_FIELD_REMEDIES.get(rule.remedy) for rule in rules]
        self._spans = [_span_remedy(rule) for rule in rules]
        self._texts = {field.name: field for field in compiled.texts}

    def _remedied(self, field: str, value: Any, findings: Sequence[Finding], own: Mapping[str, Value]) -> Value:
        """One field's value after all its findings; ``own`` holds the record's own identifiers.

        What is left beside a mask may happen to read as another identifier: it is scanned again. A text in which even
        the last of several looks finds something is blanked: so it takes time linear in its length.
        """
        for _ in range(_LOOKS):
            value, is_changed = self._acted(value, findings)
            if not is_changed or not (findings := self._texts[field].findings(value, own)):
                return value  # type: ignore[no-any-return]
        return None

    def _all_remedied(
        self, field: str, values: list[Any], findings: Iterable[Sequence[Finding]], own: pl.DataFrame
    ) -> list[Value]:
        """`_remedied` of many records' values, looked at together, which is faster."""
        found = dict(enumerate(findings))
        for _ in range(_LOOKS):
            if not found:
                break
            changed = []
            for at, of_one in found.items():
                values[at], is_changed = self._acted(values[at], of_one)
                if is_changed:
                    changed.append(at)
            theirs = own[changed] if own.width else own
            again = self._texts[field].findings_in_all([values[at] for at in changed], theirs) if changed else {}
            found = {changed[number]: of_one for number, of_one in again.items()}
        for at in found:
            values[at] = None
        return values

    def _acted(self, value: Any, findings: Sequence[Finding]) -> tuple[Any, bool]:
        """A value after these findings, and whether it is a text that was changed in places."""
        spans: dict[tuple[int, int], Callable[[str], str]] = {}
        for index, start, end in findings:
            whole, span = self._whole[index], self._spans[index]
            if span is not None:
                spans.setdefault((start, end), span)  # where two rules speak of one span, the earlier decides
            elif whole is not None and value is not None:
                value = whole(value)
        if not spans or value is None:
            return value, False
        return _redacted(value, spans), True


def _redacted(text: str, spans: Mapping[tuple[int, int], Callable[[str], str]]) -> str:
    """Every span replaced."""
    parts, position = [], 0
    for start, end in sorted(spans):
        parts += [text[position:start], spans[start, end](text[start:end])]
        position = end
    return "".join([*parts, text[position:]])


def _span_remedy(rule: Rule) -> Callable[[str], str] | None:
    """Replacement of a span in free text: a masked card, or its kind in brackets, as ``[EMAIL]``."""
    if rule.remedy == "mask_card":
        return _mask_card
    if isinstance(rule.condition, Contains) and rule.remedy == "redact":
        shown = f"[{rule.condition.pattern.upper()}]"
        return lambda _: shown
    return None


class BatchRemedy(_Remedy):
    """Remedies for microflows."""

    def apply(self, rows: pa.RecordBatch, findings: Findings) -> tuple[pa.RecordBatch, npt.NDArray[np.int64]]:
        """Rows that survive, remedied, and the positions (int64, ascending) they had."""
        if not len(findings):
            return rows, np.arange(rows.num_rows, dtype=np.int64)
        stays = np.ones(rows.num_rows, np.bool_)
        stays[findings.rows[self._suppresses[findings.targets]]] = False
        cells, mask = self._cells(findings, stays), None if stays.all() else pa.array(stays)
        columns = [
            self._column(name, column, rows, cells[name], mask)
            if name in cells and name not in self._spared
            else _filtered(column, mask)
            for name, column in zip(rows.schema.names, rows.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=rows.schema), np.flatnonzero(stays)

    def _cells(self, findings: Findings, stays: npt.NDArray[np.bool_]) -> dict[str, dict[int, list[Finding]]]:
        """Field to row to its findings, of the rows that stay."""
        cells: dict[str, dict[int, list[Finding]]] = defaultdict(lambda: defaultdict(list))
        kept = np.flatnonzero(stays[findings.rows])
        columns = (findings.rows, findings.targets, findings.starts, findings.ends)
        for row, index, start, end in zip(*(column[kept].tolist() for column in columns), strict=True):
            cells[self._fields[index]][row].append((index, start, end))
        return cells

    def _column(
        self,
        field: str,
        column: pa.Array,
        batch: pa.RecordBatch,
        cells: dict[int, list[Finding]],
        stays: pa.BooleanArray | None,
    ) -> pa.Array:
        """The rows of a column that stay, with the remedied values in their places."""
        rows = np.fromiter(cells, np.int64, len(cells))  # ascending, as findings are
        if field in self._only_blanked:
            found = np.zeros(len(column), np.bool_)
            found[rows] = True
            return _filtered(pc.if_else(pa.array(found), pa.scalar(None, column.type), column), stays)
        values = column.take(pa.array(rows)).to_pylist()
        own = self._texts[field].own.columns if field in self._texts else ()
        records = pl.DataFrame(batch.select(own).take(pa.array(rows)))
        remedied = self._all_remedied(field, values, cells.values(), records)
        # Put behind the others and taken from there: replacing strings in place, then filtering them, costs twice that.
        places = np.arange(len(column))
        places[rows] = np.arange(len(column), len(column) + len(rows))
        return pa.concat_arrays([column, pa.array(remedied, column.type)]).take(_filtered(pa.array(places), stays))


def _filtered(column: pa.Array, stays: pa.BooleanArray | None) -> pa.Array:
    """The rows of a column that stay: all of them, where there is no mask."""
    return column if stays is None else column.filter(stays)


class RecordRemedy(_Remedy):
    """Remedies for single records; gives what `BatchRemedy` gives."""

    def apply(self, record: Record, violations: Sequence[Violation]) -> Record | None:
        """The record as it may go on, as a new dict, or ``None`` where it may not be kept at all."""
        if not violations:
            return record
        cells: dict[str, list[Finding]] = defaultdict(list)
        for violation in violations:
            index = self._index[violation.rule, violation.field]
            if self._suppresses[index]:
                return None
            if violation.field not in self._spared:
                cells[violation.field].append((index, violation.start, violation.end))
        return record | {name: self._remedied(name, record[name], found, record) for name, found in cells.items()}
