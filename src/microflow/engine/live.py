"""Live service: records come when they come, a router decides, and each result's time is noted.

A `Workload` holds every record in both forms, as a mapping and as a row, because which form a broker's client hands
over is not part of the pure phase. `Service` does what a router decides, on the same bolts and the same kernel as the
processors; `microflow.lab.open_loop` offers it a schedule.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from microflow.anonymize import build_anonymizer
from microflow.anonymize.contract import RecordAnonymizer, Scope, StreamAnonymizer
from microflow.engine.bolts import AnonymizeBolt, ComplianceBolt
from microflow.engine.contract import ProcessingSpec, with_scope
from microflow.engine.costs import Costs
from microflow.engine.kernel import BatchKernel
from microflow.engine.router import Route
from microflow.engine.urgency import Urgency
from microflow.schema import Record
from microflow.settings import MORSEL_ROWS

__all__ = [
    "Service",
    "Workload",
    "ahead_of",
    "measured_costs",
    "urgent_of",
]

_now = time.perf_counter_ns


class Workload:
    """Records over and over: ordinal ``i`` is record ``i`` modulo their number. Made in pre-processing."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self._records: list[Record] = rows.to_pylist()
        # A morsel may begin at the last record: the head is repeated behind the end.
        head = [rows.slice(0, MORSEL_ROWS)] * -(-MORSEL_ROWS // rows.num_rows)
        self._rows = pa.concat_batches([rows, *head])

    def __len__(self) -> int:
        return len(self._records)

    def record(self, ordinal: int) -> Record:
        """One record as a mapping."""
        return self._records[ordinal % len(self._records)]

    def rows(self, ordinals: Sequence[int]) -> pa.RecordBatch:
        """Up to a morsel of records as rows; copied only where they do not follow each other."""
        if isinstance(ordinals, range):
            return self._rows.slice(ordinals.start % len(self._records), len(ordinals))
        return self._rows.take(pa.array(np.asarray(ordinals, np.int64) % len(self._records)))


class Service:
    """One server on the bolts and the kernel: k-anonymity alone goes by CASTLE, together by microflow."""

    def __init__(self, spec: ProcessingSpec, workload: Workload) -> None:
        self._workload = workload
        self._compliance = ComplianceBolt.of(spec)
        self._kernel = BatchKernel(with_scope(spec, Scope.MICROFLOW))
        alone = build_anonymizer(with_scope(spec, Scope.STREAM).method, spec.schema, spec.key)
        self._holding = alone if isinstance(alone, StreamAnonymizer) else None
        self._anonymize = AnonymizeBolt(alone) if isinstance(alone, RecordAnonymizer) else None

    def __call__(self, route: Route) -> Sequence[int]:
        """Serve one route."""
        if route.together:
            self._kernel.run(self._workload.rows(route.records))
            return route.records
        if self._anonymize is None:
            return [done for ordinal in route.records for done in self._push(ordinal)]
        for ordinal in route.records:
            self._anonymize(self._compliance(ordinal, self._workload.record(ordinal)))
        return route.records

    def flush(self) -> Sequence[int]:
        """End of stream: the ordinals that were still held back."""
        if self._holding is None:
            return ()
        released = [ordinal for ordinal, _ in self._holding.flush()]
        return [*released, *self._holding.suppressed]

    def _push(self, ordinal: int) -> Sequence[int]:
        assert self._holding is not None
        record = self._compliance(ordinal, self._workload.record(ordinal)).record
        return (ordinal,) if record is None else [done for done, _ in self._holding.push(ordinal, record)]


def measured_costs(service: Service, *, rounds: int = 15) -> Costs:
    """What serving costs here and now: medians of services alone, of a few records, of a morsel. Pre-processing."""

    def median(size: int, *, together: bool) -> float:
        times = []
        for turn in range(rounds):
            # Ordinals of their own: a service that holds records back knows each by its ordinal.
            route = Route(range(turn * size, (turn + 1) * size), together, "calibration")
            started = _now()
            service(route)
            times.append(_now() - started)
        return float(np.median(times))

    some, few, many = 100, 10, MORSEL_ROWS
    alone = median(some, together=False) / some
    low, high = median(few, together=True), median(many, together=True)
    each = max((high - low) / (many - few), 0.0)
    return Costs(alone, max(low - few * each, 0.0), each)


def urgent_of(urgency: Urgency, workload: Workload) -> Callable[[int, int], Sequence[int]]:
    """What `AdaptiveRouter` asks: the urgent ones among a stretch of ordinals."""
    return lambda first, stop: [i for i in range(first, stop) if urgency.of_record(workload.record(i))]


def ahead_of(key: str, workload: Workload) -> Callable[[int, int], Sequence[int]]:
    """What `AdaptiveRouter` asks where order is kept per ``key``: earlier records of the same key."""

    def ahead(first: int, ordinal: int) -> Sequence[int]:
        mine = workload.record(ordinal)[key]
        return [i for i in range(first, ordinal) if workload.record(i)[key] == mine]

    return ahead
