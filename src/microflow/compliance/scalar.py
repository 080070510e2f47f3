"""The check of one record: every rule as a predicate, grouped by field so that an absent field costs one look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from microflow.compliance.conditions import Missing
from microflow.compliance.findings import Violation
from microflow.compliance.policy import Policy
from microflow.compliance.targets import Target, Targets
from microflow.schema import DatasetSchema, Record

__all__ = ["RecordChecker"]

Test = Callable[[Any], bool]
Guards = tuple[tuple[str | None, Test, bool], ...]


class RecordChecker:
    """A policy compiled for one record at a time; says the same as `microflow.compliance.vector.BatchChecker`.

    Records hold values of the schema's types (`microflow.records.coerce` makes them so); a field that is not in the
    record counts as null.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        self._spec = (policy, schema)
        self._targets = Targets(policy, schema)
        self._absent: list[tuple[str, int, Guards]] = []
        present: dict[str, list[tuple[int, Test, Guards]]] = defaultdict(list)
        for index, target in self._targets.plain:
            guards = self._guards(target)
            if isinstance(target.rule.condition, Missing):
                self._absent.append((target.field, index, guards))
            else:
                present[target.field].append((index, target.rule.condition.predicate(policy.reference_date), guards))
        self._present = [(name, tuple(tests)) for name, tests in present.items()]
        self._texts = [(field.name, field.findings) for field in self._targets.texts]
        self._whole = [target.violation() for target in self._targets.all]

    def __reduce__(self) -> tuple[type[RecordChecker], tuple[Policy, DatasetSchema]]:
        return type(self), self._spec

    def check(self, record: Record) -> list[Violation]:
        """Every violation of one record, by rule, then by position."""
        found = [(index, -1, -1) for index in self._broken(record)]
        get = record.get
        for name, findings in self._texts:
            text = get(name)
            if isinstance(text, str):
                found += findings(text)
        if not found:
            return []
        found.sort()
        whole, targets = self._whole, self._targets.all
        return [whole[i] if start < 0 else targets[i].violation(start, end) for i, start, end in found]

    def quick(self, record: Record) -> Violation | None:
        """Some violation of the record, or ``None``: stops at the first hit, whole fields before free text."""
        for index in self._broken(record):
            return self._whole[index]
        for name, findings in self._texts:
            text = record.get(name)
            for index, start, end in findings(text) if isinstance(text, str) else ():
                return self._targets.all[index].violation(start, end)
        return None

    def _broken(self, record: Record) -> Iterator[int]:
        """Indexes of the targets that a whole field breaks."""
        get = record.get
        for name, tests in self._present:
            value = get(name)
            if value is not None:
                for index, broken, guards in tests:
                    if broken(value) and (not guards or _all_hold(guards, record)):
                        yield index
        for name, index, guards in self._absent:
            if get(name) is None and (not guards or _all_hold(guards, record)):
                yield index

    def _guards(self, target: Target) -> Guards:
        reference = self._targets.policy.reference_date
        return tuple(
            (
                self._targets.guard_field(guard.kind),
                guard.condition.predicate(reference),
                isinstance(guard.condition, Missing),
            )
            for guard in target.rule.when
        )


def _all_hold(guards: Guards, record: Record) -> bool:
    for name, holds, asks_for_null in guards:
        value = None if name is None else record.get(name)
        if (value is None) != asks_for_null:
            return False
        if value is not None and not holds(value):
            return False
    return True
