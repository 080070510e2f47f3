"""The seed's entry point: one record, one data type, one answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from microflow.compliance.policy import load_policy
from microflow.compliance.scalar import RecordChecker
from microflow.descriptors import load_schema
from microflow.records import coerce
from microflow.schema import DatasetSchema

__all__ = ["detailed_compliance_check", "is_compliant"]


def detailed_compliance_check(record: Mapping[str, object], data_type: str) -> dict[str, object]:
    """Check one record against its data type's policy.

    ``record`` may hold strings as read from a file: values are converted to the data type's column types first, and one
    that cannot be converted counts as missing. The answer never repeats a value.

    Raises:
        SchemaError: there is no such data type.

    >>> answer = detailed_compliance_check({"record_id": 1, "ssn": "123-45-6789"}, "healthcare")
    >>> answer["compliant"], answer["violations"][0]["rule"], answer["violations"][0]["field"]
    (False, 'hipaa-ssn', 'ssn')
    """
    schema, checker = _compiled(data_type)
    violations = checker.check(coerce(record, schema))
    return {
        "compliant": not violations,
        "data_type": data_type,
        "policy": schema.policy,
        "violations": [violation._asdict() for violation in violations],
    }


def is_compliant(record: Mapping[str, object], data_type: str) -> bool:
    """Whether nothing is wrong with a record: stops at the first violation.

    >>> is_compliant({"record_id": 1, "ssn": "***-**-****"}, "healthcare")
    True
    """
    schema, checker = _compiled(data_type)
    return checker.quick(coerce(record, schema)) is None


@lru_cache(maxsize=16)
def _compiled(data_type: str) -> tuple[DatasetSchema, RecordChecker]:
    schema = load_schema(data_type)
    return schema, RecordChecker(load_policy(schema.policy), schema)
