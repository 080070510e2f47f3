"""The bolts of the stream topology: functions of one tuple, the same in this process and on Apache Storm."""

from __future__ import annotations

from typing import NamedTuple

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import RecordAnonymizer
from microflow.compliance import RecordChecker, RecordRemedy, Violation
from microflow.errors import MicroflowError
from microflow.processors.contract import ProcessingSpec
from microflow.schema import Record

__all__ = ["AnonymizeBolt", "ComplianceBolt", "Passing"]


class Passing(NamedTuple):
    """The tuple between bolts; its record is remedied, then released, or ``None`` where it may not be kept."""

    ordinal: int
    record: Record | None
    violations: list[Violation]


class ComplianceBolt:
    """Checks a record and acts on what it finds."""

    name = "compliance"

    def __init__(self, checker: RecordChecker, remedy: RecordRemedy) -> None:
        self._check = checker.check
        self._remedy = remedy.apply

    @classmethod
    def of(cls, spec: ProcessingSpec) -> ComplianceBolt:
        """The bolt for a specification."""
        return cls(RecordChecker(spec.policy, spec.schema), RecordRemedy(spec.policy, spec.schema))

    def __call__(self, ordinal: int, record: Record) -> Passing:
        violations = self._check(record)
        return Passing(ordinal, self._remedy(record, violations) if violations else record, violations)


class AnonymizeBolt:
    """Anonymizes every surviving record, whatever was found in it, by a method that works record by record."""

    name = "anonymize"

    def __init__(self, anonymizer: RecordAnonymizer) -> None:
        self._anonymize = anonymizer.anonymize_record

    @classmethod
    def of(cls, spec: ProcessingSpec) -> AnonymizeBolt:
        """The bolt for a specification.

        Raises:
            MicroflowError: the method must see more than one record (k-anonymity).
        """
        anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)
        if not isinstance(anonymizer, RecordAnonymizer):
            raise MicroflowError(f"{spec.method.method} cannot release a record by itself")
        return cls(anonymizer)

    def __call__(self, passing: Passing) -> Passing:
        record = passing.record
        return Passing(passing.ordinal, None if record is None else self._anonymize(record), passing.violations)
