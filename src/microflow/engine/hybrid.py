"""Hybrid processing: urgent records and low loads one at a time, everything else in vectorised microflows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from microflow.anonymize.contract import RecordAnonymizer, Released
from microflow.compliance import Findings
from microflow.engine.contract import Processed, ProcessingSpec, Processor, default_spec, scoped
from microflow.engine.kernel import (
    BatchKernel,
    FindingsBuilder,
    Morsel,
    merge_findings,
    portions,
    results_of,
    warm_up,
    warmed,
)  # fmt: skip
from microflow.engine.router import LearnedCosts, Objectives
from microflow.engine.stream import AnonymizeBolt, ComplianceBolt, Passing
from microflow.engine.urgency import Urgency
from microflow.records import Microflow, to_batch
from microflow.schema import UrgencyRule
from microflow.settings import MORSEL
from microflow.timing.clock import PhaseClock

__all__ = ["HybridProcessor"]


class HybridProcessor(Processor):
    """The hybrid engine. Both ways give the same rows, so routing is about time only.

    In a file everything is at hand at once: the load is as high as it gets, so records go by microflow, as many of them
    together as take no longer than ``objectives.urgent_ns``; where one alone takes longer, urgent records go ahead of
    it. Live, `microflow.engine.service` serves by `microflow.engine.router`. k-anonymity works in microflows
    (scope microflow): a record alone cannot be hidden among others.

    Args:
        spec: What to do; by default ``schema`` under its own policy, tokenized.
        urgency: Which records cannot wait; by default what the schema says.
        objectives: How long they may wait.
        schema: The data type where no ``spec`` is given.
    """

    pipeline_type = "hybrid"

    def __init__(
        self,
        spec: ProcessingSpec | None = None,
        urgency: Sequence[UrgencyRule] | None = None,
        objectives: Objectives | None = None,
        *,
        schema: str = "healthcare",
    ) -> None:
        self._spec = spec = scoped(spec or default_spec(schema), "hybrid")
        self._kernel = BatchKernel(spec)
        self._anonymizer = self._kernel.anonymizer
        self._urgency = Urgency(spec.schema, urgency, spec.policy.reference_date)
        self._objectives = objectives or Objectives()
        self._learned = LearnedCosts()
        self._compliance = ComplianceBolt.of(spec)
        self._findings = FindingsBuilder(spec)
        #: Records by why they went the way they went.
        self.reasons: Counter[str] = Counter()

    def process(self, source: Iterable[Microflow], clock: PhaseClock) -> Iterator[Processed]:
        """Process the source in order, in bounded memory."""
        with clock.pre():
            self.reasons.clear()
            self._kernel = BatchKernel(self._spec)
            self._anonymizer = self._kernel.anonymizer
        morsels = map(Morsel.of, portions(source, iter(self._at_once, 0)))
        for morsel in warmed(morsels, clock, lambda rows: warm_up(self._spec, rows)):
            anonymizer = self._kernel.anonymizer
            is_slow = self._learned.now.together(len(morsel)) > self._objectives.urgent_ns
            if is_slow and isinstance(anonymizer, RecordAnonymizer):
                yield from self._urgent_first(morsel, AnonymizeBolt(anonymizer), clock)
            else:
                yield from self._whole(morsel, clock)

    def _at_once(self) -> int:
        """So many microflows take no longer than an urgent record among them may wait; one in any case."""
        costs = self._learned.now
        in_time = (self._objectives.urgent_ns - costs.fixed) / max(costs.each * self._spec.microflow_rows, 1.0)
        return min(max(int(in_time), 1), MORSEL)

    def _whole(self, morsel: Morsel, clock: PhaseClock) -> list[Processed]:
        with clock.pure():
            released, findings = self._kernel.run_morsel(morsel)
        spent = clock.pure_spans[-1]
        with clock.post():
            self._learned.observe(len(morsel), spent, together=True)
            self.reasons["microflow in time"] += len(morsel)
            return list(results_of(morsel, released, findings, spent))

    def _urgent_first(self, morsel: Morsel, anonymize: AnonymizeBolt, clock: PhaseClock) -> list[Processed]:
        """Urgent records by the bolts, then the others by the kernel."""
        with clock.pure():
            urgent = self._urgency.of_rows(morsel.rows)
            early, rest = np.flatnonzero(urgent), np.flatnonzero(~urgent)
            others = morsel.rows.filter(pa.array(~urgent)) if len(early) else morsel.rows
        routing = clock.pure_spans[-1]
        with clock.pre():
            records = morsel.rows.take(pa.array(early)).to_pylist()
        with clock.pure():
            passed = [
                anonymize(self._compliance(row, record)) for row, record in zip(early.tolist(), records, strict=True)
            ]
        alone = clock.pure_spans[-1]
        with clock.pure():
            released, findings = self._kernel.run(others)
        together = clock.pure_spans[-1]
        with clock.post():
            self._learned.observe(len(rest), together, together=True)
            self.reasons.update({"urgent": len(early), "microflow": len(rest)})
            if len(early):
                released, findings = self._merged(len(morsel), passed, rest, released, findings)
            return list(results_of(morsel, released, findings, routing + alone + together))

    def _merged(
        self, seen: int, passed: list[Passing], rest: npt.NDArray[np.int64], released: Released, findings: Findings
    ) -> tuple[Released, Findings]:
        """Both ways' results as if one had done it all, in the order of the input."""
        early = [(passing.ordinal, passing.record) for passing in passed if passing.record is not None]
        rows = pa.concat_batches([to_batch((record for _, record in early), self.output_schema), released.rows])
        kept = np.concatenate([np.array([row for row, _ in early], np.int64), rest[released.kept]])
        order = np.argsort(kept)
        mine = self._findings.build(seen, ((passing.ordinal, passing.violations) for passing in passed))
        return Released(rows.take(pa.array(order)), kept[order], seen), merge_findings(mine, findings, rest)
