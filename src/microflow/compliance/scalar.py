"""The check of one record, and the function of that name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import lru_cache

from microflow.compliance.conditions import Missing, Predicate
from microflow.compliance.findings import Violation
from microflow.compliance.policy import Policy, load_policy
from microflow.compliance.targets import Compiled, GuardedField, Target, Targets
from microflow.descriptors import load_schema
from microflow.records import coerce
from microflow.schema import DatasetSchema, Record

__all__ = ["RecordChecker", "detailed_compliance_check", "is_compliant"]


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


def detailed_compliance_check(record: Mapping[str, object], data_type: str) -> dict[str, object]:
    """Check one record against its data type's policy.

    ``record`` may hold strings as read from a file: values are converted to the data type's column types first. Fields
    whose value cannot be are named under ``unreadable``, and such a record is not compliant: nobody can vouch for what
    cannot be read. The answer never repeats a value.

    Raises:
        SchemaError: there is no such data type.

    >>> answer = detailed_compliance_check({"record_id": 1, "ssn": "123-45-6789", "age": "old"}, "healthcare")
    >>> answer["compliant"], answer["violations"][0]["rule"], answer["violations"][0]["field"], answer["unreadable"]
    (False, 'hipaa-ssn', 'ssn', ['age'])
    """
    schema, checker = _compiled(data_type)
    values, unreadable = _read(record, schema)
    violations = checker.check(values)
    return {
        "compliant": not violations and not unreadable,
        "data_type": data_type,
        "policy": schema.policy,
        "unreadable": unreadable,
        "violations": [violation._asdict() for violation in violations],
    }


def is_compliant(record: Mapping[str, object], data_type: str) -> bool:
    """Whether nothing is wrong with a record: stops at the first violation.

    >>> is_compliant({"record_id": 1, "ssn": "***-**-****"}, "healthcare")
    True
    """
    schema, checker = _compiled(data_type)
    values, unreadable = _read(record, schema)
    return not unreadable and checker.quick(values) is None


def _read(record: Mapping[str, object], schema: DatasetSchema) -> tuple[Record, list[str]]:
    """The record in the data type's types, and the fields that could not be converted."""
    values = coerce(record, schema)
    given = (name for name in schema.names if record.get(name) not in (None, ""))
    return values, [name for name in given if values[name] is None]


@lru_cache(maxsize=16)
def _compiled(data_type: str) -> tuple[DatasetSchema, RecordChecker]:
    schema = load_schema(data_type)
    return schema, RecordChecker(load_policy(schema.policy), schema)
