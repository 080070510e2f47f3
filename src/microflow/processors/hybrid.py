"""Hybrid processing: urgent records and low loads one at a time, everything else in vectorised microflows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import Method, RecordAnonymizer, Released, Scope
from microflow.compliance import RecordChecker, RecordRemedy
from microflow.microflows import Microflow
from microflow.processors.bolts import AnonymizeBolt, ComplianceBolt, Passing
from microflow.processors.contract import Processed, ProcessingSpec
from microflow.processors.kernel import BatchKernel, FindingsBuilder, Screened, merge_findings, processed
from microflow.processors.urgency import DEFAULT_URGENCY, Urgency, UrgencyRule
from microflow.records import to_batch
from microflow.schema import Record
from microflow.timing.clock import PhaseClock

__all__ = ["HybridProcessor"]


class HybridProcessor:
    """The hybrid engine. Both ways give the same rows, so routing is about time only.

    From a file everything is at hand at once: only urgency sends a record the quick way, and it leaves before its
    microflow does. Live, `microflow.processors.router` decides by load; `serve` runs a decision. k-anonymity works in
    microflows (scope microflow unless told otherwise): a record alone cannot be hidden among others.
    """

    pipeline_type = "hybrid"

    def __init__(self, spec: ProcessingSpec, urgency: tuple[UrgencyRule, ...] = DEFAULT_URGENCY) -> None:
        self._spec = spec = _in_microflows(spec)
        self._kernel = BatchKernel(spec)
        self._urgency = Urgency(spec.schema, urgency)
        self._by_record = isinstance(self._kernel.anonymizer, RecordAnonymizer)
        if self._by_record:
            self._compliance = ComplianceBolt(
                RecordChecker(spec.policy, spec.schema), RecordRemedy(spec.policy, spec.schema)
            )
            self._anonymize = AnonymizeBolt.of(spec)
        self._findings = FindingsBuilder(spec)
        #: Records by the way they went and why.
        self.reasons: Counter[str] = Counter()

    @property
    def output_schema(self) -> pa.Schema:
        """The Arrow schema of every released batch."""
        return self._kernel.anonymizer.output_schema

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, in bounded memory."""
        for flow in clock.reading(source):
            with clock.pre():
                urgent = self._urgency.of_rows(flow.rows) if self._by_record else np.zeros(len(flow), np.bool_)
                early, rest = np.flatnonzero(urgent), np.flatnonzero(~urgent)
                records = flow.rows.take(pa.array(early)).to_pylist()
                others = flow.rows.filter(pa.array(~urgent)) if len(early) else flow.rows
            before = clock.pure_ns
            with clock.pure():
                passed = [self.serve_record(row, record) for row, record in zip(early.tolist(), records, strict=True)]
                released, screened = self._kernel.run(others)
            with clock.post():
                self.reasons.update({"urgent": len(early), "microflow": len(rest)})
                if len(early):
                    released, screened = self._merged(len(flow), passed, rest, released, screened)
                result = processed(flow, released, screened, clock.pure_ns - before)
            yield result

    def _merged(
        self, seen: int, passed: list[Passing], rest: npt.NDArray[np.int64], released: Released, screened: Screened
    ) -> tuple[Released, Screened]:
        """Both ways' results as if one had done it all, in the order of the input."""
        early = [one for one in passed if one.record is not None]
        rows = pa.concat_batches([to_batch((one.record or {} for one in early), self.output_schema), released.rows])
        kept = np.concatenate([np.array([one.ordinal for one in early], np.int64), rest[screened.kept[released.kept]]])
        order = np.argsort(kept)
        mine = self._findings.build(seen, ((one.ordinal, one.violations) for one in passed))
        findings = merge_findings(mine, screened.findings, rest)
        merged = Released(rows.take(pa.array(order)), np.arange(len(kept)), seen)
        return merged, Screened(merged.rows, kept[order], findings)

    def serve_record(self, ordinal: int, record: Record) -> Passing:
        """The quick way: one record through the bolts."""
        return self._anonymize(self._compliance(ordinal, record))

    def serve_rows(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The vectorised way: what may leave of these rows."""
        return self._kernel.run(rows)[0].rows

    def serve_records(self, records: list[Record]) -> pa.RecordBatch:
        """The vectorised way for records that arrived one by one."""
        return self.serve_rows(to_batch(records, self._spec.schema.arrow))


def _in_microflows(spec: ProcessingSpec) -> ProcessingSpec:
    if spec.method.method is Method.K_ANONYMITY and spec.method.scope is None:
        return replace(spec, method=replace(spec.method, scope=Scope.MICROFLOW))
    return spec
