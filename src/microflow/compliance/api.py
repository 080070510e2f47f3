"""The seed's entry point: one record, one data type, one answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from microflow.compliance.policy import load_policy
from microflow.compliance.scalar import RecordChecker
from microflow.descriptors import load_schema
from microflow.records import coerce
from microflow.schema import DatasetSchema, Record

__all__ = ["detailed_compliance_check", "is_compliant"]


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
