"""Stream processing, a record at a time: the bolts, which are functions of one tuple, and the engine in this process.

Apache Storm runs the same bolts (`microflow.storm`).
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import Method, RecordAnonymizer, StreamAnonymizer
from microflow.compliance import RecordChecker, RecordRemedy, Violation
from microflow.engine.contract import Processed, ProcessingSpec, Processor, default_spec, scoped
from microflow.engine.kernel import FindingsBuilder, warmed
from microflow.errors import InputError, MicroflowError
from microflow.records import Microflow, coerce, to_batch
from microflow.schema import Record
from microflow.timing.clock import PhaseClock
from microflow.timing.meters import LatencyRecorder

__all__ = ["AnonymizeBolt", "ComplianceBolt", "Passing", "StormStreamProcessor", "releasing"]

_now = time.perf_counter_ns
#: Records that warm the bolts up.
_WARM = 20


class Passing(NamedTuple):
    """The tuple between bolts; its record is remedied, then released, or ``None`` where it may not be kept."""

    ordinal: int
    record: Record | None
    violations: list[Violation]


#: A named tuple's own way to be made takes twice as long, which a record at a time is worth sparing.
_passing = tuple.__new__


class ComplianceBolt:
    """Bolt that checks a record and applies remedies."""

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
        return _passing(Passing, (ordinal, self._remedy(record, violations) if violations else record, violations))


class AnonymizeBolt:
    """Bolt that anonymizes every remaining record by a method that works record by record."""

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
        ordinal, record, violations = passing
        return _passing(Passing, (ordinal, None if record is None else self._anonymize(record), violations))

    def push(self, ordinal: int, record: Record) -> list[tuple[int, Record]]:
        """This record, at once, as a `StreamAnonymizer` gives those that leave now."""
        return [(ordinal, self._anonymize(record))]

    def flush(self) -> list[tuple[int, Record]]:
        """Return no record: none is held back."""
        return []

    @property
    def suppressed(self) -> Iterable[int]:
        """Ordinals of suppressed records: always empty for this kind of method."""
        return ()


def releasing(spec: ProcessingSpec) -> AnonymizeBolt | StreamAnonymizer:
    """The last step for a specification, in its initial state; it serves one stream where it holds records back.

    Raises:
        MicroflowError: the method works neither by record nor by stream.
    """
    anonymizer = build_anonymizer(spec.method, spec.schema, spec.key)
    return anonymizer if isinstance(anonymizer, StreamAnonymizer) else AnonymizeBolt.of(spec)


class StormStreamProcessor(Processor):
    """The stream engine: spout → compliance bolt → anonymize bolt → sink, one record at a time.

    k-anonymity needs company: with it a record waits for at most δ records (CASTLE), and `Processed.ordinals` name
    records of earlier microflows. That delay is not service time.

    Args:
        spec: What to do; by default ``schema`` under its own policy, tokenized.
        schema: The data type where no ``spec`` is given.
    """

    pipeline_type = "stream"

    def __init__(self, spec: ProcessingSpec | None = None, *, schema: str = "healthcare") -> None:
        self._spec = scoped(spec or default_spec(schema), "stream")
        self._compliance = ComplianceBolt.of(self._spec)
        self._anonymizer = build_anonymizer(self._spec.method, self._spec.schema, self._spec.key)
        self._findings = FindingsBuilder(self._spec)
        self._bolts: dict[str, AnonymizeBolt] = {}
        #: Service times of the last job: nanoseconds from taking a record to being done with it.
        self.service = LatencyRecorder()

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, a record at a time; microflows only group what is written.

        The last microflow also carries what a method held back until then, so that every record is accounted for.
        """
        self.service = LatencyRecorder()
        last = releasing(self._spec)
        if isinstance(last, StreamAnonymizer):
            self._anonymizer = last  # which knows in the end what was achieved
        flow: Microflow | None = None
        for following in _then_none(warmed(source, clock, self._warm_up)):
            if flow is not None:
                yield self._processed(flow, last, clock, is_last=following is None)
            flow = following

    def process_record(self, record: dict[str, Any]) -> dict[str, Any]:
        """The seed's entry point: the anonymized record, with ``pure_processing_time`` in seconds.

        Values are converted to the schema's types before the clock starts. A record that may not be kept comes back
        with every field ``None``.

        Raises:
            MicroflowError: the method cannot release a record by itself.
        """
        self._refuse_unknown(record)
        typed, anonymize = coerce(record, self._spec.schema), self._bolt(self._spec.method.method)
        started = _now()
        released = anonymize(self._compliance(0, typed)).record
        elapsed = _now() - started
        return {**(released or dict.fromkeys(typed)), "pure_processing_time": elapsed / 1e9}

    def _refuse_unknown(self, record: dict[str, Any]) -> None:
        """See that every field is described, where the schema does not say that others are dropped or pass."""
        schema = self._spec.schema
        unknown = [name for name in record if name not in schema.names]
        if unknown and schema.others == "refuse":
            raise InputError(
                f"the schema does not describe: {', '.join(name[:80] for name in unknown)}",
                hint="describe the fields, or set others: drop",
            )

    def check_compliance_realtime(self, record: dict[str, Any]) -> list[Violation]:
        """The violations of one record."""
        return self._compliance(0, coerce(record, self._spec.schema)).violations

    def anonymize_realtime(self, record: dict[str, Any], method: str = "tokenization") -> Record:
        """One record anonymized as it is, whatever is wrong with it, by a method that works record by record.

        Raises:
            MicroflowError: the method cannot release a record by itself.
        """
        released = self._bolt(Method(method))(Passing(0, coerce(record, self._spec.schema), [])).record
        assert released is not None
        return released

    def _bolt(self, method: Method) -> AnonymizeBolt:
        """One bolt a method, compiled on first use."""
        if method not in self._bolts:
            self._bolts[method] = AnonymizeBolt.of(
                replace(self._spec, method=replace(self._spec.method, method=method))
            )
        return self._bolts[method]

    def _processed(
        self, flow: Microflow, last: AnonymizeBolt | StreamAnonymizer, clock: PhaseClock, *, is_last: bool
    ) -> Processed:
        with clock.pre():
            records = flow.rows.to_pylist()
            compliance, push = self._compliance, last.push
            released: list[tuple[int, Record]] = []
            suppressed: list[int] = []
            violations: list[tuple[int, Sequence[Violation]]] = []
            service = array("q")
        with clock.pure():
            for row, record in enumerate(records):
                started = _now()
                passing = compliance(flow.first_row + row, record)
                if passing.violations:
                    violations.append((row, passing.violations))
                if passing.record is None:
                    suppressed.append(passing.ordinal)
                else:
                    released += push(passing.ordinal, passing.record)
                service.append(_now() - started)
            if is_last:
                released += last.flush()
                suppressed += last.suppressed
        pure_ns = clock.pure_spans[-1]
        with clock.post():
            self.service.record_many(np.frombuffer(service, np.int64))
            result = Processed(
                number=flow.number,
                first_row=flow.first_row,
                rows_in=len(flow),
                released=to_batch((record for _, record in released), self.output_schema),
                ordinals=np.fromiter((ordinal for ordinal, _ in released), np.int64, len(released)),
                suppressed=np.sort(np.asarray(suppressed, np.int64)),
                findings=self._findings.build(len(flow), violations),
                pure_ns=pure_ns,
            )
            # Freeing a thousand records takes time: at the end of the function no phase would count it.
            records.clear()
            released.clear()
        return result

    def _warm_up(self, rows: pa.RecordBatch) -> None:
        compliance, last = ComplianceBolt.of(self._spec), releasing(self._spec)
        for ordinal, record in enumerate(rows.slice(0, _WARM).to_pylist()):
            passing = compliance(ordinal, record)
            if passing.record is not None:
                last.push(ordinal, passing.record)
        last.flush()


def _then_none(source: Iterable[Microflow]) -> Iterator[Microflow | None]:
    yield from source
    yield None
