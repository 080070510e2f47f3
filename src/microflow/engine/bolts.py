"""The bolts of the stream topology: functions of one tuple, the same in this process and on Apache Storm."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import RecordAnonymizer, StreamAnonymizer
from microflow.compliance import RecordChecker, RecordRemedy, Violation
from microflow.engine.contract import ProcessingSpec
from microflow.errors import MicroflowError
from microflow.schema import Record

__all__ = ["AnonymizeBolt", "ComplianceBolt", "HoldingBolt", "Passing", "Releasing", "releasing"]


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
        remedy = RecordRemedy(spec.policy, spec.schema, spec.counted)
        return cls(RecordChecker(spec.policy, spec.schema), remedy)

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
            raise MicroflowError(
                f"{spec.method.method} cannot release a record by itself",
                hint="it needs other records to hide it among: process a stream or a file",
            )
        return cls(anonymizer)

    def __call__(self, passing: Passing) -> Passing:
        record = passing.record
        return Passing(passing.ordinal, None if record is None else self._anonymize(record), passing.violations)

    def release(self, ordinal: int, record: Record) -> list[tuple[int, Record]]:
        """This record, at once."""
        return [(ordinal, self._anonymize(record))]

    def flush(self) -> list[tuple[int, Record]]:
        """Nothing is held back."""
        return []

    @property
    def suppressed(self) -> Iterable[int]:
        """None by the method."""
        return ()


class HoldingBolt:
    """Anonymizes by a method that holds records back for a bounded delay; keeps state, so it serves one stream."""

    name = "anonymize"

    def __init__(self, anonymizer: StreamAnonymizer) -> None:
        self.release = anonymizer.push
        self.flush = anonymizer.flush
        self.anonymizer = anonymizer

    @property
    def suppressed(self) -> Iterable[int]:
        """Records that could not be released safely, known after `flush`."""
        return self.anonymizer.suppressed


class Releasing(Protocol):
    """The last bolt, whether it holds records back or not."""

    def release(self, ordinal: int, record: Record, /) -> list[tuple[int, Record]]:
        """Take one record; give those that leave now."""
        ...

    def flush(self) -> list[tuple[int, Record]]:
        """End of stream: give what may still leave."""
        ...

    @property
    def suppressed(self) -> Iterable[int]:
        """Records that will never leave, known after `flush`."""
        ...


def releasing(spec: ProcessingSpec) -> Releasing:
    """The last bolt for a specification, in its initial state.

    Raises:
        MicroflowError: the method works neither by record nor by stream.
    """
    anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)
    return HoldingBolt(anonymizer) if isinstance(anonymizer, StreamAnonymizer) else AnonymizeBolt.of(spec)
