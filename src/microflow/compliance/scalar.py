"""The check of one record: every rule as a predicate, grouped by field so that an absent field costs one look."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from microflow.compliance.conditions import Missing, Predicate
from microflow.compliance.findings import Violation
from microflow.compliance.policy import Policy
from microflow.compliance.targets import Compiled, GuardedField, Target, Targets
from microflow.schema import DatasetSchema, Record

__all__ = ["RecordChecker"]

#: Whether another field of the record lets the rule apply.
Guard = Predicate


class RecordChecker(Compiled):
    """A policy compiled for one record at a time; says the same as `microflow.compliance.vector.BatchChecker`.

    Records hold values of the schema's types (`microflow.records.coerce` makes them so); a field that is not in the
    record counts as null.

    Raises:
        PolicyError: a rule asks something of a column that has no such type.
    """

    def __init__(self, policy: Policy, schema: DatasetSchema) -> None:
        super().__init__(policy, schema)
        compiled = Targets(policy, schema)
        self.targets: tuple[Target, ...] = compiled.all
        self._absent: list[tuple[str, int, tuple[Guard, ...]]] = []
        present: dict[str, list[tuple[int, Predicate, tuple[Guard, ...]]]] = defaultdict(list)
        for target in compiled.plain:
            guards = tuple(_guard(guard, policy) for guard in target.guards)
            if isinstance(target.condition, Missing):
                self._absent.append((target.field, target.index, guards))
            else:
                broken = target.condition.predicate(policy.reference_date)
                present[target.field].append((target.index, broken, guards))
        self._present = [(name, tuple(tests)) for name, tests in present.items()]
        self._texts = [(field.name, field.findings) for field in compiled.texts]
        self._whole = [target.violation() for target in self.targets]

    def check(self, record: Record) -> list[Violation]:
        """Every violation of one record, by rule, then by position."""
        found = [(index, -1, -1) for index in self._broken(record)]
        get = record.get
        for name, findings in self._texts:
            if isinstance(text := get(name), str):
                found += findings(text, record)
        if not found:
            return []
        found.sort()
        whole, targets = self._whole, self.targets
        return [whole[i] if start < 0 else targets[i].violation(start, end) for i, start, end in found]

    def quick(self, record: Record) -> Violation | None:
        """Some violation of the record, or ``None``: stops at the first hit, whole fields before free text."""
        for index in self._broken(record):
            return self._whole[index]
        for name, findings in self._texts:
            if isinstance(text := record.get(name), str):
                for index, start, end in findings(text, record):
                    return self.targets[index].violation(start, end)
        return None

    def _broken(self, record: Record) -> Iterator[int]:
        """Indexes of the targets that a whole field breaks."""
        get = record.get
        for name, tests in self._present:
            value = get(name)
            if value is not None:
                for index, broken, guards in tests:
                    if broken(value) and all(guard(record) for guard in guards):
                        yield index
        for name, index, guards in self._absent:
            if get(name) is None and all(guard(record) for guard in guards):
                yield index


def _guard(guard: GuardedField, policy: Policy) -> Guard:
    """The guard as a predicate of a record; null satisfies ``missing`` and nothing else."""
    test = guard.condition.predicate(policy.reference_date)
    name, wanted, null_holds = guard.field or "", guard.holds, isinstance(guard.condition, Missing)

    def applies(record: Record) -> bool:
        value = record.get(name)
        return (null_holds if value is None else test(value)) is wanted

    return applies
