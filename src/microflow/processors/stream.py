"""Stream processing: a record at a time through the bolts of the stream topology, in this process."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import Method, MethodSettings, Scope, StreamAnonymizer
from microflow.anonymize.keys import read_key
from microflow.compliance import Violation, load_policy
from microflow.descriptors import load_schema
from microflow.microflows import Microflow
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt, Passing
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.processors.kernel import FindingsBuilder
from microflow.records import coerce, to_batch
from microflow.schema import Record
from microflow.timing.clock import PhaseClock

__all__ = ["StormStreamProcessor", "streaming"]

_now = time.perf_counter_ns


class StormStreamProcessor:
    """The stream engine: spout → compliance bolt → anonymize bolt → sink, one record at a time.

    k-anonymity needs company: with it a record waits for at most δ records (CASTLE), and `Processed.ordinals` name
    records of earlier microflows.

    Args:
        spec: What to do; by default healthcare records under HIPAA, tokenized with the key of the environment.
    """

    pipeline_type = "stream"

    def __init__(self, spec: ProcessingSpec | None = None) -> None:
        self._spec = streaming(spec or _seed_spec())
        self._compliance = ComplianceBolt.of(self._spec)
        self._anonymizer = build_anonymizer(self._spec.method, self._spec.schema, self._spec.key)
        self._findings = FindingsBuilder(self._spec)
        #: Service times: nanoseconds from taking a record to having its result, an entry a record.
        self.service_ns = array("q")

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every released batch."""
        return self._anonymizer.output_schema

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, a record at a time; microflows only group what is written."""
        if isinstance(self._anonymizer, StreamAnonymizer):
            return self._with_delay(self._anonymizer, source, clock)
        return self._at_once(source, clock)

    def process_record(self, record: dict[str, Any]) -> dict[str, Any]:
        """The seed's entry point: the anonymized record, with ``pure_processing_time`` in seconds.

        Values are converted to the schema's types before the clock starts. A record that may not be kept comes back
        with every field ``None``.
        """
        typed = coerce(record, self._spec.schema)
        anonymize = AnonymizeBolt.of(self._spec)
        started = _now()
        released = anonymize(self._compliance(0, typed)).record
        elapsed = _now() - started
        return {**(released or dict.fromkeys(typed)), "pure_processing_time": elapsed / 1e9}

    def check_compliance_realtime(self, record: dict[str, Any]) -> list[Violation]:
        """The violations of one record."""
        return self._compliance(0, coerce(record, self._spec.schema)).violations

    def anonymize_realtime(self, record: dict[str, Any], method: str = "tokenization") -> Record:
        """One record anonymized by a method that works record by record, whatever was found in it."""
        spec = replace(self._spec, method=replace(self._spec.method, method=Method(method)))
        released = AnonymizeBolt.of(spec)(Passing(0, coerce(record, spec.schema), [])).record
        return released or {}

    def _at_once(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        compliance, anonymize, note = self._compliance, AnonymizeBolt.of(self._spec), self.service_ns.append
        for flow in clock.reading(source):
            with clock.pre():
                records = flow.rows.to_pylist()
            done = []
            before = clock.pure_ns
            with clock.pure():
                for ordinal, record in enumerate(records, flow.first_row):
                    started = _now()
                    done.append(anonymize(compliance(ordinal, record)))
                    note(_now() - started)
            with clock.post():
                released = [(one.ordinal, one.record) for one in done if one.record is not None]
                suppressed = [one.ordinal for one in done if one.record is None]
                violations = [one.violations for one in done]
                result = self._result(flow, released, suppressed, violations, clock.pure_ns - before)
            yield result

    def _with_delay(
        self, anonymizer: StreamAnonymizer, source: Iterable[Microflow], clock: PhaseClock
    ) -> Iterator[Processed]:
        """The last microflow carries what `flush` releases, so that every record is accounted for."""
        compliance, note = self._compliance, self.service_ns.append
        flow: Microflow | None = None
        for following in _then_none(clock.reading(source)):
            if flow is not None:
                with clock.pre():
                    records = flow.rows.to_pylist()
                released: list[tuple[int, Record]] = []
                suppressed: list[int] = []
                violations = []
                before = clock.pure_ns
                with clock.pure():
                    for ordinal, record in enumerate(records, flow.first_row):
                        started = _now()
                        passing = compliance(ordinal, record)
                        if passing.record is None:
                            suppressed.append(ordinal)
                        else:
                            released += anonymizer.push(ordinal, passing.record)
                        violations.append(passing.violations)
                        note(_now() - started)
                    if following is None:
                        released += anonymizer.flush()
                        suppressed += anonymizer.suppressed
                with clock.post():
                    result = self._result(flow, released, suppressed, violations, clock.pure_ns - before)
                yield result
            flow = following

    def _result(
        self,
        flow: Microflow,
        released: Sequence[tuple[int, Record]],
        suppressed: Sequence[int],
        violations: Sequence[Sequence[Violation]],
        pure_ns: int,
    ) -> Processed:
        return Processed(
            number=flow.number,
            first_row=flow.first_row,
            rows_in=len(flow),
            released=to_batch((record for _, record in released), self.output_schema),
            ordinals=np.fromiter((ordinal for ordinal, _ in released), np.int64, len(released)),
            suppressed=np.sort(np.asarray(suppressed, np.int64)),
            findings=self._findings.build(len(violations), enumerate(violations)),
            pure_ns=pure_ns,
        )


def streaming(spec: ProcessingSpec) -> ProcessingSpec:
    """The specification as a stream can do it: k-anonymity by CASTLE unless another scope was asked for."""
    if spec.method.method is Method.K_ANONYMITY and spec.method.scope is None:
        return replace(spec, method=replace(spec.method, scope=Scope.STREAM))
    return spec


def _seed_spec() -> ProcessingSpec:
    schema = load_schema("healthcare")
    settings = MethodSettings(Method.TOKENIZATION)
    return ProcessingSpec(schema, load_policy(schema.policy), settings, key=read_key(settings.key_bits))


def _then_none(source: Iterable[Microflow]) -> Iterator[Microflow | None]:
    yield from source
    yield None
